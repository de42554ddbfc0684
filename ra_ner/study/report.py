"""The report of a study: tables, figures, and results.csv with one row for each cell, benchmark and setting.

<folder>/report.md, report.html   the same numbers; the HTML has more detail and is self-contained
<folder>/results.csv, figures/
"""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from ..atomic_files import new_folder, write_text
from ..evaluation.report import Rate, Table, html_page, markdown_parts, sample_note
from ..evaluation.scoring import RATES
from ..markdown import cell as escape
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
KINDS: dict[Kind, str] = {
    **{("found", True): "found", ("missed", True): "missed"},
    **{(kind, False): kind for kind in ("spurious", "hallucinated")},
    **{
        (kind, is_gold): f"{kind.replace('_', ' ')} {'fn' if is_gold else 'fp'}"
        for kind in ("boundary", "wrong_type", "unparsed")
        for is_gold in (False, True)
    },
}


class Difference(NamedTuple):
    """A difference in F1 with its interval, shown in points, and p."""

    value: float
    interval: Sequence[float]
    p: float

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.value:+.1f} ({100 * low:+.1f}, {100 * high:+.1f}) p {self.p:.3f}"


def write(
    folder: Path, cells: Sequence[Cell], costs: Mapping[str, Mapping[str, float]], axes: Mapping[str, list]
) -> None:
    """Write the report on the evaluated cells. It names the others.

    Args:
        folder: of the study.
        costs: for each cell the known ones of `train_tokens`, `build_seconds`, `train_seconds`, `evaluate_seconds`.
        axes: of the grid.
    """
    evaluations = {}
    for cell in tqdm(cells, desc="report", unit="cell"):
        if evaluation := read_evaluation(cell, cell.output_dir / "evaluation"):
            evaluations[cell.name] = evaluation
    groups = group_cells(cells, evaluations)

    tables, details, images = [], [], {}
    several = len({cell.base for cell in cells}) > 1
    for base, members in groupby(groups, key=lambda group: group.base):
        its_groups, suffix = list(members), f", {base}" if several else ""
        tables += [replace(table, title=table.title + suffix) for table in _tables(its_groups)]
        details += [replace(table, title=table.title + suffix) for table in _details(its_groups)]
        varied = {axis: values for axis, values in axes.items() if axis != SETTINGS_AXIS}
        images |= {title + suffix: png for title, png in figures.draw(its_groups, varied).items()}
    tables = [table for table in [*tables, _costs(cells, costs)] if table.rows]
    details = [table for table in details if table.rows]
    lines = _lines(cells, groups, tables)
    mark = next((mark for e in evaluations.values() if (mark := sample_note(e.config))), "")

    with new_folder(folder / "figures") as drawn:
        for title, png in images.items():
            (drawn / _file_name(title)).write_bytes(png)
    write_text(folder / "results.csv", results_csv(cells, evaluations, costs))
    shown = [f"![{escape(title)}](figures/{_file_name(title)})" for title in images]
    parts = [f"# {escape(folder.name)}{mark}", *map(escape, lines), *shown, *markdown_parts(tables, mark)]
    write_text(folder / "report.md", "\n\n".join(parts).encode("utf-8", "replace").decode() + "\n")
    page = html_page(
        name=folder.name,
        mark=mark,
        tables=[*tables, *details],
        runs={},
        settings=_settings(cells, evaluations, axes),
        lines=lines,
        figures={title: f"data:image/png;base64,{base64.b64encode(png).decode()}" for title, png in images.items()},
    )
    write_text(folder / "report.html", page)


def _file_name(title: str) -> str:
    return re.sub(r"[^\w.-]+", "_", title.lower()) + ".png"


