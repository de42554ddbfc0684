"""Label words: the words that the labels of a corpus or a benchmark are asked by, such as `person` for `PER`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import UserError
from ..foreign_files import read_json
from ..passage import Passage
from ..prompting.answers import HALF_CHARACTER

LABELS_FILE = "labels.json"  # in the folder of a corpus or a benchmark


def labels_file(path: Path) -> Path | None:
    """labels.json in a folder, or beside a file; None if there is none."""
    file = (path if path.is_dir() else path.parent) / LABELS_FILE
    return file if path.exists() and file.is_file() else None


def label_key(label: str) -> str:
    """Spellings of one label share a key: case, blanks, underscores and hyphens do not count."""
    return re.sub(r"[\s_-]+", "", label).casefold()


def read_words(file: Path) -> dict[str, str]:
    """The words of labels.json, by key of the label.

    Raises:
        UserError: it can't be read, or does not map labels to words.
    """
    words = read_json(file, None)
    if not isinstance(words, dict) or not all(isinstance(word, str) and word.strip() for word in words.values()):
        raise UserError(f'{file}: it must map each label to the words it is asked by, such as {{"PER": "person"}}')
    by_key: dict[str, str] = {}
    for label, word in words.items():
        if HALF_CHARACTER.search(word):
            raise UserError(f"{file}: the words of {label!r} hold half of a character; correct them")
        if by_key.setdefault(label_key(label), word) != word:
            raise UserError(f"{file}: {label!r} stands there twice, in other spellings and with other words; keep one")
    return by_key


def apply_words(passages: Iterable[Passage], words: Mapping[str, str]) -> list[Passage]:
    """The passages with words in place of labels. Labels without words stay.

    Args:
        words: by key of the label.
    """
    return [
        replace(
            passage, entities=tuple(replace(e, type=words.get(label_key(e.type), e.type)) for e in passage.entities)
        )
        for passage in passages
    ]
