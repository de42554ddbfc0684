"""Figures of a study: F1 by the values of each axis, and F1 by the score of the best example."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .grid import show
from .results import (
    Group,
    JudgedPassage,
    best_example_quarters,
    combined,
    count_kinds,
    kinds_f1,
    passages_in,
    quarter_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3  # plots in a row
WIDTH, HEIGHT = 4.2, 3.2  # of a plot, in inches


class Point(NamedTuple):
    """A group in a setting: the plot it is drawn in, its place on the x axis, and the series it belongs to."""

    plot: str
    value: object
    series: str
    group: Group
    setting: str


def draw(groups: Sequence[Group], axes: Mapping[str, Sequence]) -> dict[str, bytes]:
    """Draw the figures of one base recipe.

    Args:
        axes: values of each axis, without `evaluate.settings`.

    Returns:
        PNG files by title.
    """
    import matplotlib

    runs = [(group, setting) for group in groups for setting in group.settings]
    figures, title = {}, groups[0].task.main.title if groups else ""
    with matplotlib.rc_context({"text.parse_math": False, "font.size": 9}):  # a name with `$` is no formula
        for axis, values in axes.items():
            others = [other for other in axes if other != axis]
            points = [
                Point(_name(group, others), group.values[axis], setting, group, setting) for group, setting in runs
            ]
            figures[f"{title} by {axis}"] = _draw_by_value(points, axis, values)
        if not axes:
            points = [Point("", setting, "mean over seeds", group, setting) for group, setting in runs]
            figures[f"{title} by setting"] = _draw_by_value(points, "setting", groups[0].settings)
        if figure := _draw_by_best_example(groups, list(axes)):
            figures[f"{title} by the score of the best example"] = figure
    return figures


def _name(group: Group, axes: Sequence[str]) -> str:
    return ", ".join(f"{axis.rpartition('.')[2]} {show(group.values[axis])}" for axis in axes)


def _draw_by_value(points: Sequence[Point], axis: str, values: Sequence) -> bytes:
    """F1 by the values of an axis, which are numbers on a scale or else names side by side."""
    is_numeric = all(type(value) in (int, float) for value in values)
    ticks = {show(value): value if is_numeric else number for number, value in enumerate(values)}
    series = list(dict.fromkeys(point.series for point in points))
    label = points[0].group.task.main.label
    figure, plots = _new_figure(list(dict.fromkeys(point.plot for point in points)), label)
    for title, plot in plots.items():
        if is_numeric and min(values) > 0 and max(values) >= 5 * min(values):
            plot.set_xscale("log")
        plot.set_xticks(list(ticks.values()), list(ticks))
        plot.minorticks_off()
        plot.set_xlabel(axis)
        if not is_numeric:
            plot.set_xlim(-0.5, len(values) - 0.5)
            plot.tick_params(axis="x", rotation=30 if len("".join(ticks)) > 30 else 0)
        for number, name in enumerate(series):
            # Series of names are drawn side by side, as their intervals would cover each other.
            shift = 0 if is_numeric else 0.6 * ((number + 0.5) / len(series) - 0.5)
            its_points = [point for point in points if (point.plot, point.series) == (title, name)]
            if not its_points:
                continue
            xs = [ticks[show(point.value)] + shift for point in its_points]
            _draw_series(plot, xs, its_points, f"C{number}", "o-" if is_numeric else "o")
    return _to_png(figure)


def _draw_series(plot: "Axes", xs: Sequence[float], points: Sequence[Point], color: str, style: str) -> None:
    """Means over seeds with their intervals, each seed as a cross, and the vanilla means as a dashed line."""
    means, vanilla_means, main = [], [], points[0].group.task.main.name
    for x, point in zip(xs, points, strict=True):
        if run := combined(point.group.evaluations, None, point.setting):
            means.append((x, run.figures[main]["f1"], *run.figures[main]["f1_interval"]))
        for evaluation in point.group.evaluations:
            if run := combined([evaluation], None, point.setting):
                plot.plot(x, 100 * run.figures[main]["f1"], "x", color=color, alpha=0.7, markersize=4)
        if run := combined(point.group.vanilla_evaluations, None, point.setting):
            vanilla_means.append((x, 100 * run.figures[main]["f1"]))
    if means:
        x, f1, low, high = np.array(sorted(means)).T * [[1], [100], [100], [100]]
        # Clipped at 0, as a percentile interval can lie above or below the mean.
        bars = np.maximum([f1 - low, high - f1], 0)
        plot.errorbar(x, f1, bars, fmt=style, color=color, capsize=3, label=points[0].series)
    if len(vanilla_means) > 1:
        plot.plot(*zip(*sorted(vanilla_means), strict=True), "--", color=color, alpha=0.6, label="dashed: vanilla")


def _draw_by_best_example(groups: Sequence[Group], axes: Sequence[str]) -> bytes | None:
    """F1 by quarters of the best example's score: one plot for each setting with scores, one series for each group."""
    settings = dict.fromkeys(setting for group in groups for setting in group.settings)
    ranges = {setting: found for setting in settings if (found := best_example_quarters(groups, setting))}
    if not ranges:
        return None

    def quarter(setting: str, passage: JudgedPassage, _: str) -> int | None:
        return quarter_of(passage.best_example, ranges[setting])

    figure, plots = _new_figure(list(ranges), groups[0].task.main.label)
    for setting, plot in plots.items():
        plot.set_xlabel("score of the best example, mean of a quarter")
        for number, group in enumerate(groups):
            scores = [[] for _ in ranges[setting]]
            for passage in passages_in(group.evaluations, setting):
                if passage.best_example is not None:
                    scores[quarter_of(passage.best_example, ranges[setting])].append(passage.best_example)
            counts = count_kinds(group.evaluations, setting, quarter)
            points = [(np.mean(scores[i]), 100 * kinds_f1(counts[i])) for i in sorted(counts)]
            if not points:  # no example was shown
                continue
            color, style = f"C{number % 10}", ("o-", "s--", "^:")[number // 10 % 3]
            plot.plot(*zip(*points, strict=True), style, color=color, label=_name(group, axes) or "mean over seeds")
    return _to_png(figure)


def _new_figure(titles: Sequence[str], label: str) -> tuple["Figure", dict[str, "Axes"]]:
    """A figure with one plot for each title; `label` is the score."""
    from matplotlib.figure import Figure  # pyplot would look for a window system

    columns = min(len(titles), COLUMNS)
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(max(columns, 1.5) * WIDTH, rows * HEIGHT + 0.2), layout="constrained")
    figure.supylabel(f"{label}, %", fontsize="medium")
    plots = {}
    for number, title in enumerate(titles, 1):
        plots[title] = figure.add_subplot(rows, columns, number, sharey=next(iter(plots.values()), None), title=title)
        plots[title].grid(alpha=0.3)
    return figure, plots


def _to_png(figure: "Figure") -> bytes:
    """Add one legend for all plots, and render the figure."""
    legend = {}
    for plot in figure.axes:
        for handle, label in zip(*plot.get_legend_handles_labels(), strict=True):
            legend.setdefault(label, handle)
    vanilla_last = dict(sorted(legend.items(), key=lambda entry: entry[0].startswith("dashed")))
    columns = 1 + min(len(figure.axes), COLUMNS)
    figure.set_figheight(figure.get_figheight() + 0.2 * -(-len(legend) // columns))
    figure.legend(vanilla_last.values(), vanilla_last.keys(), loc="outside lower center", ncols=columns)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()
