"""Texts that are too long for the model are split at sentence ends."""

import re
from collections.abc import Callable

from ..passage import Entity, Passage

# A sentence ends at a line break, and after its mark and closing quotes: where space follows, in Chinese anywhere.
SENTENCE_END = re.compile(r"[.!?]+[\"'”’)\]]*\s+|[。！？]+[”’」』）]*\s*|\n\s*")


def split_at_sentence_end(passage: Passage, fits: Callable[[Passage], bool]) -> list[Passage]:
    """Split a passage in halves at sentence ends until each part fits or is one sentence.

    Entities with offsets are never cut. An entity without offsets goes to each part that contains its mention. The id
    of a part is the passage's id and the part's offset, such as `p#120`.
    """
    return _split(passage, 0, len(passage.text), fits)


def _split(passage: Passage, start: int, end: int, fits: Callable[[Passage], bool]) -> list[Passage]:
    part = _part(passage, start, end)
    if fits(part):
        return [part]
    spans = [(entity.start, entity.end) for entity in passage.entities if entity.start is not None]
    ends = [start + match.end() for match in SENTENCE_END.finditer(passage.text[start:end])]
    cuts = [cut for cut in ends if cut < end and not any(first < cut < last for first, last in spans)]
    if not cuts:
        return [part]
    cut = min(cuts, key=lambda cut: abs(2 * cut - start - end))
    return _split(passage, start, cut, fits) + _split(passage, cut, end, fits)


def _part(passage: Passage, start: int, end: int) -> Passage:
    text = passage.text[start:end].rstrip()
    entities = [
        Entity(entity.text, entity.type, entity.start - start, entity.end - start)
        for entity in passage.entities
        if entity.start is not None and start <= entity.start and entity.end <= start + len(text)
    ]
    entities += [entity for entity in passage.entities if entity.start is None and entity.text in text]
    return Passage(f"{passage.id}#{start}", text, tuple(entities))
