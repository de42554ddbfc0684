"""Scores over a study's cells: equal to the scorer's for one seed, and paired seed by seed for several."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_cells import answered, make_cell, write_evaluation

from ra_ner.errors import UserError
from ra_ner.study.results import (
    combined,
    count_kinds,
    difference,
    group_cells,
    kinds_f1,
    over_seeds,
    quarter_of,
    quarters,
    read_evaluation,
)
from ra_ner.tasks.scoring import ERRORS, NER, Run, compare, score

SCORES = [one.name for one in NER.scores]


def evaluated(folder: Path, cell, skill: float, **more):
    """A cell's evaluation, and the content of its scores.json."""
    scores = write_evaluation(folder / cell.name, cell.seed, skill, **more)
    return read_evaluation(cell, folder / cell.name), scores


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[tuple]:
    """A vanilla cell and a better cell, each with its scores."""
    folder = tmp_path_factory.mktemp("cells")
    return [evaluated(folder, make_cell(strategy, 42), skill) for strategy, skill in (("none", 0.4), ("nn", 0.8))]


def made_run(f1) -> Run:
    """A run with given resamples of F1."""
    resampled = np.asarray(f1, dtype=float)
    figures = {name: dict.fromkeys(("precision", "recall", "f1"), resampled.mean()) for name in SCORES}
    return Run(figures, dict.fromkeys(SCORES, resampled), ("p",))


def test_figures_of_one_seed_equal_scores_json(two):
    for evaluation, scores in two:
        for result in scores["results"]:
            run = combined([evaluation], result["benchmark"], result["setting"])
            for name in SCORES:
                assert run.figures[name] == {key: result[name][key] for key in run.figures[name]}
        for entry in scores["means"]:
            run = combined([evaluation], None, entry["setting"])
            assert all(run.figures[name] == entry[name] for name in SCORES)


def test_a_difference_of_one_seed_equals_compare_and_a_cell_equals_itself(two):
    (vanilla, _), (better, _) = two
    found = difference([(better, vanilla)], "politics", "zero_shot", "zero_shot")
    key = ("politics", "zero_shot")
    assert found == compare(better.runs[key], vanilla.runs[key])
    assert found["span"]["difference"] > 0.1 and found["span"]["p"] < 0.05
    for benchmark in ("politics", None):
        itself = difference([(better, better)] * 3, benchmark, "zero_shot", "zero_shot")
        assert all(figures == {"difference": 0, "interval": [0, 0], "p": 1} for figures in itself.values())
    assert difference([], None, "zero_shot", "zero_shot") is None


def test_seeds_are_resampled_with_repetition():
    run = over_seeds([made_run([0.0] * 1000), made_run([1.0] * 1000)])
    values, times = np.unique(run.f1["span"], return_counts=True)
    assert values.tolist() == [0, 0.5, 1] and times.tolist() == pytest.approx([250, 500, 250], abs=60)
    assert run.figures["span"]["f1"] == 0.5 and run.figures["span"]["f1_interval"] == [0, 1]


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.integers(1, 5))
def test_combining_equal_runs_gives_the_same_run(f1, times):
    assert over_seeds([made_run(f1)] * times).f1["span"] == pytest.approx(np.array(f1))


def test_an_effect_of_the_seed_on_both_cells_cancels_in_their_difference():
    rng = np.random.default_rng(1)
    vanilla = [made_run(level + 0.01 * rng.random(1000)) for level in (0.2, 0.5, 0.8)]
    better = [made_run(run.f1["span"] + 0.1) for run in vanilla]
    found = compare(over_seeds(better), over_seeds(vanilla))["span"]
    assert (found["difference"], *found["interval"]) == pytest.approx((0.1, 0.1, 0.1))
    low, high = over_seeds(better).figures["span"]["f1_interval"]
    assert high - low > 0.3, "the interval of F1 itself still spans the seeds"


def test_seeds_on_different_passages_are_refused():
    with pytest.raises(UserError, match="same passages"):
        over_seeds([score(*answered(1, 0.5, passages=count), samples=2) for count in (3, 4)])


def test_cells_are_grouped_over_seeds_and_paired_with_the_vanilla_cell_of_their_seed(two, tmp_path):
    cells = [make_cell(strategy, seed, base) for base in ("en", "zh") for seed in (1, 2) for strategy in ("none", "nn")]
    left_out = {"grid-en-none-seed2", "grid-zh-none-seed1", "grid-zh-none-seed2"}
    evaluations = {
        cell.name: evaluated(tmp_path, cell, 0.5, benchmarks=("b",))[0] for cell in cells if cell.name not in left_out
    }
    groups = group_cells(cells, evaluations)
    assert [(g.base, *g.values.values(), len(g.evaluations), len(g.pairs)) for g in groups] == [
        ("en", "none", 1, 0),
        ("en", "nn", 2, 1),
        ("zh", "nn", 2, 0),
    ]
    assert [[e.cell.name for e in pair] for pair in groups[1].pairs] == [["grid-en-nn-seed1", "grid-en-none-seed1"]]


def test_an_evaluation_that_is_not_finished_is_none(tmp_path):
    assert read_evaluation(make_cell("nn", 1), tmp_path) is None
    write_evaluation(tmp_path, 1, 0.5, benchmarks=("b",), settings=("zero_shot",))
    (tmp_path / "scores.json").unlink()
    assert read_evaluation(make_cell("nn", 1), tmp_path) is None
    write_evaluation(tmp_path, 1, 0.5, benchmarks=())
    assert read_evaluation(make_cell("nn", 1), tmp_path) is None, "nothing was asked"


def test_an_evaluation_of_several_models_is_not_one_run(tmp_path, capsys):
    write_evaluation(tmp_path, 1, 0.5, benchmarks=("b",), settings=("zero_shot",))
    assert read_evaluation(make_cell("nn", 1), tmp_path)
    rows = (tmp_path / "predictions.jsonl").read_text()
    (tmp_path / "predictions.jsonl").write_text(rows + rows.replace('"revision": "0"', '"revision": "1"'))
    assert read_evaluation(make_cell("nn", 1), tmp_path) is None
    assert "has several models, so it is left out" in capsys.readouterr().out


def test_counts_of_errors_by_any_label_add_up_to_scores_json(two):
    evaluation, scores = two[0]
    result = next(r for r in scores["results"] if (r["benchmark"], r["setting"]) == ("politics", "in_domain-nn"))
    counts = count_kinds([evaluation], "in_domain-nn", lambda setting, passage, type_: passage.benchmark)["politics"]
    for kind in ERRORS:
        assert [counts[kind, False], counts[kind, True]] == [result["errors"][kind][side] for side in ("fp", "fn")]
    assert kinds_f1(counts) == pytest.approx(result["span"]["f1"], abs=1e-6)
    by_type = count_kinds(
        [evaluation] * 2, "in_domain-nn", lambda s, p, type_: type_ if p.benchmark == "politics" else None
    )
    assert set(by_type) == {"person", "city"}
    assert by_type["person"] + by_type["city"] == counts, "counts are means over seeds, not sums"


@given(st.lists(st.integers(0, 9) | st.floats(0, 1), max_size=30))
def test_each_value_lies_in_one_quarter(values):
    ranges = quarters(values)
    assert len(ranges) <= 4 and all(low <= high for low, high in ranges)
    assert all(high < low for (_, high), (low, _) in pairwise(ranges))
    assert all(quarter_of(value, ranges) is not None for value in values)
    assert quarter_of(None, ranges) is None
