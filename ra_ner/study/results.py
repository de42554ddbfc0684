"""Scores over the cells of a study: F1 over seeds and passages, differences to vanilla, and counts of errors."""

import csv
import io
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..evaluation.report import task_of_scores
from ..tasks import NER, Task
from ..tasks.scoring import RATES, Run, compare, interval, mean, score
from .grid import Cell, find_vanilla, show

logger = logging.getLogger(__name__)

Key = tuple[str, str]  # benchmark, setting
Kind = tuple[str, bool]  # outcome of a verdict, and whether the verdict is on a gold entity
# setting, passage, entity type -> the label that an outcome is counted under; None leaves it out
Label = Callable[[str, "JudgedPassage", str], Any]

# Costs of a cell: the stage and the key under which cells.json has each.
COSTS = {
    "train_tokens": ("train", "tokens"),
    "build_seconds": ("dataset", "seconds"),
    "train_seconds": ("train", "seconds"),
    "evaluate_seconds": ("evaluate", "seconds"),
}
SEED = 0  # for resampling seeds; it is the same for all groups, so that differences are paired seed by seed


@dataclass(frozen=True)
class JudgedPassage:
    """The verdicts of the main score on one passage in one setting.

    Attributes:
        length: characters of the text.
        best_example: score of the best example shown; None without examples.
        outcomes: number of verdicts by entity type and kind.
    """

    id: str
    benchmark: str
    length: int
    best_example: float | None
    outcomes: Counter[tuple[str, Kind]]


@dataclass(frozen=True)
class Evaluation:
    """The finished evaluation of a cell.

    Attributes:
        config: section evaluate as scores.json records it.
        mentions: number of predicted mentions; a mention repeated within an answer counts once.
    """

    cell: Cell
    config: dict
    runs: dict[Key, Run]
    passages: dict[Key, list[JudgedPassage]]
    mentions: dict[Key, int]
    task: Task = NER


def read_evaluation(cell: Cell, folder: Path) -> Evaluation | None:
    """Read and score the predictions in a folder; scores.json alone has no resamples to combine seeds with.

    Returns:
        None if the evaluation has not finished, has asked nothing, or is one of several models.
    """
    files = [folder / name for name in ("scores.json", "texts.json", "predictions.jsonl")]
    if not all(file.is_file() for file in files):
        return None
    scores, texts = (json.loads(file.read_text(encoding="utf-8")) for file in files[:2])
    rows_by_key: dict[Key, list[dict]] = defaultdict(list)
    models: set[tuple[str, str]] = set()
    with files[2].open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["revision"] is None:  # of a baseline, which is no model
                continue
            rows_by_key[row["benchmark"], row["setting"]].append(row)
            models.add((row["model"], row["revision"]))
    if len(models) > 1:
        logger.warning("%s has several models, so it is left out: remove its scores.json and run again", folder)
        return None
    if not models:
        return None
    config = {"labels": scores["labels"], **scores["config"]}
    task = task_of_scores(scores)
    evaluation = Evaluation(cell, config, {}, {}, {}, task)
    for key, rows in rows_by_key.items():
        benchmark, _ = key
        evaluation.runs[key] = score(rows, texts[benchmark], config["seed"], metric=task.metric)
        evaluation.passages[key] = list(_judge_passages(rows, benchmark, texts[benchmark], task))
        evaluation.mentions[key] = sum(len(set(row["predicted"])) for row in rows if row["parsed"])
    return evaluation


def _judge_passages(rows: Sequence[dict], benchmark: str, texts: dict[str, str], task: Task) -> Iterator[JudgedPassage]:
    rows_by_passage: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        rows_by_passage[row["passage_id"]].append(row)
    for id_, its_rows in rows_by_passage.items():
        verdicts = task.metric.judge(its_rows, texts[id_])
        outcomes = Counter((verdict.type, (verdict.outcome, verdict.is_gold)) for verdict in verdicts)
        best = max(its_rows[0]["example_scores"], default=None)
        yield JudgedPassage(id_, benchmark, len(texts[id_]), best, outcomes)


@dataclass(frozen=True)
class Group:
    """The finished evaluations of cells that differ only in their seed.

    Attributes:
        pairs: each evaluation with the vanilla evaluation of the same seed, where both have finished.
    """

    base: str
    values: dict[str, object]
    is_vanilla: bool
    evaluations: list[Evaluation]
    pairs: list[tuple[Evaluation, Evaluation]]

    @property
    def task(self) -> Task:
        return self.evaluations[0].task

    @property
    def vanilla_evaluations(self) -> list[Evaluation]:
        """The evaluations that the group is compared with; its own if it is vanilla."""
        return self.evaluations if self.is_vanilla else [vanilla for _, vanilla in self.pairs]

    @property
    def benchmarks(self) -> list[str]:
        return list(dict.fromkeys(benchmark for benchmark, _ in self.evaluations[0].runs))

    @property
    def settings(self) -> list[str]:
        return list(dict.fromkeys(setting for _, setting in self.evaluations[0].runs))


def group_cells(cells: Sequence[Cell], evaluations: Mapping[str, Evaluation]) -> list[Group]:
    """Group the evaluated cells over seeds, in the order of the grid.

    Args:
        evaluations: by cell name; cells without one are left out.
    """
    members: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.name in evaluations:
            members[cell.group].append(cell)
    groups = []
    for its_cells in members.values():
        pairs = []
        for cell in its_cells:
            vanilla = find_vanilla(cell, cells)
            if vanilla and vanilla.name in evaluations:
                pairs.append((evaluations[cell.name], evaluations[vanilla.name]))
        first = its_cells[0]
        its_evaluations = [evaluations[cell.name] for cell in its_cells]
        groups.append(Group(first.base, first.values, first.is_vanilla, its_evaluations, pairs))
    return groups


