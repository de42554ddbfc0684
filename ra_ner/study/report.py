"""The report of a study: tables and figures in Markdown and HTML, and results.csv.

<folder>/report.md     the main tables; links to the figures
<folder>/report.html   the same with more tables; a single file with the figures inside
<folder>/results.csv   one row for each cell, benchmark and setting
<folder>/figures/      PNG files
"""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from ..atomic_files import write_text
from ..evaluation.report import Rate, Table, bin_name, f1_rate, html_page, markdown_parts, sample_note
from ..markdown import cell as escape
from ..output_folder import new_folder
from ..tasks.scoring import ONE_SIDED, Score
from . import figures
from .grid import SETTINGS_AXIS, Cell, show
from .results import (
    COSTS,
    Evaluation,
    Group,
    Kind,
    Label,
    best_example_quarters,
    combined,
    count_kinds,
    difference,
    group_cells,
    kinds_f1,
    passages_in,
    quarter_of,
    quarters,
    read_evaluation,
    results_csv,
)

NONE = "–"


class Difference(NamedTuple):
    """A difference in F1 with its 95% interval, shown in percentage points, and its p-value."""

    value: float
    interval: Sequence[float]
    p: float

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.value:+.1f} ({100 * low:+.1f}, {100 * high:+.1f}) p {self.p:.3f}"


def write(
    folder: Path, cells: Sequence[Cell], costs: Mapping[str, Mapping[str, float]], axes: Mapping[str, list]
) -> None:
    """Write the report on all evaluated cells. It lists the cells that are missing.

    Args:
        folder: the study's output folder.
        costs: those of COSTS by cell name, where known.
        axes: the grid's axes, `evaluate.settings` included.
    """
    evaluations = {}
    for cell in tqdm(cells, desc="report", unit="cell"):
        if evaluation := read_evaluation(cell, cell.output_dir / "evaluation"):
            evaluations[cell.name] = evaluation
    groups = group_cells(cells, evaluations)
    varied = {axis: values for axis, values in axes.items() if axis != SETTINGS_AXIS}
    has_several_bases = len({cell.base for cell in cells}) > 1

    tables, details, images = [], [], {}
    for base in dict.fromkeys(group.base for group in groups):
        its_groups = [group for group in groups if group.base == base]
        suffix = f", {base}" if has_several_bases else ""
        tables += [replace(table, title=table.title + suffix) for table in _main_tables(its_groups)]
        details += [replace(table, title=table.title + suffix) for table in _detail_tables(its_groups)]
        images |= {title + suffix: png for title, png in figures.draw(its_groups, varied).items()}
    tables = [table for table in [*tables, _costs(cells, costs)] if table.rows]
    details = [table for table in details if table.rows]
    introduction = _introduction(cells, groups, tables)
    # " (sample)" if `limit` is set, for which one evaluation speaks for all.
    mark = next((mark for e in evaluations.values() if (mark := sample_note(e.config))), "")

    with new_folder(folder / "figures", "figures") as drawn:
        for title, png in images.items():
            (drawn / _file_name(title)).write_bytes(png)
    write_text(folder / "results.csv", results_csv(cells, evaluations, costs))
    links = [f"![{escape(title)}](figures/{_file_name(title)})" for title in images]
    parts = [f"# {escape(folder.name)}{mark}", *map(escape, introduction), *links, *markdown_parts(tables, mark)]
    write_text(folder / "report.md", "\n\n".join(parts) + "\n")
    page = html_page(
        name=folder.name,
        mark=mark,
        tables=[*tables, *details],
        runs={},
        settings=_settings(cells, evaluations, axes),
        lines=introduction,
        figures={title: f"data:image/png;base64,{base64.b64encode(png).decode()}" for title, png in images.items()},
    )
    write_text(folder / "report.html", page)


def _file_name(title: str) -> str:
    return re.sub(r"[^\w.-]+", "_", title.lower()) + ".png"


