"""Entity-level precision, recall and F1, as plain functions on plain types (docs/scores.md defines what they count).

Imports nothing of the library, because a copy of this file is published beside the metric on the Hub. A row is one
query: a mapping with `passage_id`, `type`, `gold` (entities with `text`, and `start` and `end`, which may be None),
`raw_answer`, `parsed` (whether it could be parsed) and `predicted` (its mentions), and optionally `example_scores`,
`copied` (mentions that are only in an example) and `grounded` (the mentions that can be placed in the text, as they
stand there). The rows of predictions.jsonl are such rows. Four scores:

- `span`: compares character spans; repeats count, unparseable answers are wrong, nothing is normalised.
- `grounded`: the same, without mentions that can't be placed in the text: what a user of extraction gets.
- `uniner`: UniversalNER's metric (arXiv 2308.03279) as the RA-IT release computes it, with its flaws, for comparison.
- `legacy_start`: the same, but the list must be at the very start of an answer, as in UniversalNER's own code.

These are the scores of NER; a `Metric` holds those of a task. Intervals, means and comparisons are the same for all.
"""

import json
import re
import string
import zlib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

ERRORS = ("spurious", "missed", "boundary", "wrong_type", "hallucinated", "unparsed")
ONE_SIDED = {"spurious": "fp", "hallucinated": "fp", "missed": "fn"}  # what they count; other errors count both
UNPARSED = "(unparsed)"  # the type of a wrong answer that can't be read, where types are answers; it has no F1
RATES = ("precision", "recall", "f1")
BLOCK = 32  # resamples computed at a time, which bounds memory

Row = Mapping
Texts = Mapping[str, str]  # by id of the passage
Span = tuple[int, int]
Spans = Sequence[Span]
Likeness = Callable[[str, Spans], str | None]  # the kind of error of a mention in its places that is like others
Model = tuple[str, str]  # name and revision: two models of one name are two
Cells = dict[tuple[str, int], "Counts"]  # by type and position of the passage


