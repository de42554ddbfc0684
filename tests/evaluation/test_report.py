"""The report: what it shows, that it needs nothing else, and that text of data and models stays text."""

import functools
import json
import re

from html_pages import HOSTILE, Page
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_ner.atomic_files import write_text
from ra_ner.evaluation.passages import judge_passages
from ra_ner.evaluation.report import _segments, report, report_html, scores_json
from ra_ner.prompting.answers import parse_answer
from ra_ner.tasks.scoring import Verdict, score_all

TEXT = "Ada Lovelace met Bob in Basel."
CONFIG = {
    **{"limit": None, "seed": 42, "k": 2, "engine": "transformers", "dtype": "float32"},
    **{"load_in_4bit": False, "mode": "query", "max_new_tokens": 32},
}
FACTS = {"recipe": "mine", "ra_ner": "0", "labels": {"one": "labels.json"}}
FITTING = {"dropped_examples": 0, "too_long_queries": 0}
ANSWERS = {  # by model; of types person and city
    "base": ("I found none.", '["Bob"]'),
    "tuned": ('["Ada Lovelace", "Bob"]', '["Basel", "Bern"]'),
}


def entity(mention: str, text: str = TEXT) -> dict:
    return {"text": mention, "start": text.index(mention), "end": text.index(mention) + len(mention)}


def make_row(model: str, benchmark: str, passage_id: str, type_: str, gold: list[dict], answer: str) -> dict:
    read = parse_answer(answer)
    return {
        "model": model,
        "revision": "0",
        "benchmark": benchmark,
        "setting": "zero_shot",
        "passage_id": passage_id,
        "type": type_,
        "gold": gold,
        "raw_answer": answer,
        "parsed": read.error is None,
        "predicted": list(read.mentions),
        "example_scores": [],
    }


def evaluation(benchmarks=("one",), **changes) -> tuple[dict, list[dict], dict]:
    rows = [
        make_row(model, benchmark, "p1", type_, gold, answer)
        for benchmark in benchmarks
        for model, answers in ANSWERS.items()
        for type_, gold, answer in zip(
            ("person", "city"), ([entity("Ada Lovelace"), entity("Bob")], [entity("Basel")]), answers, strict=True
        )
    ]
    texts = {benchmark: {"p1": TEXT} for benchmark in benchmarks}
    facts = {key: changes.pop(key, value) for key, value in FACTS.items()}
    scores = {**facts, "config": {**CONFIG, **changes}, "counts": FITTING, **score_all(rows, texts, samples=20)}
    return scores, rows, texts


def page_of(scores: dict, rows: list[dict], texts: dict) -> str:
    return report_html(scores, judge_passages(rows, texts))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
        max_leaves=8,
    )
)
def test_scores_json_is_json(value):
    assert json.loads(scores_json(value)) == value


def test_scores_json_reads_like_a_table():
    scores, _, _ = evaluation()
    lines = [line.strip() for line in scores_json(scores).splitlines()]
    figures = re.compile(r'"person": \{.*"f1_interval": \[.*\], "tp": \d, "fp": \d, "fn": \d\}')
    assert len([line for line in lines if figures.fullmatch(line.removesuffix(","))]) == 8, "two models, four scores"


def test_markdown_compares_models_with_intervals_differences_and_errors():
    page = report(evaluation()[0])
    assert "| tuned | one | zero_shot | 75.0 | 100.0 | 85.7 (85.7, 85.7) |" in page
    assert "| tuned zero_shot | base zero_shot | one | 85.7 (85.7, 85.7) | 0.095 |" in page
    assert "| base | one | zero_shot | 0 | 1 | 0 / 0 | 1 / 0 | 0 | 1 / 2 |" in page
    assert "all passages" in page and "sample" not in page and "Means over benchmarks" not in page


