"""Figures of a study: F1 by the values of each axis, and by the score of the best example."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .grid import show
from .results import Group, best_example_quarters, combined, count_kinds, kinds_f1, passages_in, quarter_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3  # plots in a row
WIDTH, HEIGHT = 4.2, 3.2  # of a plot, inches


class Point(NamedTuple):
    """A group in a setting, with its plot, its value on the axis and its series."""

    plot: str
    value: object
    series: str
    group: Group
    setting: str


def draw(groups: Sequence[Group], axes: Mapping[str, Sequence]) -> dict[str, bytes]:
    """PNGs by title, for the groups of one base recipe.

    Args:
        axes: values by axis, without the settings.
    """
    import matplotlib

    asked = [(group, setting) for group in groups for setting in group.settings]
    figures = {}
    with matplotlib.rc_context({"text.parse_math": False, "font.size": 9}):  # a `$` in a name is not a formula
        for axis, values in axes.items():
            points = [
                Point(_name(group, [a for a in axes if a != axis]), group.values[axis], setting, group, setting)
                for group, setting in asked
            ]
            figures[f"Span F1 by {axis}"] = _by_value(points, axis, values)
        if not axes:
            points = [Point("", setting, "mean over seeds", group, setting) for group, setting in asked]
            figures["Span F1 by setting"] = _by_value(points, "setting", groups[0].settings)
        if figure := _by_best_example(groups, list(axes)):
            figures["Span F1 by the score of the best example"] = figure
    return figures


def _name(group: Group, axes: Sequence[str]) -> str:
    return ", ".join(f"{axis.rpartition('.')[2]} {show(group.values[axis])}" for axis in axes)


def _by_value(points: Sequence[Point], axis: str, values: Sequence) -> bytes:
    """Means over seeds with intervals, single seeds as crosses, vanilla as a dashed line."""
    numeric = all(type(value) in (int, float) for value in values)
    places = {show(value): value if numeric else place for place, value in enumerate(values)}
    series = list(dict.fromkeys(point.series for point in points))
    figure, plots = _figure(list(dict.fromkeys(point.plot for point in points)))
    for title, plot in plots.items():
        if numeric and min(values) > 0 and max(values) >= 5 * min(values):
            plot.set_xscale("log")
        plot.set_xticks(list(places.values()), list(places))
        plot.minorticks_off()
        plot.set_xlabel(axis)
        if not numeric:
            plot.set_xlim(-0.5, len(values) - 0.5)
            plot.tick_params(axis="x", rotation=30 if len("".join(places)) > 30 else 0)
        for number, name in enumerate(series):
            shift = 0 if numeric else 0.6 * ((number + 0.5) / len(series) - 0.5)
            its_points = [point for point in points if (point.plot, point.series) == (title, name)]
            at = [places[show(point.value)] + shift for point in its_points]
            _draw_series(plot, at, its_points, f"C{number}", "o-" if numeric else "o")
    return _png(figure)


def _draw_series(plot: "Axes", at: Sequence[float], points: Sequence[Point], colour: str, style: str) -> None:
    means, vanilla = [], []
    for x, (_, _, _, group, setting) in zip(at, points, strict=True):
        if run := combined(group.evaluations, None, setting):
            means.append((x, run.figures["span"]["f1"], *run.figures["span"]["f1_interval"]))
        for evaluation in group.evaluations:
            if run := combined([evaluation], None, setting):
                plot.plot(x, 100 * run.figures["span"]["f1"], "x", color=colour, alpha=0.7, markersize=4)
        others = group.evaluations if group.is_vanilla else [other for _, other in group.pairs]
        if run := combined(others, None, setting):
            vanilla.append((x, 100 * run.figures["span"]["f1"]))
    if means:
        x, middle, low, high = np.array(sorted(means)).T * [[1], [100], [100], [100]]
        sides = np.maximum([middle - low, high - middle], 0)  # a percentile interval may not contain the mean
        plot.errorbar(x, middle, sides, fmt=style, color=colour, capsize=3, label=points[0].series)
    if len(vanilla) > 1:
        plot.plot(*zip(*sorted(vanilla), strict=True), "--", color=colour, alpha=0.6, label="dashed: vanilla")


def _by_best_example(groups: Sequence[Group], axes: Sequence[str]) -> bytes | None:
    """A plot for each setting with scored examples, and a series for each group; None if there is no such setting."""
    settings = dict.fromkeys(setting for group in groups for setting in group.settings)
    ranges = {setting: found for setting in settings if (found := best_example_quarters(groups, setting))}
    if not ranges:
        return None
    figure, plots = _figure(list(ranges))
    for setting, plot in plots.items():
        plot.set_xlabel("score of the best example, mean of a quarter")
        for number, group in enumerate(groups):
            scores: list[list[float]] = [[] for _ in ranges[setting]]
            for passage in passages_in(group.evaluations, setting):
                if passage.best_example is not None:
                    scores[quarter_of(passage.best_example, ranges[setting])].append(passage.best_example)
            counted = count_kinds(group.evaluations, setting, lambda s, p, _: quarter_of(p.best_example, ranges[s]))
            points = [(np.mean(scores[i]), 100 * kinds_f1(counted[i])) for i in sorted(counted)]
            colour, style = f"C{number % 10}", ("o-", "s--", "^:")[number // 10 % 3]
            plot.plot(*zip(*points, strict=True), style, color=colour, label=_name(group, axes) or "mean over seeds")
    return _png(figure)


def _figure(titles: Sequence[str]) -> tuple["Figure", dict[str, "Axes"]]:
    """A figure and a plot for each title."""
    from matplotlib.figure import Figure  # pyplot would look for a window system

    columns = min(len(titles), COLUMNS)
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(max(columns, 1.5) * WIDTH, rows * HEIGHT + 0.2), layout="constrained")
    figure.supylabel("span F1, %", fontsize="medium")
    plots = {}
    for number, title in enumerate(titles, 1):
        plots[title] = figure.add_subplot(rows, columns, number, sharey=next(iter(plots.values()), None), title=title)
        plots[title].grid(alpha=0.3)
    return figure, plots


def _png(figure: "Figure") -> bytes:
    """The figure as a PNG, with one legend for all plots."""
    legend = {}
    for plot in figure.axes:
        for handle, label in zip(*plot.get_legend_handles_labels(), strict=True):
            legend.setdefault(label, handle)
    legend = dict(sorted(legend.items(), key=lambda entry: entry[0].startswith("dashed")))  # last
    columns = 1 + min(len(figure.axes), COLUMNS)
    figure.set_figheight(figure.get_figheight() + 0.2 * -(-len(legend) // columns))
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=columns)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return file.getvalue()