class Counts(NamedTuple):
    """True positives, false positives and false negatives. Counts add up over queries."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)


_PUNCTUATION = str.maketrans("", "", string.punctuation)
# The first match of r"\[(.*?)\]", but in linear time even for an answer of brackets only.
_FIRST_LIST = re.compile(r"^[^\[\n]*(\[[^\]\n]*\])", re.MULTILINE)
_LIST_AT_START = re.compile(r"(\[[^\]\n]*\])")


def normalise(mention: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single spaces (UniversalNER)."""
    text = mention.lower().translate(_PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def uniner_items(answer: str, at_start: bool = False) -> list[str]:
    """The normalised distinct items of an answer, read as the RA-IT release (`at_start`: UniversalNER) reads it.

    The first `[...]` without a newline, wherever it stands, is parsed as JSON. Where there is none, or anything fails,
    the answer counts as the empty list. The list ends at the first `]`, so it never holds lists.
    """
    match = _LIST_AT_START.match(answer) if at_start else _FIRST_LIST.search(answer)
    try:
        return list(dict.fromkeys(normalise(item) for item in json.loads(match[1]))) if match else []
    except (ValueError, RecursionError, AttributeError):  # not JSON, or an item that is no string
        return []


def uniner_counts(gold_answer: str, answer: str, at_start: bool = False) -> Counts:
    """Compare two answers as sets of normalised mentions."""
    gold, predicted = uniner_items(gold_answer, at_start), uniner_items(answer, at_start)
    tp = len(set(gold) & set(predicted))
    return Counts(tp, len(predicted) - tp, len(gold) - tp)


@dataclass(frozen=True)
class Verdict:
    """The verdict of the span score on a gold entity, or on a wrong mention.

    Attributes:
        outcome: "found", or one of ERRORS.
        spans: where it stands in the text.
    """

    type: str
    mention: str
    outcome: str
    is_gold: bool
    spans: tuple[Span, ...] = ()

    @property
    def counts(self) -> Counts:
        if not self.is_gold:
            return Counts(fp=1)
        return Counts(tp=1) if self.outcome == "found" else Counts(fn=1)


def _grounded(row: Row, text: str) -> Row:
    """A row without the mentions that can't be placed in the text."""
    held = row.get("grounded")
    return {**row, "predicted": [m for m in row["predicted"] if m in text] if held is None else held}


def _mentions(row: Row) -> dict[str, None]:
    return dict.fromkeys(row["predicted"] if row["parsed"] else ())


def _distinct(gold: Sequence[Mapping]) -> Iterable[Mapping]:
    """One entity a span; those without offsets can't be told apart and all stay."""
    return {number if e["start"] is None else (e["start"], e["end"]): e for number, e in enumerate(gold)}.values()


def _gold_spans(entity: Mapping) -> tuple[Span, ...]:
    return () if entity["start"] is None else ((entity["start"], entity["end"]),)


def _occurrences(mention: str, text: str) -> tuple[Span, ...]:
    """As `occurrences` of ra_ner/prompting/answers.py, which this file may not import."""
    spans = []
    start = text.find(mention) if mention else -1
    while start >= 0:
        spans.append((start, start + len(mention)))
        start = text.find(mention, start + len(mention))
    return tuple(spans)


def _places(spans: Iterable[Span]) -> list[Span]:
    """What spans cover, as spans in order that do not overlap."""
    places: list[Span] = []
    for start, end in sorted(spans):
        if places and start < places[-1][1]:
            places[-1] = (places[-1][0], max(end, places[-1][1]))
        else:
            places.append((start, end))
    return places


def _overlap(spans: Sequence[Span], places: Sequence[Span]) -> bool:
    """Whether one of the spans overlaps one of the places, which `_places` made."""
    before = ((start, bisect_left(places, (end,)) - 1) for start, end in spans)  # the last place that begins before
    return any(last >= 0 and start < places[last][1] for start, last in before)


def _boundary(others: Sequence[tuple[str, Spans]]) -> Likeness:
    """The kind of error of mentions that overlap one of others."""
    places = _places(span for _, spans in others for span in spans)
    return lambda mention, spans: "boundary" if _overlap(spans, places) else None


def judge(
    rows: Sequence[Row],
    text: str,
    find: Callable[[str, str], Spans] = _occurrences,
    likeness: Callable[[Sequence[tuple[str, Spans]]], Likeness] = _boundary,
) -> list[Verdict]:
    """Compare the answers to all queries about one passage with its gold entities.

    A mention takes all gold entities of its type with its text. Every other mention is one false positive, and so is an
    unparseable answer. docs/scores.md defines the kinds of errors and their order.

    Args:
        find: where a mention stands in the text.
        likeness: given mentions of a type with their places, tells how another one is like them.
    """
    gold_types, wrong_types = defaultdict(set), defaultdict(set)
    for row in rows:
        for entity in row["gold"]:
            gold_types[entity["text"]].add(row["type"])
    for row in rows:
        for mention in _mentions(row):
            if row["type"] not in gold_types[mention]:
                wrong_types[mention].add(row["type"])

    verdicts = []
    for row in rows:
        type_, mentions = row["type"], _mentions(row)
        gold = [(one["text"], _gold_spans(one) or find(one["text"], text)) for one in _distinct(row["gold"])]
        wrong = [(m, find(m, text)) for m in mentions if type_ in wrong_types[m]]
        like_gold, like_wrong = likeness(gold), likeness(wrong)
        if not row["parsed"]:
            verdicts.append(Verdict(type_, row["raw_answer"], "unparsed", False))
        for mention, spans in wrong:
            if not spans:
                outcome = "hallucinated"
            else:
                outcome = "wrong_type" if gold_types[mention] else like_gold(mention, spans) or "spurious"
            verdicts.append(Verdict(type_, mention, outcome, False, spans))
        for mention, spans in gold:
            if mention in mentions:
                outcome = "found"
            elif not row["parsed"]:
                outcome = "unparsed"
            else:
                outcome = "wrong_type" if wrong_types[mention] else like_wrong(mention, spans) or "missed"
            verdicts.append(Verdict(type_, mention, outcome, True, spans))
    return verdicts


@dataclass(frozen=True)
class Score:
    """A score, and what reports call it.

    Attributes:
        label: such as `span F1`; without one it is only in scores.json.
        note: what it counts; without one it is in no study and not on the Hub.
        mean_of: the score whose mean over types it is.
    """

    name: str
    label: str = ""
    note: str = ""
    mean_of: str = ""

    @property
    def title(self) -> str:
        return self.label[0].upper() + self.label[1:]

    @property
    def columns(self) -> dict[str, str]:
        """The rates that a report shows, with their headers."""
        parts = {"precision": f"{self.name} P", "recall": f"{self.name} R"} if self.label.endswith(" F1") else {}
        return parts | {"f1": self.label}


@dataclass(frozen=True)
class Metric:
    """How the answers of a task are scored.

    Attributes:
        scores: the main one first, which counts the verdicts; errors and slices are of it.
        errors: the kinds of errors.
        judge: the verdicts on all queries about one passage, given its text.
        count: score, type and counts of the further scores, from the same.
        confusion: of a query, the right and the answered label; reports have a table of how often each pair occurs.
    """

    scores: tuple[Score, ...]
    errors: Sequence[str] = ERRORS
    judge: Callable[[Sequence[Row], str], list[Verdict]] = judge
    count: Callable[[Sequence[Row], str], Iterable[tuple[str, str, Counts]]] = lambda rows, text: ()
    confusion: Callable[[Row], tuple[str, str]] | None = None

    @property
    def shown(self) -> list[Score]:
        return [score for score in self.scores if score.label]

    @property
    def studied(self) -> list[Score]:
        return [score for score in self.scores if score.note]


def _count(rows: Sequence[Row], text: str) -> Iterator[tuple[str, str, Counts]]:
    """The counts of the scores of NER other than `span`."""
    for verdict in judge([_grounded(row, text) for row in rows], text):
        yield "grounded", verdict.type, verdict.counts
    for row in rows:
        gold = json.dumps([entity["text"] for entity in row["gold"]])
        for name, at_start in (("uniner", False), ("legacy_start", True)):
            yield name, row["type"], uniner_counts(gold, row["raw_answer"], at_start)


_GROUNDED = "F1 on exact gold spans, without mentions that are not in the text: extraction leaves them out."
_UNINER = "F1 as UniversalNER computes it; an answer that can't be read counts as an empty list."
NER = Metric(
    (
        Score("span", "span F1", "F1 on exact gold spans; an answer that can't be read is wrong."),
        Score("grounded", "grounded F1", _GROUNDED),
        Score("uniner", "uniner F1", _UNINER),
        Score("legacy_start"),
    ),
    count=_count,
)


@dataclass(frozen=True)
class Run:
    """The scores of one model on one benchmark in one setting.

    Attributes:
        figures: its entry in scores.json.
        f1: for each score the micro F1 of each resample, float64 of shape (samples,). Runs on the same passages use the
            same resamples.
    """

    figures: dict
    f1: dict[str, np.ndarray]
    passages: tuple[str, ...]


def score(rows: Iterable[Row], texts: Texts, seed: int = 42, samples: int = 1000, metric: Metric = NER) -> Run:
    """Score the queries of one model on one benchmark in one setting.

    Args:
        samples: number of resamples for the 95% intervals (percentile bootstrap over passages), at least 1.

    Raises:
        ValueError: there are no rows.
    """
    passages: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        passages[row["passage_id"]].append(row)
    if not passages:
        raise ValueError("there is no query to score")
    ids = sorted(passages)
    cells: dict[str, Cells] = {score.name: defaultdict(Counts) for score in metric.scores}
    main, errors = cells[metric.scores[0].name], Counter()
    for position, id_ in enumerate(ids):
        for verdict in metric.judge(passages[id_], texts[id_]):
            main[verdict.type, position] += verdict.counts
            errors[verdict.outcome, verdict.is_gold] += 1
        for name, type_, counts in metric.count(passages[id_], texts[id_]):
            cells[name][type_, position] += counts

    queries = [row for id_ in ids for row in passages[id_]]
    figures = {
        "passages": len(ids),
        "queries": len(queries),
        "unparsed": sum(not row["parsed"] for row in queries),
        "copied": sum(len(row.get("copied", ())) for row in queries),
    }
    # The content is part of the seed: equal resamples of all benchmarks would make the interval of their mean too wide.
    content = "\n".join([str(seed), *(texts[id_] for id_ in ids)])
    draws = zlib.crc32(content.encode("utf-8", "surrogatepass"))
    f1 = {}
    for one in metric.scores:
        its_cells = cells[one.mean_of or one.name]
        figures[one.name], f1[one.name] = _summary(its_cells, len(ids), samples, draws, bool(one.mean_of))
    figures["errors"] = {kind: {"fp": errors[kind, False], "fn": errors[kind, True]} for kind in metric.errors}
    figures |= _slices(main, [passages[id_] for id_ in ids])
    if metric.confusion:
        figures["confusion"] = defaultdict(dict)
        for (gold, answered), count in sorted(Counter(map(metric.confusion, queries)).items()):
            figures["confusion"][gold][answered] = count
    return Run(figures, f1, tuple(ids))


def _summary(cells: Cells, passages: int, samples: int, seed: int, over_types: bool) -> tuple[dict, np.ndarray]:
    """Figures over all queries (or `over_types`), as means over types, and for each type; and F1 of each resample."""
    entries = [(*cell, *counts) for cell, counts in cells.items() if any(counts)]
    entries.sort(key=lambda entry: (entry[0] != UNPARSED, entry))
    sizes = Counter(entry[0] for entry in entries)
    first = int(UNPARSED in sizes)  # of the types; what stands before it counts for none
    starts = np.cumsum([0, *sizes.values()])[:-1]  # where each type's entries begin
    table = np.array([entry[1:] for entry in entries], dtype=np.int64).reshape(-1, 4)
    positions, counts = table[:, 0], table[:, 1:]
    totals = np.add.reduceat(counts, starts, axis=0)
    rng = np.random.default_rng(seed)
    resampled, macro = np.empty((samples, len(sizes), 3), dtype=np.int32), np.empty((3, samples))
    for start in range(0, samples, BLOCK):
        block = resampled[start : start + BLOCK]
        drawn = rng.integers(passages, size=(len(block), passages)) + passages * np.arange(len(block))[:, None]
        weights = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)[:, positions]
        for kind in range(3):
            block[..., kind] = np.add.reduceat(weights * counts[:, kind], starts, axis=1)
        macro[:, start : start + BLOCK] = _macro(block[:, first:])
    micro = resampled.sum(axis=1)
    figures = _figures(totals.sum(axis=0), micro, RATES)
    means = _named(_macro(totals[first:]), macro)
    figures["macro"] = {"types": len(sizes) - first, **means}
    # A resample without any passage of a type says nothing about the type.
    there = resampled.any(axis=2)
    figures["types"] = {t: _figures(totals[i], resampled[there[:, i], i]) for i, t in enumerate(sizes) if t != UNPARSED}
    if over_types:
        return figures | means, macro[2]
    return figures, _rates(micro)[2]


