"""When examples are shown: the threshold is the best one, honest in the table, and kept beside the model."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_ner.errors import UserError
from ra_ner.retrieval.on_demand import LEAST, OnDemand, _best, choose_threshold

FACTS = {"benchmark": "mine", "k": 2}
COUNTS = st.tuples(*[st.integers(0, 5)] * 3)
PASSAGES = st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 0.1, 0.2, 0.4, 0.9]), COUNTS, COUNTS), min_size=LEAST)


def f1(counts) -> float:
    tp, fp, fn = map(sum, zip(*counts, strict=True))
    return 2 * tp / max(2 * tp + fp + fn, 1)


@settings(max_examples=25, deadline=None)
@given(PASSAGES)
def test_the_best_threshold_is_found_and_what_is_chosen_is_no_worse_than_the_default(passages):
    near, without, with_ = map(np.array, zip(*passages, strict=True))
    with_ = np.where(near[:, None] < 0, without, with_)

    def score(threshold: float) -> float:
        return f1(np.where((near >= threshold)[:, None], with_, without).tolist())

    best = max(map(score, [0, 0.05, 0.15, 0.3, 0.5, math.inf]))
    assert score(_best(near, without, with_)) == pytest.approx(best)
    chosen, _ = choose_threshold(*zip(*passages, strict=True), 0.1, **FACTS)
    assert score(chosen.threshold) >= max(map(score, [0, 0.1, math.inf])) - 1e-9


def test_examples_that_help_similar_passages_alone_are_shown_to_these():
    near = [i / 100 for i in range(100)]
    without, with_ = [(1, 1, 1)] * 100, [(2, 0, 0) if score > 0.6 else (0, 2, 2) for score in near]
    chosen, table = choose_threshold(near, without, with_, 0.1, **FACTS)
    assert chosen == OnDemand(0.605, 100, **FACTS)
    rows = {row.split(" | ")[0].strip("| "): row.split(" | ")[1] for row in table.splitlines()[2:]}
    assert (
        float(rows["from the threshold with the highest F1, cross-validated"])
        > float(rows["never"])
        > float(rows["from 0.1, the default"])
    )
    assert "from a BM25 score of 0.605 on" in str(chosen)


@pytest.mark.parametrize("better, threshold", [("without", None), ("with", 0.0)])
def test_examples_that_never_help_or_always_do(better, threshold, tmp_path):
    good, bad = [(2, 0, 0)] * 30, [(0, 2, 2)] * 30
    arms = (good, bad) if better == "without" else (bad, good)
    chosen, _ = choose_threshold([0.1] * 15 + [0.5] * 15, *arms, 0.1, **FACTS)
    chosen.save(tmp_path / "on_demand.json")
    assert chosen.bm25_threshold == threshold and OnDemand.beside(tmp_path) == chosen


def test_what_is_no_threshold(tmp_path):
    assert OnDemand.beside(tmp_path) is None
    for content in ("[", "{}", json.dumps({"bm25_threshold": "x", "passages": 9, **FACTS})):
        (tmp_path / "on_demand.json").write_text(content)
        with pytest.raises(UserError, match="no threshold of on_demand.*make it with `ra-ner calibrate --on_demand`"):
            OnDemand.beside(tmp_path)
    with pytest.raises(UserError, match="19 passages were asked about: at least 20 are needed"):
        choose_threshold([0.1] * 19, [(1, 1, 1)] * 19, [(1, 1, 1)] * 19, 0.1, **FACTS)
