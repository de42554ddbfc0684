"""Nearest neighbours: exact, reproducible, never the passage itself."""

import pytest
import torch
from conftest import passage

from ra_ner.errors import UserError
from ra_ner.retrieval import search
from ra_ner.retrieval.encode import encode
from ra_ner.retrieval.select import nearest_neighbours


def test_nearest_equals_a_plain_ranking_with_ties_by_position(monkeypatch):
    monkeypatch.setattr(search, "BLOCK", 7)
    generator = torch.Generator().manual_seed(0)
    pool = torch.randint(-1, 2, (60, 4), generator=generator).float()  # small integers: many equal scores
    queries = torch.randint(-1, 2, (20, 4), generator=generator).float()
    scores, positions = search.nearest(queries, pool, 9)
    for query, row_scores, row_positions in zip(queries, scores.tolist(), positions.tolist(), strict=True):
        plain = sorted(((-float(query @ vector), i) for i, vector in enumerate(pool)))[:9]
        assert [(-score, position) for score, position in zip(row_scores, row_positions, strict=True)] == plain


def test_more_neighbours_than_the_pool_has():
    scores, positions = search.nearest(torch.eye(2), torch.eye(2), 5)
    assert scores.shape == positions.shape == (2, 2)


def test_vectors_are_unit_and_float32(models):
    vectors = encode(["one", "two words"], str(models / "encoder"))
    assert vectors.dtype == torch.float32
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2))


def test_a_missing_encoder_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere.*can't be loaded"):
        encode(["one"], str(tmp_path / "nowhere"))


def test_a_passage_and_its_copies_are_never_its_examples(models):
    pool = [passage("the same text", id=id) for id in "cab"] + [passage("another text", id="d"), passage("zzz", id="e")]
    chosen = nearest_neighbours(pool, pool, 2, str(models / "encoder"))
    assert [example.passage.id for example in chosen[0]] == ["d", "e"]
    assert [example.passage.id for example in chosen[3]] == ["a", "b"], "equal scores in the order of ids"
    assert all(examples[0].score >= examples[1].score for examples in chosen)


def test_a_small_pool_gives_what_it_has(models):
    one = passage("the only one", id="1")
    (examples,) = nearest_neighbours([passage("a query", id="q")], [one], 2, str(models / "encoder"))
    assert [example.passage for example in examples] == [one]
    assert nearest_neighbours([one], [one], 2, str(models / "encoder")) == [[]]
    assert nearest_neighbours([one], [], 2, str(models / "encoder")) == [[]]