def _introduction(cells: Sequence[Cell], groups: Sequence[Group], tables: Sequence[Table]) -> list[str]:
    """Paragraphs: which cells are missing, how to read the tables, and the limits of the study."""
    evaluations = [evaluation for group in groups for evaluation in group.evaluations]
    evaluated = {evaluation.cell.name for evaluation in evaluations}
    missing = [cell.name for cell in cells if cell.name not in evaluated]
    paragraphs = [f"{len(evaluated)} of {len(cells)} cells are evaluated."]
    if missing:
        paragraphs[0] += f" Missing: {', '.join(missing)}."
    if not groups:
        return paragraphs
    measured = groups[0].task.measured
    paragraphs.append(
        f"{measured[0].upper() + measured[1:]} is in percent and is the mean over seeds. "
        "Brackets hold 95% intervals, bootstrapped over seeds and "
        "passages. Differences are between cells of the same seed on the same passages; p-values are two-sided. "
        "Figures show means over benchmarks: bars are intervals, crosses are single seeds, dashed lines are vanilla "
        "cells."
    )
    unpaired = [
        " ".join([group.base, *map(show, group.values.values())])
        for group in groups
        if not group.is_vanilla and not group.pairs
    ]
    if unpaired:
        paragraphs.append(
            f"Without a difference to vanilla, as no matching vanilla cell is evaluated: {'; '.join(unpaired)}."
        )
    return [*paragraphs, _limits(groups, evaluations, tables)]


def _limits(groups: Sequence[Group], evaluations: Sequence[Evaluation], tables: Sequence[Table]) -> str:
    seeds = _range(len(group.evaluations) for group in groups)
    passages = _range(run.figures["passages"] for e in evaluations for run in e.runs.values())
    sentences = [
        f"Limits. Seeds per cell: {seeds}. Passages per benchmark: {passages}.",
        "One seed does not show how much training varies; intervals over few seeds are too narrow, and intervals over "
        "few passages are rough.",
    ]
    tested = sum(isinstance(value, Difference) for table in tables for row in table.rows for value in row)
    if tested:
        sentences.append(
            f"{tested} differences are tested without correction: if none were real, about {0.05 * tested:.0f} would "
            "have p below 0.05 by chance."
        )
    sentences.append("The results may not hold for other models, corpora and sizes.")
    return " ".join(sentences)


def _range(counts: Iterable[int]) -> str:
    counts = list(counts)
    return " to ".join(map(str, dict.fromkeys((min(counts), max(counts)))))


def _main_tables(groups: Sequence[Group]) -> list[Table]:
    """The tables of one base recipe that Markdown and HTML show."""
    scores = groups[0].task.metric.studied
    return [
        *(_f1(groups, score) for score in scores),
        *(_difference_to_vanilla(groups, score) for score in scores),
        *(_difference_to_zero_shot(groups, score) for score in scores),
        _differences_between_cells(groups, scores),
        _answers(groups),
        *_errors(groups),
    ]


def _detail_tables(groups: Sequence[Group]) -> list[Table]:
    """The tables that only HTML shows."""
    return [_rates(groups), _errors_by(groups, "Errors by type", "type", lambda _s, _p, type_: type_, lambda _, t: t)]


def _header(groups: Sequence[Group], *names: str) -> list[str]:
    return [*groups[0].values, "setting", *names]


def _runs(groups: Sequence[Group]) -> Iterator[tuple[Group, str, list[str]]]:
    """Each group in each setting, with the values that its table rows begin with."""
    for group in groups:
        for setting in group.settings:
            yield group, setting, [*map(show, group.values.values()), setting]


def _by_benchmark(
    groups: Sequence[Group],
    title: str,
    note: str,
    value: Callable[[Group, str | None, str], object],
    seeds: Callable[[Group], int] = lambda group: len(group.evaluations),
) -> Table:
    """A row for each group and setting, a column for each benchmark and one for their mean.

    Args:
        value: what to show for a group, a benchmark (None: the mean over benchmarks) and a setting. Rows in which all
            values are None are left out.
        seeds: number of seeds behind a group's values.
    """
    benchmarks = _benchmarks(groups)
    columns = [*benchmarks, *([None] if len(benchmarks) > 1 else [])]
    rows = []
    for group, setting, names in _runs(groups):
        values = [value(group, benchmark, setting) for benchmark in columns]
        if any(v is not None for v in values):
            rows.append([*names, *(NONE if v is None else v for v in values), seeds(group)])
    header = _header(groups, *("mean" if name is None else name for name in columns), "seeds")
    return Table(title, header, rows, note)


def _benchmarks(groups: Sequence[Group]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group.benchmarks))