def test_the_report_begins_with_what_was_measured_and_the_best_score():
    scores = evaluation()[0]
    first = (
        "2 models were asked 2 questions about 1 passage of one: without examples (zero_shot). "
        "The highest span F1 is 85.7 (85.7, 85.7): tuned, zero_shot, one."
    )
    assert report(scores).splitlines()[2] == first and first in Page(page_of(*evaluation())).content
    assert "tuned, zero_shot, mean of 2 benchmarks." in report(evaluation(("one", "two"))[0])


def test_the_chart_shows_each_f1_at_its_place_with_its_interval_and_the_figures_to_hover():
    page = page_of(*evaluation(("one", "two")))
    chart = page.split('<div class="chart">')[1].split("</p>")[0]
    titles = [attributes["title"] for tag, attributes in Page(chart).tags if "title" in attributes]
    assert titles == ["base: 0.0 (0.0, 0.0)", "tuned: 85.7 (85.7, 85.7)"] * 3
    assert re.findall("<h3>(.*?),", chart) == ["Mean of 2 benchmarks", "one", "two"]
    assert re.findall(r'<b style="left: (.*?)%">', chart) == ["0.0", "85.7"] * 3


def test_the_report_tells_what_else_moves_scores():
    page = report(evaluation()[0])
    assert "Engine: transformers in float32; answers have at most 32 tokens." in page
    assert "asked each on its own" in page and "Label words: labels.json for one." in page
    assert "dropped" not in page and "too long" not in page
    page = report(evaluation(load_in_4bit=True, mode="conversation")[0])
    assert "float32, weights in 4 bits" in page and "all in one conversation" in page
    assert "Engine: a server;" in report(evaluation(engine="server")[0])
    scores = evaluation()[0] | {"counts": {"dropped_examples": 7, "too_long_queries": 3}}
    assert "7 examples were dropped to fit" in report(scores) and "3 queries were too long" in report(scores)


def test_every_table_names_the_label_words_and_what_was_left_out():
    scores, rows, texts = evaluation(labels={"one": "uniner"})
    fact = {"labels": "uniner", "tested": "dev.json", "types": [], "not_asked": ["event"], "dropped_from_pool": 40}
    fact["faults"] = {"skipped_malformed": 3, "mentions_not_in_text": 2}
    scores["benchmarks"] = {"one": fact}
    html = page_of(scores, rows, texts)
    assert html.count("<table>") - html.split("<h2>Settings")[1].count("<table>") == html.count(
        "Label words: uniner for one (dev.json)."
    )
    page = report(scores)
    assert page.count("Label words: uniner for one (dev.json).") == 3
    assert "one: no passage has event, which is not asked." in page
    assert "Faults in the file of one: 3 skipped malformed, 2 mentions not in text." in page
    assert "one: 40 passages of its train part are in its test part and no examples." in page


def test_of_several_benchmarks_markdown_compares_the_means_and_html_each_too():
    scores, rows, texts = evaluation(("one", "two"))
    page = report(scores)
    assert "| tuned | zero_shot | 85.7 (85.7, 85.7) |" in page.split("## Means over benchmarks")[1]
    assert "| tuned zero_shot | base zero_shot | mean |" in page
    assert "| tuned zero_shot | base zero_shot | one |" not in page
    assert page_of(scores, rows, texts).count("<td>tuned zero_shot</td>") == 3


def test_a_sample_is_marked_everywhere():
    scores, rows, texts = evaluation(limit=1)
    markdown = report(scores)
    assert all(
        "(sample)" in line for line in markdown.splitlines() if line.startswith(("#", "| base | one | zero_shot | 0.0"))
    )
    assert "a sample of 1 passages (seed 42)" in markdown
    html = page_of(scores, rows, texts)
    titles = re.findall(r"<(?:title|h1|h2|summary)>(.*?)</", html)
    assert len(titles) > 8 and all("(sample)" in title for title in titles if title != "Settings")
    assert "not of whole benchmarks" in html and "1 (sample)" in html
    assert "sample" not in page_of(*evaluation()).split("<h2>Settings")[0]


