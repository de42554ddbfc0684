"""Reports of scores: the main tables in Markdown; all tables and some passages in one HTML file.

Both render the same tables and escape all text of data and models.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..markdown import cell, table
from ..tasks import NER, TASKS, Task
from ..tasks.scoring import ONE_SIDED, Verdict
from .passages import LONGEST, Judged, Run, outcome, passage_f1, shown

SHOWN = 3  # worst passages, and best ones


class Rate(NamedTuple):
    """A share with an optional 95% interval, shown in percent. In HTML it has a bar."""

    value: float
    interval: Sequence[float] | None = None

    def __str__(self) -> str:
        if self.interval is None:
            return f"{100 * self.value:.1f}"
        low, high = self.interval
        return f"{100 * self.value:.1f} ({100 * low:.1f}, {100 * high:.1f})"


@dataclass(frozen=True)
class Table:
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """A score of each model, by the conditions under which all were measured."""

    title: str
    groups: Mapping[str, Sequence[tuple[str, Rate]]]


@dataclass(frozen=True)
class PassageView:
    """A passage with its verdicts. Segments are (text, classes, title); their texts make up the passage."""

    id: str
    f1: Rate
    segments: list[tuple[str, str, str]]
    outcomes: dict[str, list[str]]


def scores_json(value: object, indent: str = "") -> str:
    """JSON with values that hold no objects on one line, so that the file reads like a table."""
    inner = indent + "  "
    if isinstance(value, dict) and any(isinstance(part, dict) or _holds_objects(part) for part in value.values()):
        lines = [f"{inner}{_json(key)}: {scores_json(part, inner)}" for key, part in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if _holds_objects(value):
        return "[\n" + ",\n".join(inner + scores_json(part, inner) for part in value) + f"\n{indent}]"
    return _json(value)


def _holds_objects(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(part, dict) for part in value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def report(scores: dict) -> str:
    """The report of one evaluation in Markdown; `scores` is the content of scores.json."""
    mark = sample_note(scores["config"])
    parts = [f"# {cell(scores['recipe'])}{mark}", cell(lead(scores)), *markdown_parts(_main_tables(scores), mark)]
    return "\n\n".join(part for part in parts if part) + "\n"


def lead(scores: dict) -> str:
    """What was measured and the best score, in two sentences; empty if nothing was asked."""
    results, k, main = scores["results"], scores["config"]["k"], task_of_scores(scores).main
    if not results:
        return ""
    _, benchmarks, settings = (list(dict.fromkeys(names)) for names in zip(*map(_name, results), strict=True))
    models = {result["model"] for result in results if result["revision"] is not None}  # None: of a baseline
    tested = {result["benchmark"]: result for result in results}.values()
    passages, queries = (sum(result[key] for result in tested) for key in ("passages", "queries"))
    asked = "A model" if len(models) == 1 else f"{len(models)} models"
    verb = "was" if len(models) == 1 else "were"
    conditions = "; ".join(setting_in_words(setting, k) for setting in settings)
    best = max(scores["means"] or results, key=lambda entry: entry[main.name]["f1"])
    where = f"mean of {len(benchmarks)} benchmarks" if scores["means"] else best["benchmark"]
    questions = f"{queries:,} question{'s' * (queries != 1)}"
    about = f"{passages:,} passage{'s' * (passages != 1)} of {', '.join(benchmarks)}"
    return (
        f"{asked} {verb} asked {questions} about {about}: {conditions}. The highest {main.label} is "
        f"{f1_rate(best[main.name])}: {best['model']}, {best['setting']}, {where}."
    )


def setting_in_words(setting: str, k: int) -> str:
    """A setting for readers who do not know its name."""
    if setting == "zero_shot":
        return "without examples (zero_shot)"
    if setting == "on_demand":
        return "with an example where one is near enough (on_demand)"
    place = "the benchmark's own train part" if setting.startswith("in_domain") else "the training corpus"
    return f"with {k} examples from {place} ({setting})"


def markdown_parts(tables: Iterable[Table], mark: str) -> list[str]:
    """Titles, tables and notes in Markdown."""
    parts = []
    for part in tables:
        parts += [f"## {cell(part.title)}{mark}"] if part.title else []
        parts += [table(part.header, part.rows), cell(part.note)]
    return parts


def report_html(scores: dict, judged: Iterable[tuple[Run, list[Judged]]]) -> str:
    """The report of one evaluation as one self-contained HTML file.

    Args:
        scores: the content of scores.json.
        judged: the passages of each run, as `judge_passages` gives them.
    """
    return html_page(
        name=scores["recipe"],
        chart=_chart(scores),
        mark=sample_note(scores["config"]),
        tables=[*_main_tables(scores, every_difference=True), *_detail_tables(scores)],
        runs=_runs(judged, task_of_scores(scores).metric.errors),
        settings={"ra_ner": scores["ra_ner"], **scores["config"], "labels": scores["labels"], **scores["counts"]},
        lines=[lead(scores)],
        figures={},
    )


def html_page(
    name: str,
    mark: str,
    tables: Sequence[Table],
    runs: Mapping[tuple, Mapping[str, Sequence[PassageView]]],
    settings: Mapping[str, object],
    lines: Sequence[str],
    figures: Mapping[str, str],
    chart: Chart | None = None,
) -> str:
    """Fill the template. `lines` are paragraphs at the top; `figures` are images as data URIs, by title."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["rate"] = lambda value: isinstance(value, Rate)
    return environment.get_template("report.html.jinja").render(
        name=name, mark=mark, tables=tables, runs=runs, settings=settings, lines=lines, figures=figures, chart=chart
    )


