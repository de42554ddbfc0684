"""Folders of corpora and of benchmarks: which files are the train, dev or test part, by names as they are published."""

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError

# `test`, `engtest.bio`, `weiboNER_2nd_conll.test`, `test.char.bmes`, `testright1.txt`, `subtask1_training_part1.txt`
_PARTS = {
    "test": re.compile(r"test(?:right|ing)?(?![a-z])"),
    "dev": re.compile(r"(?<![a-z])(?:dev|val(?:id(?:ation)?)?)(?![a-z])"),
    "train": re.compile(r"train(?:ing)?(?![a-z])"),
}
_NO_DATA = {".docx", ".gz", ".ipynb", ".log", ".md", ".pdf", ".pkl", ".py", ".sh", ".tar", ".zip"}
_ABOUT_DATA = {"dataset_info", "dataset_infos", "label", "labels", "license", "readme", "state"}
_BACKUP = re.compile(r"[.#].*|.*(?:~|\.(?:bak|old|orig|sw[a-p]|tmp))")  # hidden files, and older copies of editors


def find_part(folder: Path, part: str, names: Sequence[str] = ()) -> list[Path]:
    """The files of a part; several if it comes in pieces, none if there is no such part.

    They are looked for by name in the folder, then in an inner folder of that name, and then in `data`, as datasets of
    the Hub have it.

    Args:
        part: `train`, `dev`, `test`, or another word that names may hold.
        names: how the names of the files may begin; the first that some file has wins.

    Raises:
        UserError: several files could be this part.
    """
    pattern = _pattern(part)
    if found := _files_named(folder, pattern):
        return _choose(found, part, names)
    for inner in _folders_named(folder, pattern):
        if found := find_part(inner, part, names) or only_part(inner):
            return found
    return find_part(folder / "data", part, names) if (folder / "data").is_dir() else []


def only_part(folder: Path) -> list[Path]:
    """The files of a folder that names no parts: brat files, or one file, which may come in numbered pieces.

    Returns:
        none if the folder has parts, or several such files.
    """
    if any(_files_named(folder, pattern) or _folders_named(folder, pattern) for pattern in _PARTS.values()):
        return []
    if (folder / "data").is_dir() and (found := only_part(folder / "data")):
        return found
    files = _data_files(folder)
    return files if _are_pieces(files) or all(file.suffix == ".ann" for file in files) else []


def no_part(folder: Path, part: str) -> UserError:
    shown = ", ".join(file.name for file in _data_files(folder)) or "no data file"
    return UserError(
        f"{folder} is a folder with {shown}, and none is named as its {part} part: name the file, or rename it; "
        "docs/corpora.md says what a folder may hold"
    )


def _pattern(part: str) -> re.Pattern:
    known = (pattern for pattern in _PARTS.values() if pattern.fullmatch(part.lower()))
    return next(known, re.compile(rf"(?<![a-z]){re.escape(part.lower())}(?![a-z])"))


def _data_files(folder: Path) -> list[Path]:
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.is_file()
        and file.suffix.lower() not in _NO_DATA
        and file.stem.lower() not in _ABOUT_DATA
        and not _BACKUP.fullmatch(file.name)
    ]
    return [file for file in files if file.suffix == ".ann"] or files


def _files_named(folder: Path, pattern: re.Pattern) -> list[Path]:
    return [file for file in _data_files(folder) if file.suffix != ".ann" and pattern.search(file.name.lower())]


def _folders_named(folder: Path, pattern: re.Pattern) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and pattern.fullmatch(path.name.lower())]


def _choose(files: list[Path], part: str, names: Sequence[str]) -> list[Path]:
    """The files of a part among those whose names fit: a published name, the plain one, or numbered pieces."""
    choices = [[file for file in files if file.name.startswith(name)] for name in names]
    choices.append([file for file in files if file.name.split(".")[0].lower() == part])
    for chosen in [*choices, files]:
        if _are_pieces(chosen):
            return chosen
    listed = ", ".join(file.name for file in files)
    raise UserError(
        f"{files[0].parent}: each of {listed} could be the {part} part: name one file, or rename the others"
    )


def _are_pieces(files: Sequence[Path]) -> bool:
    """Whether files are one, or differ in numbers alone, as train1.txt and train2.txt do."""
    return len({re.sub(r"\d+", "", file.name) for file in files}) == 1