def _f1(groups: Sequence[Group], score: Score) -> Table:
    def value(group: Group, benchmark: str | None, setting: str) -> Rate | None:
        run = combined(group.evaluations, benchmark, setting)
        return f1_rate(run.figures[score.name]) if run else None

    return _by_benchmark(groups, score.title, score.note, value)


def _difference_to_vanilla(groups: Sequence[Group], score: Score) -> Table:
    def value(group: Group, benchmark: str | None, setting: str) -> Difference | None:
        return _difference(group.pairs, benchmark, setting, setting, score.name)

    note = f"{score.title} minus {score.label} of the vanilla cell in the same setting, in percentage points."
    return _by_benchmark(groups, f"Difference to vanilla, {score.label}", note, value, lambda group: len(group.pairs))


def _difference_to_zero_shot(groups: Sequence[Group], score: Score) -> Table:
    def value(group: Group, benchmark: str | None, setting: str) -> Difference | None:
        pairs = [(evaluation, evaluation) for evaluation in group.evaluations]
        return None if setting == "zero_shot" else _difference(pairs, benchmark, setting, "zero_shot", score.name)

    note = f"{score.title} minus zero-shot {score.label} of the same cell, in percentage points."
    return _by_benchmark(groups, f"Difference to zero-shot, {score.label}", note, value)


def _differences_between_cells(groups: Sequence[Group], scores: Sequence[Score]) -> Table:
    """Differences of the means over benchmarks, between any two cells that are not vanilla."""
    rows = []
    for other, group in combinations([group for group in groups if not group.is_vanilla], 2):
        pairs = [(e, o) for e in group.evaluations for o in other.evaluations if e.cell.seed == o.cell.seed]
        cells = [", ".join(map(show, its.values.values())) for its in (group, other)]
        for setting in group.settings:
            if found := difference(pairs, None, setting, setting):
                shown = (Difference(*found[score.name].values()) for score in scores)
                rows.append([*cells, setting, *shown, len(pairs)])
    header = ["cell", "minus", "setting", *(score.label for score in scores), "seeds"]
    note = "Differences of the means over benchmarks, in percentage points. Vanilla cells have tables of their own."
    return Table("Differences between cells", header, rows, note)


def _difference(
    pairs: Sequence[tuple[Evaluation, Evaluation]], benchmark: str | None, setting: str, other: str, score: str
) -> Difference | None:
    found = difference(pairs, benchmark, setting, other)
    return Difference(*found[score].values()) if found else None


def _answers(groups: Sequence[Group]) -> Table:
    """Parse failures, and mentions copied from examples."""
    rows = []
    for group, setting, names in _runs(groups):
        runs = [(e, key) for e in group.evaluations for key in e.runs if key[1] == setting]
        queries, unparsed, copied = (
            sum(e.runs[key].figures[name] for e, key in runs) for name in ("queries", "unparsed", "copied")
        )
        mentions = sum(e.mentions[key] for e, key in runs)
        per_seed = [f"{count / len(group.evaluations):.1f}" for count in (queries, unparsed, mentions, copied)]
        rows.append([*names, *per_seed[:2], Rate(unparsed / queries), *per_seed[2:], Rate(copied / (mentions or 1))])
    note = (
        "Mean counts per seed, summed over benchmarks. Unparsed: answers that can't be read. Copied: predicted "
        "mentions that occur in an example shown and nowhere in the text."
    )
    header = _header(groups, "queries", "unparsed", "% of queries", "mentions", "copied", "% of mentions")
    return Table("Answers", header, rows, note)


def _errors(groups: Sequence[Group]) -> list[Table]:
    """Errors by benchmark, by length of the text, and by score of the best example."""
    settings = list(dict.fromkeys(setting for group in groups for setting in group.settings))
    benchmarks = _benchmarks(groups)
    passages = [p for group in groups for setting in settings for p in passages_in(group.evaluations, setting)]
    lengths = quarters({(p.benchmark, p.id): p.length for p in passages}.values())
    best = {setting: best_example_quarters(groups, setting) for setting in settings}

    return [
        _errors_by(
            groups, "Errors", "benchmark", lambda _s, p, _t: benchmarks.index(p.benchmark), lambda _, i: benchmarks[i]
        ),
        _errors_by(
            groups,
            "Errors by the length of the text",
            "characters",
            lambda _s, p, _t: quarter_of(p.length, lengths),
            lambda _, i: bin_name(*lengths[i]),
        ),
        _errors_by(
            groups,
            "Errors by the score of the best example",
            "best example",
            lambda s, p, _t: quarter_of(p.best_example, best[s]),
            lambda s, i: bin_name(*best[s][i]),
        ),
    ]


