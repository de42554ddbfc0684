"""How k examples are chosen for a passage: the strategies of the paper (arXiv 2406.17305), and two of ours."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..passage import Passage
from .bm25 import BM25Index
from .encode import encode
from .search import nearest

if TYPE_CHECKING:
    from ..hub.repos import LocalModel
    from ..recipe import DatasetConfig

RECIPROCAL_RANK_CONSTANT = 60  # of reciprocal rank fusion (Cormack et al. 2009)


@dataclass(frozen=True)
class Example:
    """A passage chosen to be shown, and the score by which it was ranked: cosine, BM25 or fused; 0 for random ones."""

    passage: Passage
    score: float


@dataclass(frozen=True)
class Rankings:
    """The pool as ranked for n passages, best first: positions in it and their scores, each of shape (n, c).

    A row with fewer than c ends in positions of -1.
    """

    positions: np.ndarray
    scores: np.ndarray

    def take(self, columns: np.ndarray) -> "Rankings":
        """What stands in the given columns of each row, (n, any); -1 for none."""
        positions = np.where(columns < 0, -1, np.take_along_axis(self.positions, columns, axis=1))
        return Rankings(positions, np.take_along_axis(self.scores, columns, axis=1))

    def keep(self, kept: np.ndarray) -> "Rankings":
        """Those for which the mask `kept`, (n, c), is true, in their order."""
        return Rankings(np.where(kept, self.positions, -1), self.scores).take(np.argsort(~kept, axis=1, kind="stable"))

    def first(self, count: int) -> "Rankings":
        return Rankings(self.positions[:, :count], self.scores[:, :count])


class Retriever:
    """Chooses examples from a pool. One class serves building and evaluation.

    A passage is never its own example, nor is one with the same text. Equal scores rank by id. What is random depends
    on the seed and the passage's id alone.

    Args:
        pool: what examples come from.
        config: its keys `strategy`, `k`, `candidates`, `mixed_nn_probability`, `bm25_threshold`, `threshold_scale`
            and `seed` are read.
        encoder: a sentence-transformers model; strategies without nearest neighbours need none.
    """

    def __init__(
        self, pool: Sequence[Passage], config: "DatasetConfig", language: str, encoder: "LocalModel | None" = None
    ):
        self.pool = sorted(pool, key=lambda passage: passage.id)
        self.config, self.language, self.encoder = config, language, encoder
        self._numbers: dict[str, int] = {}  # of the pool's texts; equal texts have the same number
        self._text = np.array([self._numbers.setdefault(p.text, len(self._numbers)) for p in self.pool], dtype=int)

    @cached_property
    def bm25(self) -> BM25Index:
        return BM25Index(_texts(self.pool), self.language)

    def examples(self, passages: Sequence[Passage]) -> list[list[Example]]:
        """At most k examples for each passage, best first; fewer where a filter or a small pool leaves fewer."""
        strategy, k = self.config.strategy, self.config.k
        if strategy == "none" or not passages or not self.pool or k < 1:
            return [[] for _ in passages]
        if strategy == "random":
            rankings = self._random(passages)
        elif strategy == "bm25":
            rankings = self._bm25_ranking(passages, k)
        elif strategy == "hybrid":
            count = self.config.candidates
            rankings = _fuse(self._dense_ranking(passages, count), self._bm25_ranking(passages, count))
        else:
            rankings = self._from_neighbours(passages)
        chosen = rankings.first(k)
        return [
            [Example(self.pool[i], score) for i, score in zip(row, scores, strict=True) if i >= 0]
            for row, scores in zip(chosen.positions.tolist(), chosen.scores.tolist(), strict=True)
        ]

    def _from_neighbours(self, passages: Sequence[Passage]) -> Rankings:
        strategy, k = self.config.strategy, self.config.k
        wide = strategy.startswith("diverse")
        rankings = self._dense_ranking(passages, self.config.candidates if wide else k)
        if strategy == "mixed_nn":
            probability, drawn = self.config.mixed_nn_probability, self._random(passages)
            near = np.array([[self._rng(passage, "mix").random() < probability] for passage in passages])
            return Rankings(
                np.where(near, rankings.positions, drawn.positions), np.where(near, rankings.scores, drawn.scores)
            )
        if strategy in ("diverse_nn", "diverse_nn_bm25"):
            rankings = self._draw(passages, rankings)
        if strategy.endswith(("_bm25", "_bm25_rank")):
            rankings = self._filter(passages, rankings, rank=strategy.endswith("_rank"))
        return rankings

    def _rng(self, passage: Passage, purpose: str) -> random.Random:
        return random.Random(f"{self.config.seed}:{purpose}:{passage.id}")

    def _own(self, passages: Sequence[Passage]) -> tuple[np.ndarray, np.ndarray]:
        """The number of each passage's text (-1: the pool does not have it), and how often the pool has it: (n,)."""
        numbers = np.array([self._numbers.get(passage.text, -1) for passage in passages])
        return numbers, np.append(np.bincount(self._text), 0)[numbers]

    def _random(self, passages: Sequence[Passage]) -> Rankings:
        k, size = self.config.k, len(self.pool)
        positions = np.full((len(passages), min(k, size)), -1)
        for row, passage, own, repeats in zip(positions, passages, *self._own(passages), strict=True):
            drawn = self._rng(passage, "random").sample(range(size), min(k + int(repeats), size))
            others = [position for position in drawn if self._text[position] != own][:k]
            row[: len(others)] = others
        return Rankings(positions, np.zeros(positions.shape))

    def _draw(self, passages: Sequence[Passage], rankings: Rankings) -> Rankings:
        """k random ones of each ranking, in its order."""
        columns = np.full((len(passages), min(self.config.k, rankings.positions.shape[1])), -1)
        lengths = (rankings.positions >= 0).sum(axis=1).tolist()
        for row, passage, length in zip(columns, passages, lengths, strict=True):
            count = min(self.config.k, length)
            row[:count] = sorted(self._rng(passage, "diverse").sample(range(length), count))
        return rankings.take(columns)

    def _dense_ranking(self, passages: Sequence[Passage], count: int) -> Rankings:
        vectors = encode({"document": _texts(self.pool), "query": _texts(passages)}, self.encoder)
        return self._of_others(passages, count, lambda more: nearest(vectors["query"], vectors["document"], more))

    def _bm25_ranking(self, passages: Sequence[Passage], count: int) -> Rankings:
        return self._of_others(passages, count, lambda more: self.bm25.top(_texts(passages), more))

    def _of_others(self, passages: Sequence[Passage], count: int, rank: Callable[[int], tuple]) -> Rankings:
        """The `count` best for each passage that do not have its text; `rank` gives scores and positions of more."""
        own, repeats = self._own(passages)
        scores, positions = map(np.asarray, rank(count + int(repeats.max())))
        return Rankings(positions, scores).keep(self._text[positions] != own[:, None]).first(count)

    def _filter(self, passages: Sequence[Passage], rankings: Rankings, rank: bool) -> Rankings:
        """Drop what BM25 scores below the threshold; with `rank`, order by BM25 and keep k first."""
        texts = _texts(passages)
        scores = self.bm25.scores(texts, rankings.positions)
        if self.config.threshold_scale == "self":
            own = self.bm25.self_scores(texts)[:, None]
            scores = np.divide(scores, own, out=np.where(rankings.positions < 0, scores, 0), where=own > 0)
        if rank:
            order = np.lexsort((rankings.positions, -scores), axis=1)[:, : self.config.k]
            rankings = Rankings(rankings.positions, scores).take(order)
            scores = rankings.scores
        return rankings.keep((scores >= self.config.bm25_threshold) & (rankings.positions >= 0))


def _texts(passages: Sequence[Passage]) -> list[str]:
    return [passage.text for passage in passages]


def _fuse(dense: Rankings, words: Rankings) -> Rankings:
    """Reciprocal rank fusion: the sum of 1 / (60 + rank) over the rankings that hold a passage."""
    positions = np.concatenate([dense.positions, words.positions], axis=1)
    ranks = np.concatenate([np.arange(1, ranking.positions.shape[1] + 1) for ranking in (dense, words)])
    fused = Rankings(positions, np.where(positions < 0, 0, 1 / (RECIPROCAL_RANK_CONSTANT + ranks)))
    fused = fused.take(np.argsort(positions, axis=1, kind="stable"))  # a passage that both hold is now beside itself
    twice = fused.positions[:, 1:] == fused.positions[:, :-1]
    fused.scores[:, :-1] += np.where(twice, fused.scores[:, 1:], 0)
    fused.positions[:, 1:][twice] = -1
    fused.scores[fused.positions < 0] = 0
    return fused.take(np.lexsort((fused.positions, -fused.scores), axis=1))
