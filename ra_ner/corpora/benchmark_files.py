"""Benchmark folders: which file is the test part, the dev part or the train part, by names as they are published."""

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
_BACKUP = re.compile(r"[.#].*|.*(?:~|\.(?:bak|old|orig|sw[a-p]|tmp))")  # hidden files, and older copies of editors


def find_parts(folder: Path, names: Sequence[str] = ()) -> dict[str, list[Path]]:
    """The files of each part that a folder has; several files if a part is published in several.

    Args:
        names: how the names of the benchmark's files begin; the first that some file has wins.

    Raises:
        UserError: several files could be the same part.
    """
    files = [
        f
        for f in sorted(folder.iterdir())
        if f.is_file() and f.suffix not in _NO_DATA and not _BACKUP.fullmatch(f.name)
    ]
    parts = {}
    for part, pattern in _PARTS.items():
        if found := [file for file in files if pattern.search(file.name.lower())]:
            parts[part] = _choose(found, part, names)
    return parts


def _choose(files: list[Path], part: str, names: Sequence[str]) -> list[Path]:
    """The files of a part among those whose names fit: a published name, the plain one, or numbered files."""
    choices = [[file for file in files if file.name.startswith(name)] for name in names]
    choices.append([file for file in files if file.name.split(".")[0].lower() == part])
    for chosen in [*choices, files]:
        if len({re.sub(r"\d+", "", file.name) for file in chosen}) == 1:  # train1.txt and train2.txt
            return chosen
    listed = ", ".join(file.name for file in files)
    raise UserError(
        f"{files[0].parent}: each of {listed} could be the {part} part: name one file, or rename the others"
    )