def _rates(counts: np.ndarray) -> np.ndarray:
    """Precision, recall and F1, (3, ...), of counts (..., 3); 0 where the denominator is 0."""
    tp, fp, fn = np.moveaxis(counts, -1, 0)
    return _ratio(np.stack([tp, tp, 2 * tp]), np.stack([tp + fp, tp + fn, 2 * tp + fp + fn]))


def _macro(counts: np.ndarray) -> np.ndarray:
    """Means of precision, recall and F1, (3, ...), over the types of counts (..., types, 3) that have any."""
    there = counts.any(axis=-1)
    return _ratio((_rates(counts) * there).sum(axis=-1), there.sum(axis=-1))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return numerator / np.maximum(denominator, 1)  # where the denominator is 0, so is the numerator


def _named(rates: np.ndarray, resampled: np.ndarray | None = None, intervals: Sequence[str] = ("f1",)) -> dict:
    """Rates (3,) by name, some with intervals from the resamples (3, samples)."""
    figures = {}
    for i, name in enumerate(RATES):
        figures[name] = _round(rates[i])
        if resampled is not None and name in intervals:
            figures[f"{name}_interval"] = interval(resampled[i])
    return figures


def _figures(counts: np.ndarray, resampled: np.ndarray | None = None, intervals: Sequence[str] = ("f1",)) -> dict:
    """Rates with intervals, and the counts (3,) themselves."""
    if resampled is not None:
        resampled = _rates(resampled if len(resampled) else counts[None])
    named = _named(_rates(counts), resampled, intervals)
    return named | dict(zip(("tp", "fp", "fn"), counts.tolist(), strict=True))


