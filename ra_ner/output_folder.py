"""Folders of results: only what this project wrote is ever replaced, and one run at a time writes.

A folder of results holds a manifest, `.ra_ner.json`, with its kind. A folder that is replaced as a whole also lists its
files there, so that a file of the user's in it is noticed. A folder without a manifest belongs to the user.
"""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TextIO

from .atomic_files import is_leftover, remove_leftovers, temporary_name, write_text
from .errors import UserError, is_disk_full
from .foreign_files import read_json

Kind = Literal["dataset", "adapter", "merged model", "evaluation", "study", "figures", "model", "brat files"]
MANIFEST = ".ra_ner.json"
LOCK = ".ra_ner.lock"


def check_place(folder: Path) -> None:
    """Check that a folder can be written to. Changes nothing.

    Raises:
        UserError: it is the current folder or one above it, a file, a link, or read-only.
    """
    try:
        reason = _unusable(folder)
    except (OSError, ValueError) as error:  # not readable, a name that is too long, a null character
        reason = f"can't be used ({getattr(error, 'strerror', None) or error})"
    if reason:
        raise UserError(f"{folder} {reason}: name another folder for the results")


def _unusable(folder: Path) -> str | None:
    if Path.cwd().is_relative_to(folder.resolve()):
        return "is the current folder or one above it"
    if folder.is_symlink():
        return "is a link"
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        return f"can't be made, because {existing} is a file"
    return None if os.access(existing, os.W_OK | os.X_OK) else f"can't be written to: {existing} is read-only"


def check(folder: Path, kind: Kind) -> None:
    """Check that results of a kind can be written to a folder without a loss. Changes nothing.

    Raises:
        UserError: as `check_place`, or it holds something that this project did not write as results of that kind.
    """
    check_place(folder)
    if foreign := _foreign(folder, kind):
        raise UserError(
            f"{folder} holds {foreign}, which ra-ner did not write as its {kind}: nothing is replaced; move it away, "
            "or name another folder"
        )


def is_ours(folder: Path, kind: Kind) -> bool:
    """Whether a folder holds results of a kind and nothing else."""
    return (folder / MANIFEST).is_file() and not folder.is_symlink() and _foreign(folder, kind) is None


def _foreign(folder: Path, kind: Kind) -> str | None:
    manifest = {}
    if (folder / MANIFEST).is_file():
        try:
            manifest = read_json(folder / MANIFEST)
        except UserError:
            return MANIFEST
    is_same = manifest.get("kind") == kind
    if is_same and "files" not in manifest:
        return None
    listed = manifest.get("files") if is_same else ()
    if not isinstance(listed, list | tuple) or not all(isinstance(name, str) for name in listed):
        return MANIFEST
    own = {MANIFEST, LOCK, *listed}
    return next((name for name in _files(folder) if name not in own), None)


def adopt(file: Path) -> None:
    """List a file that was added to a folder of results, so that it counts as one of them."""
    manifest = file.parent / MANIFEST
    content = read_json(manifest) if manifest.is_file() else {}
    if isinstance(content.get("files"), list) and file.name not in content["files"]:
        content["files"].append(file.name)
        write_text(manifest, json.dumps(content, indent=1) + "\n")


def _files(folder: Path) -> Iterator[str]:
    """The relative paths of all files and links below a folder, but for those that a killed run has left."""
    for path in folder.rglob("*"):
        if (path.is_symlink() or not path.is_dir()) and not is_leftover(path.name):
            yield path.relative_to(folder).as_posix()


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Keep other processes from writing the same results.

    Args:
        lock: a file that exists meanwhile: `LOCK` in a folder, or beside a folder that is replaced.

    Raises:
        UserError: another process holds the lock, or the file can't be written.
    """
    folder, existed = lock.parent, lock.parent.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = lock.open("a")
    except OSError as error:
        if is_disk_full(error):
            raise
        raise UserError(f"{folder} can't be written to ({error.strerror}): name another --output_dir") from None
    with file:
        # The file may have been removed, by the process that held it, after it was opened here.
        if not lock_file(file) or not lock.exists() or not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
            raise UserError(
                f"{folder}: another process is writing there; wait for it, stop it, or name another --output_dir"
            )
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            if not existed:
                with suppress(OSError):  # something was written
                    folder.rmdir()


def lock_file(file: TextIO) -> bool:
    """Lock an open file for this process and the ones that inherit it. Returns False if another process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):  # some disks of clusters have no locks
            raise
    return True


def beside(folder: Path) -> Path:
    """The lock of a folder that is replaced as a whole."""
    return folder.with_name(f".{folder.name}{LOCK}")


def claim(folder: Path, kind: Kind) -> None:
    """Mark a folder as one that files of a kind are written to, one by one. Hold its lock.

    Raises:
        UserError: as `check`.
    """
    check(folder, kind)
    remove_leftovers(folder)
    if not (folder / MANIFEST).is_file():
        write_text(folder / MANIFEST, json.dumps({"kind": kind}) + "\n")


@contextmanager
def new_folder(folder: Path, kind: Kind) -> Iterator[Path]:
    """Yield an empty folder that replaces `folder` at the end of the context. After an error `folder` is unchanged.

    Hold its lock: what killed runs have left is removed.

    Raises:
        UserError: as `check`.
    """
    check(folder, kind)
    remove_leftovers(folder.parent, folder.name)
    new = temporary_name(folder)
    new.mkdir(parents=True)
    try:
        yield new
        replace(folder, new, kind)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def replace(folder: Path, new: Path, kind: Kind) -> None:
    """Move a complete folder to `folder`, in place of older results of the same kind.

    Raises:
        UserError: as `check`.
    """
    check(folder, kind)
    write_text(new / MANIFEST, json.dumps({"kind": kind, "files": sorted(_files(new))}, indent=1) + "\n")
    old = temporary_name(folder)
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
