"""How k examples are chosen for a passage."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..corpus import Passage
from .encode import encode
from .search import nearest


@dataclass(frozen=True)
class Example:
    """A passage chosen to be shown, and its similarity (cosine) to the passage that it is shown for."""

    passage: Passage
    score: float


def nearest_neighbours(
    passages: Sequence[Passage], pool: Sequence[Passage], k: int, encoder: str
) -> list[list[Example]]:
    """The k nearest passages of the pool for each passage, nearest first, equal scores by id.

    A passage is never its own example, nor is one with the same text. Where the pool has fewer than k others, all are
    returned.
    """
    if not passages or not pool or k < 1:
        return [[] for _ in passages]
    pool = sorted(pool, key=lambda passage: passage.id)
    copies: dict[str, int] = {}
    for passage in pool:
        copies[passage.text] = copies.get(passage.text, 0) + 1
    texts = list(dict.fromkeys(passage.text for passage in (*passages, *pool)))
    row = {text: i for i, text in enumerate(texts)}
    vectors = encode(texts, encoder)
    scores, positions = nearest(
        vectors[[row[passage.text] for passage in passages]],
        vectors[[row[passage.text] for passage in pool]],
        k + max(copies.values()),  # enough that k are left once the copies of the passage itself are gone
    )
    chosen = []
    for passage, passage_scores, passage_positions in zip(passages, scores.tolist(), positions.tolist(), strict=True):
        ranked = [
            Example(pool[position], score)
            for score, position in zip(passage_scores, passage_positions, strict=True)
            if pool[position].text != passage.text
        ]
        chosen.append(ranked[:k])
    return chosen