def interval(resampled: np.ndarray) -> list[float]:
    """The 95% percentile interval of resampled values, (samples,)."""
    low, high = np.quantile(resampled, (0.025, 0.975))
    return [_round(low), _round(high)]


def _round(value: np.number) -> int | float:
    return round(value.item(), 6)


def _slices(cells: Cells, passages: Sequence[Sequence[Row]]) -> dict[str, list[dict]]:
    """Span figures of passages by their number of gold entities, and in quarters by the score of their best example."""
    counts = np.zeros((len(passages), 3), dtype=np.int64)
    for (_, position), cell in cells.items():
        counts[position] += cell
    gold = counts[:, 0] + counts[:, 2]
    slices = {"by_gold_entities": _binned(gold, (1, 3, 6, 11), counts)}
    scores = [max(rows[0].get("example_scores") or [np.nan]) for rows in passages]
    shown = ~np.isnan(scores)
    if len(set(best := np.array(scores)[shown])) > 1:
        slices["by_best_example"] = _binned(best, np.quantile(best, (0.25, 0.5, 0.75)), counts[shown])
    return slices


def _binned(values: np.ndarray, edges: Sequence[float], counts: np.ndarray) -> list[dict]:
    bins = np.searchsorted(edges, values, side="right")
    parts = [(values[bins == bin_], counts[bins == bin_].sum(axis=0)) for bin_ in np.unique(bins)]
    return [
        {
            "from": _round(part.min()),
            "to": _round(part.max()),
            "passages": len(part),
            **_figures(total),
        }
        for part, total in parts
    ]


