"""Label words: the words that the labels of a corpus or a benchmark are asked by, such as `person` for `PER`."""

import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import UserError
from ..passage import Passage
from .sources import LoadedCorpus, load_corpus

logger = logging.getLogger(__name__)

SHOWN = 10  # labels without words
LABELS_FILE = "labels.json"  # in the folder of a corpus or a benchmark


def label_key(label: str) -> str:
    """Spellings of one label share a key: case, blanks, underscores and hyphens do not count."""
    return re.sub(r"[\s_-]+", "", label).casefold()


def read_words(file: Path) -> dict[str, str]:
    """The words of labels.json, by key of the label.

    Raises:
        UserError: it does not map labels to words.
    """
    try:
        words = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:  # neither JSON nor UTF-8
        words = None
    if not isinstance(words, dict) or not all(isinstance(word, str) and word.strip() for word in words.values()):
        raise UserError(f'{file}: it must map each label to the words it is asked by, such as {{"PER": "person"}}')
    return {label_key(label): word for label, word in words.items()}


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


def load_worded_corpus(
    source: str, language: str, revision: str | None = None, config: str | None = None
) -> LoadedCorpus:
    """Read a corpus, with the words of labels.json, if that is beside the file, in place of its labels.

    Labels that labels.json does not have stay as they are written.

    Raises:
        UserError: as `load_corpus`, or labels.json does not map labels to words.
    """
    corpus = load_corpus(source, language, revision=revision, config=config)
    file = Path(source).parent / LABELS_FILE
    if not Path(source).is_file() or not file.is_file():
        return corpus
    words = read_words(file)
    labels = dict.fromkeys(type_ for passage in corpus.passages for type_ in passage.types)
    without = [label for label in labels if label_key(label) not in words]
    stay = f"; without words, and asked as written: {', '.join(without[:SHOWN])}" if without else ""
    logger.info(f"{source}: labels are asked by the words of {file}{stay}")
    worded = {label: words[label_key(label)] for label in labels if label_key(label) in words}
    return replace(corpus, passages=apply_words(corpus.passages, words), words=worded)
