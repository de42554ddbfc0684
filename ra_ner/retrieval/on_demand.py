"""When in-context examples help: the similarity from which on they are shown, chosen on annotated passages."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from .. import markdown
from ..atomic_files import write_text
from ..errors import UserError
from ..foreign_files import read_json

FILE = "on_demand.json"  # beside the model
LEAST = 20  # passages to choose on
FOLDS, RESAMPLES = 5, 2000


@dataclass(frozen=True)
class OnDemand:
    """The threshold of `on_demand` that suits a model.

    Attributes:
        bm25_threshold: examples are shown if the nearest one has at least this BM25 score, on the scale `self`; None
            never shows any.
        passages: number of passages that it was chosen on.
        benchmark, k: their benchmark, and the number of examples.
    """

    bm25_threshold: float | None
    passages: int
    benchmark: str
    k: int

    @property
    def threshold(self) -> float:
        return math.inf if self.bm25_threshold is None else self.bm25_threshold

    def __str__(self) -> str:
        when = "never" if self.bm25_threshold is None else f"from a BM25 score of {self.bm25_threshold} on"
        where = f"{self.passages} passages of {self.benchmark}"
        return f"on_demand shows examples {when}, as `ra-ner calibrate` chose on {where}"

    def save(self, file: Path) -> None:
        write_text(file, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def beside(cls, model: Path) -> "OnDemand | None":
        """What `ra-ner calibrate` left beside a model; None if it was not asked to.

        Raises:
            UserError: the file can't be read or is something else.
        """
        file = model / FILE
        if not file.is_file():
            return None
        try:
            found = cls(**read_json(file))
            return replace(found, bm25_threshold=None if found.bm25_threshold is None else float(found.bm25_threshold))
        except (UserError, ValueError, TypeError) as error:
            raise UserError(
                f"{file}: no threshold of on_demand ({error}); make it with `ra-ner calibrate --on_demand`"
            ) from None


def choose_threshold(
    nearness: Sequence[float],
    zero_shot: Sequence[Sequence[int]],
    in_context: Sequence[Sequence[int]],
    default: float,
    **facts: object,
) -> tuple[OnDemand, str]:
    """Choose the threshold with the highest micro-averaged F1, and say what it is worth.

    Few passages choose badly: unless the threshold with the highest F1 is better in cross-validation over passages, it
    is the best of `never`, `always` and the default.

    Args:
        nearness: of each passage, the BM25 score of its nearest example; below 0 if there is none.
        zero_shot: of each passage the true positives, false positives and false negatives without examples.
        in_context: the same with examples.
        default: the threshold to compare with.
        facts: further attributes of the result.

    Returns:
        the threshold, and a Markdown table.

    Raises:
        UserError: there are too few passages.
    """
    if len(nearness) < LEAST:
        raise UserError(f"{len(nearness)} passages were asked about: at least {LEAST} are needed to choose a threshold")
    near, without, with_ = np.array(nearness), np.array(zero_shot), np.array(in_context)
    with_ = np.where(near[:, None] < 0, without, with_)  # there is no example to show

    def shown_from(threshold: float, rows: np.ndarray) -> np.ndarray:
        return np.where((near[rows] >= threshold)[:, None], with_[rows], without[rows])

    rng = np.random.default_rng(0)
    every, held_out = np.arange(len(near)), np.empty_like(without)
    for fold in np.array_split(rng.permutation(len(near)), FOLDS):
        rest = np.setdiff1d(every, fold)
        held_out[fold] = shown_from(_best(near[rest], without[rest], with_[rest]), fold)
    best = _best(near, without, with_)
    arms = {
        "never": (math.inf, without),
        "always": (0.0, with_),
        f"from {default}, the default": (default, shown_from(default, every)),
        "from the threshold with the highest F1, cross-validated": (best, held_out),
    }
    draws = rng.integers(len(near), size=(RESAMPLES, len(near)))
    rows = []
    for name, (_, counts) in arms.items():
        differences = 100 * (_f1(held_out[draws].sum(1)) - _f1(counts[draws].sum(1)))
        low, high = np.percentile(differences, [2.5, 97.5])
        gain = "" if counts is held_out else f"({low:+.1f}, {high:+.1f})"
        rows.append([name, f"{100 * _f1(counts.sum(0)):.1f}", gain])
    table = markdown.table(["examples are shown", "F1", "gain of the last, 95% interval"], rows)
    threshold, _ = max(arms.values(), key=lambda arm: _f1(arm[1].sum(0)))
    return OnDemand(None if threshold == math.inf else round(threshold, 4), len(near), **facts), table


def _best(near: np.ndarray, without: np.ndarray, with_: np.ndarray) -> float:
    """The threshold with the highest F1: halfway between two passages, 0 (always) or infinite (never)."""
    order = np.argsort(-near, kind="stable")
    gained = np.vstack([[[0, 0, 0]], np.cumsum((with_ - without)[order], axis=0)])  # with examples for the n nearest
    scores = _f1(without.sum(0) + gained)
    sorted_near = near[order]
    scores[1:-1][sorted_near[1:] == sorted_near[:-1]] = -1  # no threshold lies between equals
    count = int(scores.argmax())
    if count == 0:
        return math.inf
    return 0.0 if count == len(near) else max(0.0, float(sorted_near[count - 1 : count + 1].mean()))


def _f1(counts: np.ndarray) -> np.ndarray:
    """F1 of counts of shape (..., 3)."""
    tp, fp, fn = np.moveaxis(counts, -1, 0)
    return 2 * tp / np.maximum(2 * tp + fp + fn, 1)
