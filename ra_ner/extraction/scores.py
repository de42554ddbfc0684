"""How sure a model is of a mention: the geometric mean of the probabilities of its tokens in the answer."""

import json
import math
from collections.abc import Iterator, Sequence

from ..inference.engine import Piece
from ..prompting.answers import outside_thoughts


def mention_scores(mentions: Sequence[str], pieces: Sequence[Piece]) -> list[float | None]:
    """A score from 0 to 1 for each mention of an answer.

    It is exp of the mean log probability of the tokens that overlap the mention, so that long mentions have no
    disadvantage. A mention that the answer writes differently takes the mean over the whole answer.

    Args:
        mentions: as parsed from the answer, in its order.
        pieces: the tokens of the answer. Without them all scores are None.
    """
    if not pieces:
        return [None for _ in mentions]
    answer = "".join(text for text, _ in pieces)
    scores, position = [], outside_thoughts(answer).start
    for mention in mentions:
        start, position = _find(mention, answer, position)
        inside = list(_overlapping(pieces, start, position)) or [logarithm for _, logarithm in pieces]
        scores.append(round(math.exp(sum(inside) / len(inside)), 4))
    return scores


def _find(mention: str, answer: str, position: int) -> tuple[int, int]:
    """Where the answer names a mention from `position` on, in any form that JSON may write it; empty if it does not."""
    for written in (mention, json.dumps(mention, ensure_ascii=False)[1:-1], json.dumps(mention)[1:-1]):
        if (start := answer.find(written, position)) >= 0:
            return start, start + len(written)
    return position, position


def _overlapping(pieces: Sequence[Piece], start: int, end: int) -> Iterator[float]:
    place = 0
    for text, logarithm in pieces:
        if place < end and start < place + len(text):
            yield logarithm
        place += len(text)