def sample_note(config: dict) -> str:
    """A mark for titles: whether only a sample of each benchmark was asked about."""
    return " (sample)" if config["limit"] else ""


def _name(result: dict) -> list[str]:
    return [result["model"], result["benchmark"], result["setting"]]


def f1_rate(figures: dict) -> Rate:
    return Rate(figures["f1"], figures["f1_interval"])


def bin_name(first: float, last: float) -> str:
    """The bin of a table of slices, by its first and its last value."""
    return " to ".join(f"{end:.4g}" for end in dict.fromkeys((first, last)))


def _main_tables(scores: dict, every_difference: bool = False) -> list[Table]:
    tables = [_results(scores), _means(scores), _differences(scores, every_difference), _errors(scores)]
    return _with_labels(tables, scores)


def _with_labels(tables: Iterable[Table], scores: dict) -> list[Table]:
    """The tables that have rows, each with the label words of its benchmarks: they change scores by points."""
    facts = scores.get("benchmarks", {})
    words = ", ".join(
        f"{labels} for {benchmark}" + (f" ({facts[benchmark]['tested']})" if benchmark in facts else "")
        for benchmark, labels in scores["labels"].items()
    )
    return [replace(table, note=f"{table.note} Label words: {words}.".lstrip()) for table in tables if table.rows]


def task_of_scores(scores: dict) -> Task:
    """The task of a scores.json. Those of the default task do not say it."""
    return TASKS[scores.get("task", NER.name)]


def _results(scores: dict) -> Table:
    config, rows, task = scores["config"], [], task_of_scores(scores)
    for result in scores["results"]:
        rates = [
            f1_rate(result[score.name]) if rate == "f1" else Rate(result[score.name][rate])
            for score in task.metric.shown
            for rate in score.columns
        ]
        rows.append(
            [
                *_name(result),
                *rates,
                f"{result['passages']}{sample_note(scores['config'])}",
                result["queries"],
                result["unparsed"],
            ]
        )
    header = ["model", "benchmark", "setting"]
    header += [column for score in task.metric.shown for column in score.columns.values()]
    asked = f"a sample of {config['limit']} passages (seed {config['seed']})" if config["limit"] else "all passages"
    unit = "P, R and F1 in percent, micro-averaged over queries: one query for each passage and type."
    if task.measured != "F1":
        unit = "Scores in percent, over queries."
    counted = task.note or " ".join(f"{score.title}: {score.note}" for score in task.metric.studied)
    if task.baseline:
        counted += f" {task.baseline[0]} is no model: it answers from the examples alone."
    note = f"""{unit} Each benchmark: {asked}. Brackets hold 95% intervals over passages. {counted} In-context
settings show {config["k"]} examples. {_conditions(scores)}"""
    return Table("", [*header, "passages", "queries", "unparsed"], rows, note)


