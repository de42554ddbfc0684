"""Files that are either complete or absent: written under a temporary name of their own, then renamed."""

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}\.tmp")


def temporary_name(path: Path) -> Path:
    """A new name beside `path`, which `remove_leftovers` recognises."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def is_leftover(name: str) -> bool:
    """Whether a file's name is one that `temporary_name` gave."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_leftovers(folder: Path, *names: str) -> None:
    """Remove what killed runs have left in a folder under temporary names: of the given files and folders, else all."""
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        match = _TEMPORARY.fullmatch(path.name)
        if match and (not names or match["name"] in names):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, completely or not at all.

    Half a surrogate pair, which UTF-8 does not have, is written as its escape. In JSON that is the same string.
    """
    with complete_file(path) as new:
        new.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """Yield the name of a new file that replaces `path` at the end of the context; after an error nothing changes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def complete_lines(path: Path) -> bytes:
    """The content of a file that lines are appended to, without a last line that a kill has torn."""
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1]
