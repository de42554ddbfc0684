"""How k in-context examples are chosen for a passage: the paper's strategies (arXiv 2406.17305), and two of ours."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..passage import Passage
from .bm25 import BM25Index
from .encode import Encoder
from .search import nearest

if TYPE_CHECKING:
    import torch

    from ..recipe_keys import DatasetConfig

RECIPROCAL_RANK_CONSTANT = 60  # of reciprocal rank fusion (Cormack et al. 2009)


@dataclass(frozen=True)
class StrategySteps:
    """What a strategy does, in this order.

    Attributes:
        source: where candidates come from: nearest neighbours, BM25, both fused by reciprocal ranks, or chance; `mixed`
            takes nearest neighbours for a share of passages and chance for the others.
        wide: take `candidates` candidates instead of k.
        draw: draw k of the candidates at random.
        rerank: order the candidates by BM25 and keep k.
        filter: drop examples with a BM25 score below the threshold.
    """

    source: Literal["nearest", "bm25", "fused", "random", "mixed"]
    wide: bool = False
    draw: bool = False
    rerank: bool = False
    filter: bool = False


STRATEGIES = {
    "nn": StrategySteps("nearest"),
    "random": StrategySteps("random"),
    "bm25": StrategySteps("bm25"),
    "nn_bm25": StrategySteps("nearest", filter=True),
    "diverse_nn": StrategySteps("nearest", wide=True, draw=True),
    "diverse_nn_bm25": StrategySteps("nearest", wide=True, draw=True, filter=True),
    "diverse_nn_bm25_rank": StrategySteps("nearest", wide=True, rerank=True, filter=True),
    "mixed_nn": StrategySteps("mixed"),
    "hybrid": StrategySteps("fused", wide=True),
}


@dataclass(frozen=True)
class Example:
    """A passage to be shown, and the score it was ranked by: cosine, BM25 or fused ranks; 0 for random examples."""

    passage: Passage
    score: float


@dataclass(frozen=True)
class Rankings:
    """The best passages of the pool for each of n passages.

    Attributes:
        positions: in the pool, integers of shape (n, c), best first; -1 where there is none.
        scores: float of shape (n, c).
    """

    positions: np.ndarray
    scores: np.ndarray

    def take(self, columns: np.ndarray) -> "Rankings":
        """Select columns of each row; `columns` has shape (n, any), with -1 for none."""
        positions = np.where(columns < 0, -1, np.take_along_axis(self.positions, columns, axis=1))
        return Rankings(positions, np.take_along_axis(self.scores, columns, axis=1))

    def keep(self, kept: np.ndarray) -> "Rankings":
        """Keep the entries for which the mask `kept`, of shape (n, c), is true, in their order."""
        return Rankings(np.where(kept, self.positions, -1), self.scores).take(np.argsort(~kept, axis=1, kind="stable"))

    def first(self, count: int) -> "Rankings":
        return Rankings(self.positions[:, :count], self.scores[:, :count])


class Retriever:
    """Chooses examples from a pool, for building, evaluation and extraction alike.

    A passage is never its own example, nor is one with the same text. Equal scores rank by id. What is random depends
    on the seed and the passage's id alone.

    Args:
        pool: the passages that examples come from.
        config: its keys `strategy`, `k`, `candidates`, `mixed_nn_probability`, `bm25_threshold`, `threshold_scale`
            and `seed` are read.
        encoder: needed by strategies with nearest neighbours.

    Example:
        >>> config = DatasetConfig(strategy="bm25", k=2)
        >>> [example.passage.id for example in Retriever(pool, config, "en").examples([passage])[0]]
        ['7', '3']
    """

    def __init__(self, pool: Sequence[Passage], config: "DatasetConfig", language: str, encoder: Encoder | None = None):
        self.pool = sorted(pool, key=lambda passage: passage.id)
        self.config, self.language, self.encoder = config, language, encoder
        self._numbers: dict[str, int] = {}  # of the pool's texts; equal texts have the same number
        self._text = np.array([self._numbers.setdefault(p.text, len(self._numbers)) for p in self.pool], dtype=int)

    @cached_property
    def vectors(self) -> "torch.Tensor":
        """The pool's vectors, of shape (pool, dimension)."""
        return self.encoder.encode(_texts(self.pool), "document")

    @cached_property
    def bm25(self) -> BM25Index:
        return BM25Index(_texts(self.pool), self.language)

    def examples(self, passages: Sequence[Passage]) -> list[list[Example]]:
        """At most k examples for each passage, best first. A filter or a small pool may leave fewer."""
        if self.config.strategy == "none" or not passages or not self.pool or self.config.k < 1:
            return [[] for _ in passages]
        steps = STRATEGIES[self.config.strategy]
        rankings = self._candidates(passages, steps)
        if steps.draw:
            rankings = self._draw(passages, rankings)
        if steps.rerank or steps.filter:
            scores = self._bm25_scores(passages, rankings)
            if steps.rerank:
                rankings = scores = scores.take(_order(scores, self.config.k))
            if steps.filter:
                rankings = rankings.keep((scores.scores >= self.config.bm25_threshold) & (scores.positions >= 0))
        return self._chosen(rankings)

    def examples_if_near(self, passages: Sequence[Passage]) -> list[list[Example]]:
        """Nearest neighbours, only for passages whose nearest one passes the BM25 threshold (arXiv 2406.17305)."""
        if not passages or not self.pool or self.config.k < 1:
            return [[] for _ in passages]
        rankings = self._dense_ranking(passages, self.config.k)
        is_near = self._nearness(passages, rankings) >= self.config.bm25_threshold
        return self._chosen(rankings.keep(np.broadcast_to(is_near, rankings.positions.shape)))

    def nearness(self, passages: Sequence[Passage]) -> list[float]:
        """The BM25 score of each passage's nearest neighbour, which `examples_if_near` holds against the threshold."""
        return self._nearness(passages, self._dense_ranking(passages, 1))[:, 0].tolist()

    def _nearness(self, passages: Sequence[Passage], rankings: Rankings) -> np.ndarray:
        """Of shape (n, 1); below any threshold where there is no neighbour."""
        best = self._bm25_scores(passages, rankings.first(1))
        return np.where(best.positions < 0, -1, best.scores)

    def _chosen(self, rankings: Rankings) -> list[list[Example]]:
        """At most k examples of each row, best first."""
        chosen = rankings.first(self.config.k)
        return [
            [Example(self.pool[i], score) for i, score in zip(row, scores, strict=True) if i >= 0]
            for row, scores in zip(chosen.positions.tolist(), chosen.scores.tolist(), strict=True)
        ]

    def _candidates(self, passages: Sequence[Passage], steps: StrategySteps) -> Rankings:
        count = self.config.candidates if steps.wide else self.config.k
        match steps.source:
            case "nearest":
                return self._dense_ranking(passages, count)
            case "bm25":
                return self._bm25_ranking(passages, count)
            case "fused":
                return _fuse(self._dense_ranking(passages, count), self._bm25_ranking(passages, count))
            case "random":
                return self._random(passages)
            case "mixed":
                return self._mixed(passages, count)

    def _mixed(self, passages: Sequence[Passage], count: int) -> Rankings:
        """Nearest neighbours with probability `mixed_nn_probability`, else random examples."""
        near, drawn = self._dense_ranking(passages, count), self._random(passages)
        probability = self.config.mixed_nn_probability
        takes_near = np.array([[self._rng(passage, "mix").random() < probability] for passage in passages])
        return Rankings(
            np.where(takes_near, near.positions, drawn.positions), np.where(takes_near, near.scores, drawn.scores)
        )

    def _rng(self, passage: Passage, purpose: str) -> random.Random:
        return random.Random(f"{self.config.seed}:{purpose}:{passage.id}")

    def _own(self, passages: Sequence[Passage]) -> tuple[np.ndarray, np.ndarray]:
        """For each passage the number of its text, -1 if the pool does not have it, and how often the pool has it.

        Both have shape (n,).
        """
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
        """k random entries of each row, in their order."""
        columns = np.full((len(passages), min(self.config.k, rankings.positions.shape[1])), -1)
        lengths = (rankings.positions >= 0).sum(axis=1).tolist()
        for row, passage, length in zip(columns, passages, lengths, strict=True):
            count = min(self.config.k, length)
            row[:count] = sorted(self._rng(passage, "diverse").sample(range(length), count))
        return rankings.take(columns)

    def _dense_ranking(self, passages: Sequence[Passage], count: int) -> Rankings:
        queries = self.encoder.encode(_texts(passages), "query")
        return self._of_others(passages, count, lambda more: nearest(queries, self.vectors, more))

    def _bm25_ranking(self, passages: Sequence[Passage], count: int) -> Rankings:
        return self._of_others(passages, count, lambda more: self.bm25.top(_texts(passages), more))

    def _of_others(self, passages: Sequence[Passage], count: int, rank: Callable[[int], tuple]) -> Rankings:
        """The `count` best with other texts than the passage's own.

        Args:
            rank: gives scores and positions of as many as it is asked for.
        """
        own, repeats = self._own(passages)
        scores, positions = map(np.asarray, rank(count + int(repeats.max())))
        return Rankings(positions, scores).keep(self._text[positions] != own[:, None]).first(count)

    def _bm25_scores(self, passages: Sequence[Passage], rankings: Rankings) -> Rankings:
        """The same candidates with their BM25 scores, on the configured scale."""
        texts = _texts(passages)
        scores = self.bm25.scores(texts, rankings.positions)
        if self.config.threshold_scale == "self":
            own = self.bm25.self_scores(texts)[:, None]
            scores = np.divide(scores, own, out=np.where(rankings.positions < 0, scores, 0), where=own > 0)
        return Rankings(rankings.positions, scores)