def _lines(cells: Sequence[Cell], groups: Sequence[Group], tables: Sequence[Table]) -> list[str]:
    """What is missing, how to read the report, and what it can't show."""
    evaluations = [evaluation for group in groups for evaluation in group.evaluations]
    there = {evaluation.cell.name for evaluation in evaluations}
    missing = ", ".join(cell.name for cell in cells if cell.name not in there)
    lines = [f"{len(there)} of {len(cells)} cells are evaluated."]
    lines[0] += f" Missing: {missing}." if missing else ""
    if not groups:
        return lines
    lines.append(
        "F1 is in percent, as the mean over seeds. Brackets hold 95% intervals, bootstrapped over seeds and passages. "
        "Differences are between cells of the same seed on the same passages; p is two-sided. Figures show means over "
        "benchmarks: bars are intervals, crosses are single seeds, dashed lines are vanilla cells."
    )
    alone = [" ".join([g.base, *map(show, g.values.values())]) for g in groups if not g.is_vanilla and not g.pairs]
    if alone:
        lines.append(f"No difference to vanilla, because no evaluated vanilla cell matches: {'; '.join(alone)}.")
    seeds = _range(len(group.evaluations) for group in groups)
    passages = _range(run.figures["passages"] for e in evaluations for run in e.runs.values())
    tested = sum(isinstance(value, Difference) for table in tables for row in table.rows for value in row)
    chance = (
        f"{tested} differences are tested without correction: about {0.05 * tested:.0f} would have p below 0.05 by "
        "chance if none were real. "
    )
    lines.append(
        f"Limits: {seeds} seeds per cell, {passages} passages per benchmark. One seed does not show how much training "
        "varies; intervals over few seeds are too narrow, and over few passages they are rough. "
        f"{chance if tested else ''}The results say nothing about other models, corpora and sizes."
    )
    return lines


def _range(counts: Iterable[int]) -> str:
    counts = list(counts)
    return " to ".join(map(str, dict.fromkeys((min(counts), max(counts)))))


def _tables(groups: Sequence[Group]) -> list[Table]:
    """The main tables of one base recipe."""
    span = "Compares character spans; an unparseable answer is wrong."
    uniner = "UniversalNER's metric, where an unparseable answer counts as an empty list."
    return [
        _f1(groups, "span", span),
        _f1(groups, "uniner", uniner),
        *(_to_vanilla(groups, score) for score in ("span", "uniner")),
        *(_to_zero_shot(groups, score) for score in ("span", "uniner")),
        _answers(groups),
        *_errors(groups),
    ]


def _details(groups: Sequence[Group]) -> list[Table]:
    """Tables that only the HTML shows."""
    return [_rates(groups), _errors_by(groups, "Errors by type", "type", lambda _s, _p, type_: type_, lambda _, t: t)]


def _header(groups: Sequence[Group], *names: str) -> list[str]:
    return [*groups[0].values, "setting", *names]


def _asked(groups: Sequence[Group]) -> Iterator[tuple[Group, str, list[str]]]:
    """Each group in each setting, and the first cells of its row."""
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
    """A table with a row for each group in each setting, and a column for each benchmark and their mean.

    Args:
        value: of a group on a benchmark (None: the mean) in a setting. Rows without any are left out.
    """
    benchmarks = _benchmarks(groups)
    columns = [*benchmarks, *([None] if len(benchmarks) > 1 else [])]
    rows = []
    for group, setting, names in _asked(groups):
        values = [value(group, benchmark, setting) for benchmark in columns]
        if any(v is not None for v in values):
            rows.append([*names, *(NONE if v is None else v for v in values), seeds(group)])
    header = _header(groups, *("mean" if name is None else name for name in columns), "seeds")
    return Table(title, header, rows, note)


def _benchmarks(groups: Sequence[Group]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group.benchmarks))


def _f1(groups: Sequence[Group], score: str, note: str) -> Table:
    def value(group: Group, benchmark: str | None, setting: str) -> Rate | None:
        run = combined(group.evaluations, benchmark, setting)
        return Rate(run.figures[score]["f1"], run.figures[score]["f1_interval"]) if run else None

    return _by_benchmark(groups, f"{score.capitalize()} F1", note, value)


def _to_vanilla(groups: Sequence[Group], score: str) -> Table:
    def value(group: Group, benchmark: str | None, setting: str) -> Difference | None:
        return _difference(group.pairs, benchmark, setting, setting, score)

    note = f"{score.capitalize()} F1 minus that of the vanilla cell in the same setting, in points."
    return _by_benchmark(groups, f"Difference to vanilla, {score} F1", note, value, lambda group: len(group.pairs))


def _to_zero_shot(groups: Sequence[Group], score: str) -> Table:
    def value(group: Group, benchmark: str | None, setting: str) -> Difference | None:
        pairs = [(evaluation, evaluation) for evaluation in group.evaluations]
        return None if setting == "zero_shot" else _difference(pairs, benchmark, setting, "zero_shot", score)

    note = f"{score.capitalize()} F1 minus that of the same cell asked zero-shot, in points."
    return _by_benchmark(groups, f"Difference to zero-shot, {score} F1", note, value)


def _difference(
    pairs: Sequence[tuple[Evaluation, Evaluation]], benchmark: str | None, setting: str, other: str, score: str
) -> Difference | None:
    found = difference(pairs, benchmark, setting, other)
    return Difference(*found[score].values()) if found else None