def over_seeds(runs: Sequence[Run]) -> Run:
    """Combine the runs of several seeds on the same passages into one run, whose F1 is the mean over seeds.

    Each resample of the passages also resamples the seeds: it draws as many as there are, with repetition. The draws
    depend only on the number of seeds, so `compare` pairs two combined runs seed by seed.

    Raises:
        UserError: the runs are on different passages.
    """
    if len({run.passages for run in runs}) > 1:
        raise UserError(
            "the seeds of a cell are not evaluated on the same passages, because a benchmark has changed in between: "
            "remove `evaluation/scores.json` of its cells, and run the study again"
        )
    figures, f1 = {"seeds": len(runs)}, {}
    for name in runs[0].f1:
        resampled = np.stack([run.f1[name] for run in runs])  # seeds x resamples
        drawn_seeds = np.random.default_rng(SEED).integers(len(runs), size=resampled.shape)
        f1[name] = np.take_along_axis(resampled, drawn_seeds, axis=0).mean(axis=0)
        rates = {rate: round(float(np.mean([run.figures[name][rate] for run in runs])), 6) for rate in RATES}
        figures[name] = rates | {"f1_interval": interval(f1[name])}
    return Run(figures, f1, runs[0].passages)


def combined(evaluations: Sequence[Evaluation], benchmark: str | None, setting: str) -> Run | None:
    """The run over all seeds on one benchmark, or on the mean over benchmarks if `benchmark` is None.

    Returns:
        None if there are no evaluations, or if one of them lacks the benchmark or the setting.
    """
    names = dict.fromkeys(name for e in evaluations for name, _ in e.runs) if benchmark is None else [benchmark]
    if not evaluations or any((name, setting) not in e.runs for e in evaluations for name in names):
        return None
    runs = [over_seeds([e.runs[name, setting] for e in evaluations]) for name in names]
    return mean(runs) if benchmark is None else runs[0]


def difference(
    pairs: Sequence[tuple[Evaluation, Evaluation]], benchmark: str | None, setting: str, other_setting: str
) -> dict[str, dict] | None:
    """F1 of the first evaluations of the pairs in `setting` minus F1 of the second ones in `other_setting`.

    Returns:
        Difference, interval and p by score, as `compare` returns them; None if a run is missing, or if the two are on
        different passages, as where an axis varies `limit` or `benchmarks`.
    """
    firsts = combined([first for first, _ in pairs], benchmark, setting)
    seconds = combined([second for _, second in pairs], benchmark, other_setting)
    return compare(firsts, seconds) if firsts and seconds and firsts.passages == seconds.passages else None


def passages_in(evaluations: Iterable[Evaluation], setting: str) -> Iterator[JudgedPassage]:
    """All passages of all benchmarks in a setting, once for each evaluation."""
    for evaluation in evaluations:
        for (_, its_setting), passages in evaluation.passages.items():
            if its_setting == setting:
                yield from passages


def count_kinds(evaluations: Sequence[Evaluation], setting: str, label: Label) -> dict[Any, Counter[Kind]]:
    """Mean number of verdicts of each kind in one evaluation, by label."""
    counts: dict[Any, Counter[Kind]] = defaultdict(Counter)
    for passage in passages_in(evaluations, setting):
        for (type_, kind), count in passage.outcomes.items():
            counts[label(setting, passage, type_)][kind] += count / len(evaluations)
    counts.pop(None, None)
    return dict(counts)


def kinds_f1(kinds: Counter[Kind]) -> float:
    """Micro F1 of counted verdicts."""
    tp = kinds["found", True]
    fn = sum(count for (outcome, is_gold), count in kinds.items() if is_gold and outcome != "found")
    fp = sum(count for (_, is_gold), count in kinds.items() if not is_gold)
    return 2 * tp / (2 * tp + fp + fn or 1)


def quarters(values: Iterable[float]) -> list[tuple[float, float]]:
    """The first and last value of each quarter of the sorted values.

    Equal values share a quarter, so there can be fewer than four.
    """
    ordered = np.sort(list(values))
    if not len(ordered):
        return []
    bins = np.searchsorted(np.quantile(ordered, (0.25, 0.5, 0.75)), ordered, side="right")
    parts = [ordered[bins == bin_] for bin_ in np.unique(bins)]
    return [(part[0].item(), part[-1].item()) for part in parts]


def quarter_of(value: float | None, ranges: Sequence[tuple[float, float]]) -> int | None:
    """The number of the range that holds a value; None if none does."""
    return next((i for i, (low, high) in enumerate(ranges) if value is not None and low <= value <= high), None)


def best_example_quarters(groups: Sequence[Group], setting: str) -> list[tuple[float, float]]:
    """Quarters of the best example's score over all passages with examples; empty if all scores are equal."""
    passages = [passage for group in groups for passage in passages_in(group.evaluations, setting)]
    ranges = quarters(passage.best_example for passage in passages if passage.best_example is not None)
    return ranges if len(ranges) > 1 else []


def results_csv(
    cells: Sequence[Cell], evaluations: Mapping[str, Evaluation], costs: Mapping[str, Mapping[str, float]]
) -> str:
    """One row for each evaluated cell, benchmark and setting. A cell's costs are repeated in each of its rows."""
    task = next((evaluation.task for evaluation in evaluations.values()), NER)
    scores = [(one.name, name) for one in task.metric.studied for name in (*RATES, "tp", "fp", "fn")]
    sides = [(kind, side) for kind in task.metric.errors for side in ("fp", "fn")]
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