def _errors_by(
    groups: Sequence[Group], title: str, column: str, label: Label, name: Callable[[str, Any], str]
) -> Table:
    """Counts of each kind of error, and their change against the vanilla cells, with one row for each label.

    Args:
        column: header of the labels.
        label: the label that a passage and a type are counted under.
        name: the text to show for a label in a setting.
    """
    rows, errors = [], groups[0].task.metric.errors
    kinds = _kinds(errors)
    for group, setting, names in _runs(groups):
        counts = count_kinds(group.evaluations, setting, label)
        paired = count_kinds([evaluation for evaluation, _ in group.pairs], setting, label)
        vanilla = count_kinds([evaluation for _, evaluation in group.pairs], setting, label)
        for key in sorted(counts):
            row = [*names, name(setting, key), Rate(kinds_f1(counts[key]))]
            for kind in kinds:
                change = paired.get(key, {}).get(kind, 0) - vanilla.get(key, {}).get(kind, 0)
                row.append(f"{counts[key][kind]:.1f}" + (f" ({change:+.1f})" if group.pairs else ""))
            rows.append(row)
    note = (
        f"Mean counts per seed under the score {groups[0].task.main.name}, and the F1 of these counts. Brackets "
        "hold the change against the vanilla cells of the same seeds. False positives are "
        f"{_columns(errors, 'fp')}; false negatives are {_columns(errors, 'fn')}."
    )
    return Table(title, _header(groups, column, "F1", *kinds.values()), rows, note)


def _kinds(errors: Sequence[str]) -> dict[Kind, str]:
    """Columns of the tables of errors, those with one side first."""
    kinds: dict[Kind, str] = {("found", True): "found"}
    for sides in ("fn", "fp", "fp fn"):
        for kind in (kind for kind in errors if ONE_SIDED.get(kind, "fp fn") == sides):
            for side in sides.split():
                name = kind.replace("_", " ")
                kinds[kind, side == "fn"] = name if side == sides else f"{name} {side}"
    return kinds


def _columns(errors: Sequence[str], side: str) -> str:
    """The columns of errors on one side, in words."""
    names = [kind.replace("_", " ") for kind in errors if ONE_SIDED.get(kind) == side]
    return (f"{', '.join(names)} and " if names else "") + f"all columns with {side}"


def _rates(groups: Sequence[Group]) -> Table:
    columns = [(score.name, rate) for score in groups[0].task.metric.studied for rate in score.columns]
    rows = []
    for group, setting, names in _runs(groups):
        for benchmark in group.benchmarks:
            if run := combined(group.evaluations, benchmark, setting):
                rows.append([*names, benchmark, *(Rate(run.figures[score][rate]) for score, rate in columns)])
    header = _header(groups, "benchmark", *map(" ".join, columns))
    return Table("Precision and recall", header, rows, "Means over seeds.")


def _costs(cells: Sequence[Cell], costs: Mapping[str, Mapping[str, float]]) -> Table:
    rows = []
    for cell in cells:
        its_costs = costs.get(cell.name, {})
        rows.append([cell.name, *(f"{its_costs[key]:,.0f}" if key in its_costs else NONE for key in COSTS)])
    sums = [sum(its_costs.get(key, 0) for its_costs in costs.values()) for key in COSTS]
    note = "Training tokens over all epochs; wall-clock seconds of each stage, interrupted attempts included."
    header = ["cell", *(key.replace("_", " ") for key in COSTS)]
    return Table("Costs", header, [*rows, ["all", *(f"{value:,.0f}" for value in sums)]], note)


def _settings(
    cells: Sequence[Cell], evaluations: Mapping[str, Evaluation], axes: Mapping[str, list]
) -> dict[str, object]:
    """The axes and seeds of the grid, and the keys of section evaluate that are equal in all cells."""
    configs = [evaluation.config for evaluation in evaluations.values()]
    shared = {
        f"evaluate.{key}": value
        for key, value in (configs[0] if configs else {}).items()
        if all(config.get(key) == value for config in configs)
    }
    return {**axes, "seeds": list(dict.fromkeys(cell.seed for cell in cells)), **shared}
