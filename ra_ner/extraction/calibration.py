"""Calibrated scores: how often a mention with such a score is right, measured on annotated passages."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .. import markdown
from ..atomic_files import write_text
from ..errors import UserError
from ..foreign_files import read_json

FILE = "calibration.json"  # beside the model
LEAST = 20  # entities to fit on
FOLDS, BINS = 5, 5


@dataclass(frozen=True)
class Calibration:
    """A logistic regression on the log-odds of the score (Platt, 1999): sigmoid(slope * logit(score) + intercept).

    Attributes:
        entities: number of entities that it was fitted on.
        benchmark, strategy, k: what they were found in, and with which examples.
    """

    slope: float
    intercept: float
    entities: int
    benchmark: str
    strategy: str
    k: int

    def __call__(self, score: float) -> float:
        """The share of right mentions among those with this score."""
        return round(1 / (1 + math.exp(-self.slope * _log_odds(score) - self.intercept)), 4)

    def save(self, file: Path) -> None:
        write_text(file, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, file: Path) -> "Calibration":
        """Read what `save` wrote.

        Raises:
            UserError: the file can't be read or is something else.
        """
        try:
            return cls(**read_json(file, slope=float, intercept=float))
        except (TypeError, UserError) as error:
            raise UserError(f"{file}: not a calibration ({error}); make it with `ra-ner calibrate`") from None


def fit(
    scores: Sequence[float], is_right: Sequence[bool], passages: Sequence[str], **facts: object
) -> tuple[Calibration, str]:
    """Fit a calibration, and say how reliable scores are before and after.

    The table's calibrated scores come from cross-validation over passages, so they are not those that were fitted.

    Args:
        scores: of entities that the model found.
        is_right: whether each is in the gold annotation, with its type and place.
        passages: the id of each entity's passage.
        facts: further attributes of the calibration.

    Returns:
        the calibration, and a Markdown table.

    Raises:
        UserError: there are too few entities, or all are right, or all are wrong.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict

    right = np.array(is_right, dtype=bool)
    if len(right) < LEAST or right.all() or not right.any() or len(set(passages)) < FOLDS:
        raise UserError(
            f"{len(right)} entities in {len(set(passages))} passages were found, {int(right.sum())} of them right: "
            f"at least {LEAST} in {FOLDS} passages are needed, right ones and wrong ones; use a larger benchmark"
        )
    raw = np.array(scores, dtype=float)
    inputs = np.array([[_log_odds(score)] for score in scores])
    model = LogisticRegression().fit(inputs, right)
    held_out = cross_val_predict(
        LogisticRegression(), inputs, right, groups=passages, cv=GroupKFold(FOLDS), method="predict_proba"
    )[:, 1]
    slope, intercept = round(float(model.coef_[0, 0]), 6), round(float(model.intercept_[0]), 6)
    calibration = Calibration(slope, intercept, len(right), **facts)
    return calibration, _reliability(right, {"score": raw, "calibrated": held_out})


def _reliability(right: np.ndarray, scores: dict[str, np.ndarray]) -> str:
    """For each kind of score: bins of equal size, and the errors over all entities."""
    rows, lines = [], []
    for name, values in scores.items():
        bins = [chosen for chosen in np.array_split(np.argsort(values, kind="stable"), BINS) if len(chosen)]
        for chosen in bins:
            low, high = values[chosen].min(), values[chosen].max()
            mean, share = values[chosen].mean(), right[chosen].mean()
            rows.append([name, f"{low:.2f} to {high:.2f}", len(chosen), f"{mean:.2f}", f"{share:.2f}"])
        error = sum(abs(values[chosen].mean() - right[chosen].mean()) * len(chosen) for chosen in bins) / len(right)
        brier = ((values - right) ** 2).mean()
        lines.append(f"{name}: calibration error {error:.3f}, Brier score {brier:.3f}")
    table = markdown.table(["kind", "from - to", "entities", "mean score", "share right"], rows)
    return "\n".join([table, "", *lines])


def _log_odds(score: float) -> float:
    score = min(max(score, 1e-4), 1 - 1e-4)
    return math.log(score / (1 - score))
