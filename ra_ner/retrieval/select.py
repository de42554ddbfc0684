"""How k examples are chosen for a passage: the strategies of the paper (arXiv 2406.17305), and two of ours."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..corpus import Passage
from .bm25 import BM25Index
from .encode import encode
from .search import nearest

if TYPE_CHECKING:
    from ..hub import LocalModel
    from ..recipe import DatasetConfig

RECIPROCAL_RANK_CONSTANT = 60  # of reciprocal rank fusion (Cormack et al. 2009)


@dataclass(frozen=True)
class Example:
    """A passage chosen to be shown, and the score by which it was ranked: cosine, BM25 or fused; 0 for random ones."""

    passage: Passage
    score: float


Ranking = list[tuple[int, float]]  # positions in the pool with their scores, best first


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
        self.positions = defaultdict(set)
        for position, passage in enumerate(self.pool):
            self.positions[passage.text].add(position)

    @cached_property
    def bm25(self) -> BM25Index:
        return BM25Index([passage.text for passage in self.pool], self.language)

    def examples(self, passages: Sequence[Passage]) -> list[list[Example]]:
        """At most k examples for each passage, best first; fewer where a filter or a small pool leaves fewer."""
        strategy, k = self.config.strategy, self.config.k
        if strategy == "none" or not passages or not self.pool or k < 1:
            return [[] for _ in passages]
        if strategy == "random":
            rankings = [self._random(passage) for passage in passages]
        elif strategy == "bm25":
            rankings = self._bm25_ranking(passages, k)
        elif strategy == "hybrid":
            count = self.config.candidates
            pairs = zip(self._dense_ranking(passages, count), self._bm25_ranking(passages, count), strict=True)
            rankings = [_fuse(dense, words) for dense, words in pairs]
        else:
            rankings = self._from_neighbours(passages)
        return [[Example(self.pool[i], score) for i, score in ranking[:k]] for ranking in rankings]

    def _from_neighbours(self, passages: Sequence[Passage]) -> list[Ranking]:
        strategy, k = self.config.strategy, self.config.k
        wide = strategy.startswith("diverse")
        rankings = self._dense_ranking(passages, self.config.candidates if wide else k)
        if strategy == "mixed_nn":
            probability = self.config.mixed_nn_probability
            return [
                ranking if self._rng(passage, "mix").random() < probability else self._random(passage)
                for passage, ranking in zip(passages, rankings, strict=True)
            ]
        if strategy in ("diverse_nn", "diverse_nn_bm25"):
            rankings = [self._draw(passage, ranking) for passage, ranking in zip(passages, rankings, strict=True)]
        if strategy.endswith(("_bm25", "_bm25_rank")):
            rankings = self._filter(passages, rankings, rank=strategy.endswith("_rank"))
        return rankings

    def _rng(self, passage: Passage, purpose: str) -> random.Random:
        return random.Random(f"{self.config.seed}:{purpose}:{passage.id}")

    def _random(self, passage: Passage) -> Ranking:
        own = self.positions.get(passage.text, set())
        wanted = min(self.config.k + len(own), len(self.pool))
        drawn = self._rng(passage, "random").sample(range(len(self.pool)), wanted)
        return [(position, 0.0) for position in drawn if position not in own]

    def _draw(self, passage: Passage, ranking: Ranking) -> Ranking:
        """k random ones of a ranking, in its order."""
        count = min(self.config.k, len(ranking))
        return [ranking[i] for i in sorted(self._rng(passage, "diverse").sample(range(len(ranking)), count))]

    def _without_own(self, passages: Sequence[Passage], scores: np.ndarray, positions: np.ndarray) -> list[Ranking]:
        return [
            [(i, score) for i, score in zip(row, row_scores, strict=True) if i not in self.positions.get(p.text, ())]
            for p, row, row_scores in zip(passages, positions.tolist(), scores.tolist(), strict=True)
        ]

    def _extra(self, passages: Sequence[Passage]) -> int:
        """How many more to rank, so that enough are left once those with the passage's own text are gone."""
        return max(len(self.positions.get(passage.text, ())) for passage in passages)

    def _dense_ranking(self, passages: Sequence[Passage], count: int) -> list[Ranking]:
        documents = encode([passage.text for passage in self.pool], "document", self.encoder)
        queries = encode([passage.text for passage in passages], "query", self.encoder)
        scores, positions = nearest(queries, documents, count + self._extra(passages))
        rankings = self._without_own(passages, scores.numpy(), positions.numpy())
        return [ranking[:count] for ranking in rankings]

    def _bm25_ranking(self, passages: Sequence[Passage], count: int) -> list[Ranking]:
        scores, positions = self.bm25.top([passage.text for passage in passages], count + self._extra(passages))
        return [ranking[:count] for ranking in self._without_own(passages, scores, positions)]

    def _filter(self, passages: Sequence[Passage], rankings: list[Ranking], rank: bool) -> list[Ranking]:
        """Drop what BM25 scores below the threshold; with `rank`, order by BM25 and keep k first."""
        texts = [passage.text for passage in passages]
        width = max(map(len, rankings))
        candidates = np.full((len(rankings), width), -1)
        for row, ranking in enumerate(rankings):
            candidates[row, : len(ranking)] = [position for position, _ in ranking]
        scores = self.bm25.scores(texts, candidates)
        if self.config.threshold_scale == "self":
            own = self.bm25.self_scores(texts)[:, None]
            scores = np.divide(scores, own, out=np.zeros_like(scores), where=own > 0)
        kept = []
        for ranking, row in zip(rankings, scores.tolist(), strict=True):
            scored = [(position, dense, words) for (position, dense), words in zip(ranking, row, strict=False)]
            if rank:
                scored = [(position, words, words) for position, _, words in scored]
                scored.sort(key=lambda item: (-item[2], item[0]))
                scored = scored[: self.config.k]
            kept.append([(item[0], item[1]) for item in scored if item[2] >= self.config.bm25_threshold])
        return kept


def _fuse(*rankings: Ranking) -> Ranking:
    """Reciprocal rank fusion: the sum of 1 / (60 + rank) over the rankings that hold a passage."""
    fused: dict[int, float] = defaultdict(float)
    for ranking in rankings:
        for rank, (position, _) in enumerate(ranking, 1):
            fused[position] += 1 / (RECIPROCAL_RANK_CONSTANT + rank)
    return sorted(fused.items(), key=lambda item: (-item[1], item[0]))