def mean(runs: Sequence[Run]) -> Run:
    """The mean micro F1 of one model in one setting over benchmarks, which are resampled independently."""
    f1 = {name: np.mean([run.f1[name] for run in runs], axis=0) for name in runs[0].f1}
    figures: dict = {"benchmarks": len(runs)}
    for name in f1:
        figures[name] = {
            "f1": _round(np.mean([run.figures[name]["f1"] for run in runs])),
            "f1_interval": interval(f1[name]),
        }
    return Run(figures, f1, tuple(id_ for run in runs for id_ in run.passages))


def compare(run: Run, baseline: Run) -> dict[str, dict]:
    """The difference in micro F1 between two runs on the same passages (paired bootstrap).

    `p` is two-sided: twice the share of resamples where the difference has the other sign or is zero.

    Raises:
        ValueError: the runs are not on the same passages.
    """
    if run.passages != baseline.passages:
        raise ValueError("runs can be compared only on the same passages")
    result = {}
    for name in run.f1:
        differences = run.f1[name] - baseline.f1[name]
        other = 1 + min((differences <= 0).sum(), (differences >= 0).sum())  # the run itself is counted as a resample
        result[name] = {
            "difference": round(run.figures[name]["f1"] - baseline.figures[name]["f1"], 6),
            "interval": interval(differences),
            "p": round(min(1.0, 2 * int(other) / (len(differences) + 1)), 6),
        }
    return result


def score_all(
    rows: Iterable[Row], texts: Mapping[str, Texts], seed: int = 42, samples: int = 1000, metric: Metric = NER
) -> dict[str, list[dict]]:
    """Score all rows of predictions.jsonl: each model on each benchmark in each setting, in the order of the rows.

    Args:
        texts: benchmark -> passage id -> text.

    Returns:
        `results`; `means` over benchmarks, if there are several; and `comparisons` of runs that differ only in the
        model or only in the setting, on each benchmark and on the mean (benchmark None).
    """
    groups: dict[tuple[Model, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[(row["model"], row["revision"]), row["benchmark"], row["setting"]].append(row)
    runs: dict[tuple[Model, str | None, str], Run] = {}
    results, means, comparisons = [], [], []
    for (model, benchmark, setting), group in groups.items():
        run = runs[model, benchmark, setting] = score(group, texts[benchmark], seed, samples, metric)
        names = {"model": model[0], "revision": model[1], "benchmark": benchmark, "setting": setting}
        results.append(names | run.figures)
    if len({benchmark for _, benchmark, _ in groups}) > 1:
        for model, setting in dict.fromkeys((model, setting) for model, _, setting in groups):
            run = mean([run for (m, _, s), run in runs.items() if (m, s) == (model, setting)])
            runs[model, None, setting] = run
            means.append({"model": model[0], "setting": setting} | run.figures)
    for ((model_a, on_a, setting_a), a), ((model_b, on_b, setting_b), b) in combinations(runs.items(), 2):
        if on_a == on_b and (model_a == model_b) != (setting_a == setting_b):
            names = {
                "benchmark": on_a,
                "run": {"model": model_b[0], "setting": setting_b},
                "baseline": {"model": model_a[0], "setting": setting_a},
            }
            comparisons.append(names | compare(b, a))
    return {"results": results, "means": means, "comparisons": comparisons}