def _conditions(scores: dict) -> str:
    """What else changes scores: number format, form of the questions, what was left out, and what did not fit."""
    config, counts, facts = scores["config"], scores["counts"], scores.get("benchmarks", {})
    model = config["dtype"] + (", weights in 4 bits" if config["load_in_4bit"] else "")
    engine = "a server" if config["engine"] == "server" else f"transformers in {model}"
    asked = "all in one conversation" if config["mode"] == "conversation" else "each on its own"
    sentences = [
        f"Engine: {engine}; answers have at most {config['max_new_tokens']} tokens.",
        f"The types of a passage are asked {asked}.",
        *(["Answers could only list substrings of the text (`copy_only`)."] if config.get("copy_only") else []),
        *(f"{model}: {chosen}." for model, chosen in scores.get("on_demand", {}).items()),
    ]
    for benchmark, fact in facts.items():
        if fact["not_asked"]:
            sentences.append(f"{benchmark}: no passage has {', '.join(fact['not_asked'])}, which is not asked.")
        if faults := fact["faults"]:
            listed = ", ".join(f"{number} {fault.replace('_', ' ')}" for fault, number in faults.items())
            sentences.append(f"Faults in the file of {benchmark}: {listed}.")
        if dropped := fact["dropped_from_pool"]:
            sentences.append(f"{benchmark}: {dropped} passages of its train part are in its test part and no examples.")
    if counts["dropped_examples"]:
        sentences.append(f"{counts['dropped_examples']} examples were dropped to fit prompts into the model's length.")
    if counts["too_long_queries"]:
        sentences.append(f"{counts['too_long_queries']} queries were too long for the model and count as unparsed.")
    return " ".join(sentences)


def _chart(scores: dict) -> Chart:
    """The main score of the models by benchmark and setting, the means over benchmarks first."""
    groups, main, k = defaultdict(list), task_of_scores(scores).main, scores["config"]["k"]
    for entry in [*scores["means"], *scores["results"]]:
        benchmark = entry["benchmark"] if "benchmark" in entry else f"Mean of {entry['benchmarks']} benchmarks"
        conditions = f"{benchmark}, {setting_in_words(entry['setting'], k)}"
        groups[conditions].append((entry["model"], f1_rate(entry[main.name])))
    return Chart(main.title, groups)


def _means(scores: dict) -> Table:
    task = task_of_scores(scores)
    rows = [
        [m["model"], m["setting"], *(f1_rate(m[score.name]) for score in task.metric.shown), m["benchmarks"]]
        for m in scores["means"]
    ]
    header = ["model", "setting", *(score.label for score in task.metric.shown), "benchmarks"]
    note = f"The mean {task.measured} over benchmarks, with equal weights."
    return Table("Means over benchmarks", header, rows, note)


def _differences(scores: dict, every: bool) -> Table:
    """With several benchmarks only their means are compared, unless `every` difference is wanted."""
    rows, task = [], task_of_scores(scores)
    names = [score.name for score in task.metric.shown]
    for entry in scores["comparisons"]:
        if every or entry["benchmark"] is None or not scores["means"]:
            runs = [" ".join(entry[side].values()) for side in ("run", "baseline")]
            figures = []
            for score in (entry[name] for name in names):
                figures += [str(Rate(score["difference"], score["interval"])), f"{score['p']:.3f}"]
            rows.append([*runs, "mean" if entry["benchmark"] is None else entry["benchmark"], *figures])
    note = f"Differences in {task.measured} with 95% intervals and two-sided p-values (paired bootstrap over passages)."
    header = ["run", "minus", "benchmark", *(word for name in names for word in (name, "p"))]
    return Table("Differences", header, rows, note)


def _errors(scores: dict) -> Table:
    task = task_of_scores(scores)

    def count(kind: str, sides: dict[str, int]) -> str:
        return str(sum(sides.values())) if kind in ONE_SIDED else f"{sides['fp']} / {sides['fn']}"

    errors = task.metric.errors
    rows = [[*_name(r), *(count(kind, r["errors"][kind]) for kind in errors)] for r in scores["results"]]
    header = ["model", "benchmark", "setting", *(kind.replace("_", " ") for kind in errors)]
    note = f"Errors of the {task.main.name} score, each of one kind. {task.errors_note}"
    return Table("Errors", header, rows, note)