def _texts(passages: Sequence[Passage]) -> list[str]:
    return [passage.text for passage in passages]


def _order(rankings: Rankings, count: int) -> np.ndarray:
    """Columns of the `count` best of each row, best first, ties by position."""
    return np.lexsort((rankings.positions, -rankings.scores), axis=1)[:, :count]


def _fuse(dense: Rankings, words: Rankings) -> Rankings:
    """Reciprocal rank fusion: a passage scores the sum of 1 / (60 + rank) over the rankings that hold it."""
    positions = np.concatenate([dense.positions, words.positions], axis=1)
    ranks = np.concatenate([np.arange(1, ranking.positions.shape[1] + 1) for ranking in (dense, words)])
    fused = Rankings(positions, np.where(positions < 0, 0, 1 / (RECIPROCAL_RANK_CONSTANT + ranks)))
    fused = fused.take(np.argsort(positions, axis=1, kind="stable"))  # puts a passage that both hold beside itself
    twice = fused.positions[:, 1:] == fused.positions[:, :-1]
    fused.scores[:, :-1] += np.where(twice, fused.scores[:, 1:], 0)
    fused.positions[:, 1:][twice] = -1
    fused.scores[fused.positions < 0] = 0
    return fused.take(_order(fused, fused.positions.shape[1]))
