"""Figures over the cells of a study: F1 over seeds and passages, differences to vanilla, and changes in errors."""

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.scoring import ERRORS, RATES, SCORES, Run, compare, interval, judge, mean, score
from .grid import Cell, find_vanilla, show

Key = tuple[str, str]  # benchmark, setting
Kind = tuple[str, bool]  # outcome of a verdict, and whether it is about a gold entity
Label = Callable[[str, "JudgedPassage", str], Any]  # setting, passage, type -> label to count under, None to skip

COSTS = ("train_tokens", "build_seconds", "train_seconds", "evaluate_seconds")  # of a cell
SEED = 0  # for drawing training seeds: the same draws for all cells, so that cells are compared seed by seed


@dataclass(frozen=True)
class JudgedPassage:
    """The verdicts of the span score on one passage.

    Attributes:
        length: in characters.
        best_example: score of the best example shown, None without examples.
        outcomes: number of verdicts by type and kind.
    """

    id: str
    benchmark: str
    length: int
    best_example: float | None
    outcomes: Counter[tuple[str, Kind]]


@dataclass(frozen=True)
class Evaluation:
    """A cell's finished evaluation.

    Attributes:
        config: section evaluate as it was run.
        mentions: number of distinct mentions predicted, summed over queries.
    """

    cell: Cell
    config: dict
    runs: dict[Key, Run]
    passages: dict[Key, list[JudgedPassage]]
    mentions: dict[Key, int]


def read_evaluation(cell: Cell, folder: Path) -> Evaluation | None:
    """Score the predictions of a folder again, because scores.json has no resamples; None if it is not finished."""
    files = [folder / name for name in ("scores.json", "texts.json", "predictions.jsonl")]
    if not all(file.is_file() for file in files):
        return None
    scores, texts = (json.loads(file.read_text(encoding="utf-8")) for file in files[:2])
    groups: dict[Key, list[dict]] = defaultdict(list)
    with files[2].open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            groups[row["benchmark"], row["setting"]].append(row)
    config = {"labels": scores["labels"], **scores["config"]}
    evaluation = Evaluation(cell, config, {}, {}, {})
    for key, rows in groups.items():
        evaluation.runs[key] = score(rows, texts[key[0]], config["seed"])
        evaluation.passages[key] = list(_judged(rows, key[0], texts[key[0]]))
        evaluation.mentions[key] = sum(len(set(row["predicted"])) for row in rows if row["parsed"])
    return evaluation


def _judged(rows: Sequence[dict], benchmark: str, texts: dict[str, str]) -> Iterator[JudgedPassage]:
    passages: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        passages[row["passage_id"]].append(row)
    for id_, group in passages.items():
        verdicts = judge(group, texts[id_])
        outcomes = Counter((verdict.type, (verdict.outcome, verdict.is_gold)) for verdict in verdicts)
        best = max(group[0]["example_scores"], default=None)
        yield JudgedPassage(id_, benchmark, len(texts[id_]), best, outcomes)


@dataclass(frozen=True)
class Group:
    """The finished evaluations of cells that differ only in their seed.

    Attributes:
        pairs: each evaluation with the vanilla evaluation of the same seed, where both are finished.
    """

    base: str
    values: dict[str, object]
    is_vanilla: bool
    evaluations: list[Evaluation]
    pairs: list[tuple[Evaluation, Evaluation]]

    @property
    def benchmarks(self) -> list[str]:
        return list(dict.fromkeys(benchmark for benchmark, _ in self.evaluations[0].runs))

    @property
    def settings(self) -> list[str]:
        return list(dict.fromkeys(setting for _, setting in self.evaluations[0].runs))


def group_cells(cells: Sequence[Cell], evaluations: dict[str, Evaluation]) -> list[Group]:
    """Groups in the order of the grid. Cells without an evaluation are left out."""
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.name in evaluations:
            groups[json.dumps(cell.group)].append(cell)
    result = []
    for members in groups.values():
        vanilla = [(cell, find_vanilla(cell, cells)) for cell in members]
        pairs = [(evaluations[c.name], evaluations[v.name]) for c, v in vanilla if v and v.name in evaluations]
        first = members[0]
        its_evaluations = [evaluations[cell.name] for cell in members]
        result.append(Group(first.base, first.values, first.is_vanilla, its_evaluations, pairs))
    return result


def over_seeds(runs: Sequence[Run]) -> Run:
    """Combine the runs of several seeds on the same passages: F1 is the mean over seeds.

    Each resample of the passages also draws as many seeds as there are, with repetition. The draws are the same for
    equally many runs, so `compare` compares two results seed by seed.

    Raises:
        ValueError: the runs are not on the same passages.
    """
    if len({run.passages for run in runs}) > 1:
        raise ValueError("seeds can be combined only on the same passages")
    figures, f1 = {"seeds": len(runs)}, {}
    for name in SCORES:
        resampled = np.stack([run.f1[name] for run in runs])
        drawn = np.random.default_rng(SEED).integers(len(runs), size=resampled.shape)
        f1[name] = np.take_along_axis(resampled, drawn, axis=0).mean(axis=0)
        rates = {rate: round(float(np.mean([run.figures[name][rate] for run in runs])), 6) for rate in RATES}
        figures[name] = rates | {"f1_interval": interval(f1[name])}
    return Run(figures, f1, runs[0].passages)