def _answers(groups: Sequence[Group]) -> Table:
    """Parse failures and copied mentions."""
    rows = []
    for group, setting, names in _asked(groups):
        asked = [(e, key) for e in group.evaluations for key in e.runs if key[1] == setting]
        queries, unparsed, copied = (
            sum(e.runs[key].figures[name] for e, key in asked) for name in ("queries", "unparsed", "copied")
        )
        mentions = sum(e.mentions[key] for e, key in asked)
        rates = Rate(unparsed / queries), Rate(copied / (mentions or 1))
        seeds = len(group.evaluations)
        counts = [f"{count / seeds:.1f}" for count in (queries, unparsed, mentions, copied)]
        rows.append([*names, *counts[:2], rates[0], *counts[2:], rates[1]])
    note = """Means over seeds, summed over benchmarks: unparseable answers; predicted mentions, and copied ones, which
are in a shown example but not in the text."""
    header = _header(groups, "queries", "unparsed", "% of queries", "mentions", "copied", "% of mentions")
    return Table("Answers", header, rows, note)


def _errors(groups: Sequence[Group]) -> list[Table]:
    """Errors by benchmark, by length, and by the score of the best example."""
    settings = list(dict.fromkeys(setting for group in groups for setting in group.settings))
    benchmarks = _benchmarks(groups)
    passages = [p for group in groups for setting in settings for p in passages_in(group.evaluations, setting)]
    lengths = quarters({(p.benchmark, p.id): p.length for p in passages}.values())
    best = {setting: best_example_quarters(groups, setting) for setting in settings}

    def name(quarter: tuple[float, float]) -> str:
        return " to ".join(f"{end:.4g}" for end in dict.fromkeys(quarter))

    return [
        _errors_by(
            groups, "Errors", "benchmark", lambda _s, p, _t: benchmarks.index(p.benchmark), lambda _, i: benchmarks[i]
        ),
        _errors_by(
            groups,
            "Errors by the length of the text",
            "characters",
            lambda _s, p, _t: quarter_of(p.length, lengths),
            lambda _, i: name(lengths[i]),
        ),
        _errors_by(
            groups,
            "Errors by the score of the best example",
            "best example",
            lambda s, p, _t: quarter_of(p.best_example, best[s]),
            lambda s, i: name(best[s][i]),
        ),
    ]


def _errors_by(
    groups: Sequence[Group], title: str, column: str, label: Label, name: Callable[[str, Any], str]
) -> Table:
    """The number of errors of each kind under each label, and the change against vanilla.

    Args:
        name: of a label in a setting, as it is shown.
    """
    rows = []
    for group, setting, names in _asked(groups):
        counts = count_kinds(group.evaluations, setting, label)
        ours, theirs = (count_kinds([pair[side] for pair in group.pairs], setting, label) for side in (0, 1))
        for key in sorted(counts):
            row = [*names, name(setting, key), Rate(kinds_f1(counts[key]))]
            for kind in KINDS:
                change = ours.get(key, {}).get(kind, 0) - theirs.get(key, {}).get(kind, 0)
                row.append(f"{counts[key][kind]:.1f}" + (f" ({change:+.1f})" if group.pairs else ""))
            rows.append(row)
    note = """Of span, counts a seed, and F1 of these counts; in brackets the change against the vanilla cells of the
same seeds. fp are wrong mentions, as are spurious and hallucinated ones; fn are gold entities not found, as are missed
ones."""
    return Table(title, _header(groups, column, "F1", *KINDS.values()), rows, note)


def _rates(groups: Sequence[Group]) -> Table:
    columns = [(score, rate) for score in ("span", "uniner") for rate in RATES]
    rows = []
    for group, setting, names in _asked(groups):
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
    note = "Training tokens over all epochs; seconds of each stage, interrupted attempts included."
    header = ["cell", *(key.replace("_", " ") for key in COSTS)]
    return Table("Costs", header, [*rows, ["all", *(f"{value:,.0f}" for value in sums)]], note)


def _settings(
    cells: Sequence[Cell], evaluations: Mapping[str, Evaluation], axes: Mapping[str, list]
) -> dict[str, object]:
    """The grid, and the settings that all evaluations share."""
    configs = [evaluation.config for evaluation in evaluations.values()]
    shared = {
        f"evaluate.{key}": value
        for key, value in (configs[0].items() if configs else ())
        if all(config.get(key) == value for config in configs)
    }
    return {**axes, "seeds": list(dict.fromkeys(cell.seed for cell in cells)), **shared}