def test_html_needs_nothing_else_and_runs_nothing():
    page = Page(page_of(*evaluation()))
    assert not {"script", "link", "img", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    assert not {"src", "href", "srcset"} & {name for _, attributes in page.tags for name in attributes}
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_html_shows_passages_with_their_entities_and_bars():
    page = page_of(*evaluation())
    assert '<mark class="found" title="person: found">Ada Lovelace</mark>' in page
    assert '<mark class="missed wrong" title="person: unparsed, city: wrong type">Bob</mark>' in page
    assert "<li>hallucinated: Bern [city]</li>" in page and "<li>unparsed: I found none. [person]</li>" in page
    bars = re.search(r"<td>city</td>\s*<td>1</td>\s*<td>.*?width: (.*?)%.*?</td>\s*<td>.*?width: (.*?)%", page).groups()
    assert bars == ("0.0", "66.7")


spans = st.tuples(st.integers(0, 8), st.integers(1, 4)).map(lambda pair: (pair[0], min(9, sum(pair))))


@given(st.lists(st.tuples(st.lists(spans, max_size=3), st.booleans())))
def test_nested_and_crossing_mentions_keep_the_text(marked):
    verdicts = [Verdict("t", "m", "found" if gold else "spurious", gold, tuple(places)) for places, gold in marked]
    segments = _segments("abcdefghi", verdicts)
    assert "".join(text for text, _, _ in segments) == "abcdefghi"
    position = 0
    for text, classes, _ in segments:
        inside = {gold for places, gold in marked for start, end in places if start <= position < end}
        assert classes == " ".join(["found"] * (True in inside) + ["wrong"] * (False in inside))
        position += len(text)


HOSTILE += [
    "</title></style>",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "`",
    "<b",
    "javascript:",
    "x y",
    "\x00",
    "\ud800",
    "![](http://x)",
]
hostile = st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=4).map("".join)


def evaluation_of(name: str, mention: str) -> tuple[dict, list[dict], dict]:
    """Every text of data and model is hostile, or in another run as harmless as can be."""
    text = f"{mention} and {mention}"
    rows = []
    for model in (name, name + "2"):
        rows.append(make_row(model, name, name, name, [entity(mention, text)], json.dumps([mention, mention + "!"])))
        rows.append(make_row(model, name, name, name + "3", [], mention + "no list"))
    scores = score_all(rows, {name: {name: text}}, samples=2)
    facts = {**FACTS, "recipe": name, "config": {**CONFIG, "models": [name]}, "counts": FITTING}
    return {**facts, **scores}, rows, {name: {name: text}}


@functools.cache
def harmless_markup() -> list[tuple[str, list[str]]]:
    return [(tag, list(attributes)) for tag, attributes in Page(page_of(*evaluation_of("n", "m"))).tags]


@settings(max_examples=30, deadline=None)
@given(hostile, hostile.filter(lambda mention: not {"[", "\ud800"} & set(mention)))
def test_no_markup_of_data_or_models_survives(name, mention):
    page = Page(page_of(*evaluation_of(name, mention)))
    assert [(tag, list(attributes)) for tag, attributes in page.tags] == harmless_markup()
    for shown in (name, mention):
        assert shown in page.content
    table = [line for line in report(evaluation_of(name, mention)[0]).splitlines() if line.startswith("|")]
    columns = [len(re.findall(r"(?<!\\)\|", line)) for line in table]
    assert columns == [16] * 4 + [10] * 3 + [10] * 4
    assert not any(re.search(r"(?<!\\)[<`]", line) for line in table)


def test_half_a_surrogate_pair_can_be_written(tmp_path):
    write_text(tmp_path / "report.html", page_of(*evaluation_of("\ud800", "m")))
    assert "\\ud800" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_without_queries_there_is_still_a_report():
    scores = {**FACTS, "config": CONFIG, "counts": FITTING, **score_all([], {})}
    assert report(scores).startswith("# mine") and "Settings" in page_of(scores, [], {})