def combined(evaluations: Sequence[Evaluation], benchmark: str | None, setting: str) -> Run | None:
    """The run of all seeds on one benchmark, or the mean over all benchmarks (None); None if an evaluation lacks it."""
    names = dict.fromkeys(name for e in evaluations for name, _ in e.runs) if benchmark is None else [benchmark]
    if not evaluations or any((name, setting) not in e.runs for e in evaluations for name in names):
        return None
    runs = [over_seeds([e.runs[name, setting] for e in evaluations]) for name in names]
    return mean(runs) if benchmark is None else runs[0]


def difference(
    pairs: Sequence[tuple[Evaluation, Evaluation]], benchmark: str | None, setting: str, other_setting: str
) -> dict[str, dict] | None:
    """F1 of the left evaluations minus F1 of the right ones in `other_setting`, seed by seed; see `compare`."""
    ours = combined([ours for ours, _ in pairs], benchmark, setting)
    theirs = combined([theirs for _, theirs in pairs], benchmark, other_setting)
    return compare(ours, theirs) if ours and theirs else None


def passages_in(evaluations: Iterable[Evaluation], setting: str) -> Iterator[JudgedPassage]:
    """All passages asked about in a setting, once for each evaluation."""
    for evaluation in evaluations:
        for (_, its_setting), passages in evaluation.passages.items():
            if its_setting == setting:
                yield from passages


def count_kinds(evaluations: Sequence[Evaluation], setting: str, label: Label) -> dict[Any, Counter[Kind]]:
    """The number of verdicts of each kind under each label, as a mean over seeds."""
    counts: dict[Any, Counter[Kind]] = defaultdict(Counter)
    for passage in passages_in(evaluations, setting):
        for (type_, kind), count in passage.outcomes.items():
            counts[label(setting, passage, type_)][kind] += count / len(evaluations)
    counts.pop(None, None)
    return dict(counts)


def kinds_f1(kinds: Counter[Kind]) -> float:
    """Micro F1 of counted verdicts."""
    sides = Counter()
    for (outcome, is_gold), count in kinds.items():
        sides["tp" if outcome == "found" else "fn" if is_gold else "fp"] += count
    return 2 * sides["tp"] / (2 * sides["tp"] + sides["fp"] + sides["fn"] or 1)


def quarters(values: Iterable[float]) -> list[tuple[float, float]]:
    """The first and last value of each quarter. There are fewer than four if values are equal."""
    ordered = np.sort(list(values))
    if not len(ordered):
        return []
    bins = np.searchsorted(np.quantile(ordered, (0.25, 0.5, 0.75)), ordered, side="right")
    parts = [ordered[bins == bin_] for bin_ in np.unique(bins)]
    return [(part[0].item(), part[-1].item()) for part in parts]


def quarter_of(value: float | None, ranges: Sequence[tuple[float, float]]) -> int | None:
    """The index of the range that contains a value, None if there is none."""
    return next((i for i, (low, high) in enumerate(ranges) if value is not None and low <= value <= high), None)


def best_example_quarters(groups: Sequence[Group], setting: str) -> list[tuple[float, float]]:
    """Quarters of passages with examples by the score of the best one; none if all scores are equal."""
    passages = [passage for group in groups for passage in passages_in(group.evaluations, setting)]
    ranges = quarters(passage.best_example for passage in passages if passage.best_example is not None)
    return ranges if len(ranges) > 1 else []


def results_csv(
    cells: Sequence[Cell], evaluations: Mapping[str, Evaluation], costs: Mapping[str, Mapping[str, float]]
) -> str:
    """One row for each cell, benchmark and setting. The costs of a cell are repeated in all its rows."""
    scores = [(score_, name) for score_ in ("span", "uniner") for name in (*RATES, "tp", "fp", "fn")]
    sides = [(kind, side) for kind in ERRORS for side in ("fp", "fn")]
    header = ["cell", "base", *cells[0].values, "seed", "benchmark", "setting", "passages", "queries", "unparsed"]
    header += ["mentions", "copied", *("_".join(pair) for pair in [*scores, *sides]), *COSTS]
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(header)
    for cell in cells:
        if evaluation := evaluations.get(cell.name):
            its_costs = [costs.get(cell.name, {}).get(name, "") for name in COSTS]
            for key, run in evaluation.runs.items():
                figures = run.figures
                row = [cell.name, cell.base, *map(show, cell.values.values()), cell.seed, *key]
                row += [figures["passages"], figures["queries"], figures["unparsed"]]
                row += [evaluation.mentions[key], figures["copied"]]
                row += [figures[score_][name] for score_, name in scores]
                row += [figures["errors"][kind][side] for kind, side in sides]
                table.writerow(row + its_costs)
    return file.getvalue()