def _detail_tables(scores: dict) -> list[Table]:
    results, header, task = scores["results"], ["model", "benchmark", "setting"], task_of_scores(scores)
    names = [score.name for score in task.metric.scores if not score.mean_of]
    macro = [[*_name(result), *(f1_rate(result[name]["macro"]) for name in names)] for result in results]
    tables = [Table("Means over types", [*header, *(f"{name} F1" for name in names)], macro)]
    groups = defaultdict(list)
    for result in results:
        groups[result["benchmark"], result["setting"]].append(result)
    tables += [_types(f"F1 by type: {' '.join(group)}", members, task.main.name) for group, members in groups.items()]
    for key, title, value in (
        ("by_gold_entities", "F1 by number of gold entities", "gold entities"),
        ("by_best_example", "F1 by the score of the best example", "best example"),
    ):
        rows = [
            [
                *_name(result),
                bin_name(part["from"], part["to"]),
                part["passages"],
                part["fp"],
                Rate(part["f1"]) if part["tp"] + part["fn"] else "–",
            ]
            for result in results
            for part in result.get(key, [])
        ]
        tables.append(Table(title, [*header, value, "passages", "wrong mentions", task.main.label], rows))
    for result in results:
        if confusion := result.get("confusion"):
            answers = sorted({*confusion, *(label for counts in confusion.values() for label in counts)})
            rows = [[gold, *(counts.get(label, 0) for label in answers)] for gold, counts in confusion.items()]
            title = f"Confusion, gold labels in rows and answers in columns: {' '.join(_name(result))}"
            tables.append(Table(title, ["gold", *answers], rows))
    return _with_labels(tables, scores)


def _types(title: str, results: Sequence[dict], score: str) -> Table:
    """Types with the most gold entities first; a dash where a type has neither gold nor predicted entities."""
    found = [result[score]["types"] for result in results]
    gold = {type_: figures["tp"] + figures["fn"] for types in found for type_, figures in types.items()}
    rows = [
        [type_, gold[type_], *(f1_rate(types[type_]) if type_ in types else "–" for types in found)]
        for type_ in sorted(gold, key=lambda type_: (-gold[type_], type_))
    ]
    return Table(title, ["type", "gold", *(result["model"] for result in results)], rows)


def _runs(
    judged: Iterable[tuple[Run, list[Judged]]], errors: Sequence[str]
) -> dict[tuple, dict[str, list[PassageView]]]:
    """The worst and the best passages of each run, by span F1."""
    runs = {}
    for name, passages in judged:
        worst, rest = passages[:SHOWN], passages[SHOWN:]
        views = {"Worst": worst, "Best": rest[::-1][:SHOWN]}
        runs[name] = {title: [_passage(*entry, errors) for entry in part] for title, part in views.items()}
    return runs


def _passage(id_: str, text: str, verdicts: Sequence[Verdict], errors: Sequence[str]) -> PassageView:
    outcomes, (kept, left_out) = defaultdict(list), shown(verdicts)
    for verdict in sorted(kept, key=lambda verdict: ("found", *errors).index(verdict.outcome)):
        outcomes[outcome(verdict)].append(f"{verdict.mention[:LONGEST]} [{verdict.type}]")
    if left_out:
        outcomes["not shown"].append(f"{left_out:,} more mentions; predictions.jsonl holds all")
    return PassageView(id_, Rate(passage_f1(verdicts)), _segments(text, kept), dict(outcomes))


def _segments(text: str, verdicts: Sequence[Verdict]) -> list[tuple[str, str, str]]:
    """Cut the text wherever a mention starts or ends, so that nested and crossing mentions need no nested markup."""
    marked = [(start, end, verdict) for verdict in verdicts for start, end in verdict.spans]
    edges = sorted({0, len(text), *(edge for start, end, _ in marked for edge in (start, end))})
    segments = []
    for start, end in pairwise(edges):
        here = [verdict for first, last, verdict in marked if first <= start and end <= last]
        classes = {"wrong" if not v.is_gold else "found" if v.outcome == "found" else "missed" for v in here}
        titles = dict.fromkeys(f"{verdict.type}: {verdict.outcome.replace('_', ' ')}" for verdict in here)
        segments.append((text[start:end], " ".join(sorted(classes)), ", ".join(titles)))
    return segments
