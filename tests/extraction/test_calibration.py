"""Calibrated scores: fitted on what was right, honest in the table, kept beside the model."""

import random

import pytest

from ra_ner.errors import UserError
from ra_ner.extraction.calibration import Calibration, fit

FACTS = {"benchmark": "mine", "strategy": "nn", "k": 2}


def overconfident(count: int) -> tuple[list[float], list[bool], list[str]]:
    """Scores from 0.5 to 1, of which only the share `score - 0.4` is right."""
    rng = random.Random(0)
    scores = [rng.uniform(0.5, 1) for _ in range(count)]
    return scores, [rng.random() < score - 0.4 for score in scores], [str(i // 3) for i in range(count)]


def test_an_overconfident_model_gets_lower_scores_in_the_same_order():
    calibration, table = fit(*overconfident(2000), **FACTS)
    mapped = [calibration(score) for score in (0.0, 0.55, 0.75, 0.95, 1.0)]
    assert mapped == sorted(mapped) and mapped[0] >= 0 and mapped[-1] <= 1
    assert mapped[1:4] == pytest.approx([0.15, 0.35, 0.55], abs=0.08)
    before, after = (float(line.split("error ")[1].split(",")[0]) for line in table.splitlines()[-2:])
    assert before > 0.35 and after < 0.06
    assert calibration.entities == 2000 and calibration.benchmark == "mine"


def test_it_is_kept_as_json(tmp_path):
    calibration, _ = fit(*overconfident(100), **FACTS)
    calibration.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == calibration
    (tmp_path / "calibration.json").write_text('{"slope": 1}')
    with pytest.raises(UserError, match=r"not a calibration .*; make it with `ra-ner calibrate`"):
        Calibration.load(tmp_path / "calibration.json")


@pytest.mark.parametrize("count, right", [(5, [True, False]), (100, [True]), (100, [False])])
def test_too_little_to_learn_from_is_refused(count, right):
    scores, _, owners = overconfident(count)
    with pytest.raises(UserError, match="at least 20 in 5 passages are needed, right ones and wrong ones"):
        fit(scores, [right[i % len(right)] for i in range(count)], owners, **FACTS)
