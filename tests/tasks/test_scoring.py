"""Scores, by hand, by property, and against others: the released scorer's definition, nervaluate, a plain bootstrap."""

import json
import random
import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nervaluate import Evaluator

from ra_ner.prompting.answers import parse_answer
from ra_ner.tasks.scoring import (
    ERRORS,
    NER,
    Counts,
    _overlap,
    _places,
    compare,
    interval,
    judge,
    mean,
    normalise,
    score,
    score_all,
    uniner_counts,
    uniner_items,
)

SCORES = [one.name for one in NER.scores]


def row(type_: str, gold: list[dict], answer: str, passage_id: str = "p", **more) -> dict:
    """A row as evaluation writes it."""
    read = parse_answer(answer)
    found = {"raw_answer": answer, "parsed": read.error is None, "predicted": list(read.mentions)}
    return {"passage_id": passage_id, "type": type_, "gold": gold, **found, **more}


def at(mention: str, start: int) -> dict:
    return {"text": mention, "start": start, "end": start + len(mention)}


def somewhere(mention: str) -> dict:
    return {"text": mention, "start": None, "end": None}


def counts_of(verdicts) -> Counts:
    return sum((verdict.counts for verdict in verdicts), Counts())


# uniner


def test_normalisation():
    assert normalise("The  U.S. of an A!") == "us of"
    assert normalise("C++") == normalise("C") == "c"
    assert normalise("“北京”。") == "“北京”。", "only ASCII punctuation is deleted"


@pytest.mark.parametrize(
    "answer, items",
    [
        ('["A cat", "a cat!"]', ["cat"]),
        ('Sure: ["x"] and ["y"]', ["x"]),
        ('["a]b"]', []),
        ('["x",\n"y"]', []),
        ('["x",\n["y"]', ["y"]),
        ("['x']", []),
        ("no list", []),
        ("", []),
        ('["x", 1]', []),
        ('["x", null]', []),
        ('["x", {"y": 1}]', []),
        ('[["x"], "y"]', []),
        ('["A", "x"]', ["", "x"]),
        ('[]["x"]', []),
        ('```json\n["x"]\n```', ["x"]),
    ],
)
def test_uniner_reads_as_the_release_does(answer, items):
    assert uniner_items(answer) == items


@pytest.mark.parametrize(
    "answer, items", [('["x"] and more', ["x"]), (' ["x"]', []), ('Sure: ["x"]', []), ('["x"', [])]
)
def test_legacy_start_wants_the_list_at_the_very_start(answer, items):
    assert uniner_items(answer, at_start=True) == items


def test_uniner_counts_a_failed_parse_as_an_empty_answer():
    assert uniner_counts("[]", "I do not know") == Counts()
    assert uniner_counts('["x"]', "I do not know") == Counts(fn=1)
    assert uniner_counts('["The Beatles", "Cream"]', '["beatles", "Queen"]') == Counts(tp=1, fp=1, fn=1)


def as_defined(answer: str, match=re.search) -> list:
    """The released scorer's reading, written down plainly from its definition."""

    def plain(mention: str) -> str:
        kept = "".join(character for character in mention.lower() if character not in string.punctuation)
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())

    try:
        found = match(r"\[(.*?)\]", answer)
        items: list = []
        for item in json.loads(found.group()) if found else []:
            item = tuple(plain(part) for part in item) if isinstance(item, list) else plain(item)
            if item not in items:
                items.append(item)
        return items
    except Exception:
        return []


PIECES = [
    "[",
    "]",
    '"',
    "'",
    "\\",
    ",",
    "\n",
    " ",
    "```json\n",
    "null",
    "1",
    "{",
    "}",
    "the A",
    "C++",
    "北京。",
    "\ud800",
]
PIECES += ['["x", "y"]', '["x]", "y"]', "['x']", '["The x", "x"]', '"u\\u005d"', "\u2028"]
adversarial = (
    st.lists(st.sampled_from(PIECES), max_size=20).map("".join)
    | st.text(alphabet=st.characters(exclude_categories=()))
    | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape"))
    | st.recursive(st.text(max_size=5) | st.none(), lambda part: st.lists(part, max_size=3)).map(json.dumps)
)


@given(adversarial)
def test_uniner_is_its_definition(answer):
    assert uniner_items(answer) == as_defined(answer)
    assert uniner_items(answer, at_start=True) == as_defined(answer, re.match)


@given(adversarial, adversarial)
def test_no_answer_ever_raises_in_any_score(gold, answer):
    figures = score([row("t", [somewhere(gold or "x")], answer)], {"p": gold + answer}, samples=2).figures
    assert all(0 <= figures[name]["f1"] <= 1 for name in SCORES)


@pytest.mark.parametrize(
    "answer",
    [
        "[" * 1_000_000,
        "[" * 1_000_000 + "]",
        '["' + "a" * 1_000_000 + '"]',
        '["a",' * 200_000,
        "[\n" * 500_000,
        "]" * 9**6,
    ],
    ids=lambda answer: answer[:6],
)
def test_huge_answers_are_scored_in_linear_time(answer):
    assert score([row("t", [somewhere("x")], answer)], {"p": "x"}, samples=2).figures["queries"] == 1


def test_gold_as_prediction_is_perfect_on_the_released_benchmark(golden):
    released = json.loads((golden / "golden" / "crossner_music_uniner.json").read_text(encoding="utf-8"))
    rows, texts = [], {}
    for item in released:
        text, _, question, answer = (turn["value"] for turn in item["conversations"])
        texts[text] = text
        rows.append(row(question, [somewhere(mention) for mention in json.loads(answer)], answer, passage_id=text))
    figures = score(rows, texts, samples=20).figures
    assert figures["queries"] == len(released) and figures["unparsed"] == 0
    for name in SCORES:
        assert figures[name]["tp"] > len(released) / 6
        assert f"{100 * figures[name]['f1']:.1f}" == f"{100 * figures[name]['macro']['f1']:.1f}" == "100.0"
        assert figures[name]["f1_interval"] == [1, 1]


# span

TEXT = "Ada Lovelace met Ada in the University of Bonn, in Bonn."


@pytest.mark.parametrize(
    "gold, answer, counts",
    [
        ([at("Ada", 0), at("Ada", 17), at("Ada Lovelace", 0)], '["Ada"]', Counts(tp=2, fn=1)),
        ([at("Ada", 0), at("Ada Lovelace", 0)], '["Ada", "Ada Lovelace", "Bob"]', Counts(tp=2, fp=1)),
        ([at("Ada", 0)], '["ada"]', Counts(fp=1, fn=1)),  # nothing is normalised
        ([somewhere("Ada"), somewhere("Ada")], '["Ada"]', Counts(tp=2)),  # without offsets: by string
        ([at("Ada", 0), at("Ada", 0)], '["Ada"]', Counts(tp=1)),  # one span, listed twice
        ([], '["Ada", "Ada"]', Counts(fp=1)),
        ([], "who knows", Counts(fp=1)),  # wrong, though there is nothing to find
        ([at("Ada", 0)], "who knows", Counts(fp=1, fn=1)),
        ([], "[]", Counts()),
    ],
)
def test_span_counts_every_occurrence_and_nesting(gold, answer, counts):
    assert counts_of(judge([row("person", gold, answer)], TEXT)) == counts


@pytest.mark.parametrize(
    "persons, places, wrong, not_found",
    [
        ('["Bob"]', '["Bonn"]', ["hallucinated"], ["missed"]),
        ('[""]', '["Bonn"]', [], ["missed"]),
        ('["met"]', '["Bonn"]', ["spurious"], ["missed"]),
        ('["Ada"]', '["Bonn"]', ["boundary"], ["boundary"]),
        ('["Lovelace met"]', '["Bonn"]', ["boundary"], ["boundary"]),
        ('["Ada Lovelace", "met Ada"]', '["Bonn"]', ["spurious"], []),
        ('["Bonn"]', '["Ada Lovelace"]', ["wrong_type"] * 2, ["wrong_type"] * 2),
        ('["Ada Lovelace", "Bonn"]', '["Bonn"]', ["wrong_type"], []),
        ('["Ada Lovelace"]', '["Ada"]', ["spurious"], ["missed"]),  # the boundary of another type
        ("who knows", '["Bonn"]', ["unparsed"], ["unparsed"]),
        ("who knows", '["Ada Lovelace", "Bonn"]', ["unparsed", "wrong_type"], ["unparsed"]),
        ('["Ada Lovelace"]', '["Bonn"]', [], []),
    ],
)
def test_each_error_is_of_one_kind(persons, places, wrong, not_found):
    rows = [row("person", [at("Ada Lovelace", 0)], persons), row("place", [at("Bonn", 51)], places)]
    verdicts = judge(rows, TEXT)
    assert sorted(v.outcome for v in verdicts if not v.is_gold) == wrong
    assert sorted(v.outcome for v in verdicts if v.is_gold and v.outcome != "found") == not_found


def test_a_nested_entity_that_was_found_explains_no_error():
    gold = [at("University of Bonn", 28), at("Bonn", 42)]
    verdicts = judge([row("place", gold, '["Bonn"]')], TEXT)
    assert [(v.mention, v.outcome) for v in verdicts] == [("University of Bonn", "missed"), ("Bonn", "found")]


mentions = st.lists(st.text(alphabet="ab +A", min_size=1, max_size=4).filter(str.strip), max_size=5)
passages = st.lists(st.tuples(mentions, mentions, st.booleans()), min_size=1, max_size=4)  # gold, predicted, readable


def make_rows(queries) -> list[dict]:
    return [
        row(f"type {number}", [somewhere(mention) for mention in gold], json.dumps(predicted) if readable else "?")
        for number, (gold, predicted, readable) in enumerate(queries)
    ]


@given(passages, st.text(alphabet="ab +A", max_size=20))
def test_errors_add_up_to_the_counts(queries, text):
    figures = score(make_rows(queries), {"p": text}, samples=2).figures
    for side in ("fp", "fn"):
        assert sum(figures["errors"][kind][side] for kind in ERRORS) == figures["span"][side]
        assert sum(figures["span"]["types"][type_][side] for type_ in figures["span"]["types"]) == figures["span"][side]
    assert figures["span"]["tp"] + figures["span"]["fn"] == sum(len(gold) for gold, _, _ in queries)
    assert figures["errors"]["unparsed"]["fp"] == figures["unparsed"] == sum(not readable for _, _, readable in queries)


@given(passages)
def test_gold_as_prediction_has_no_error_in_any_score(queries):
    text = " ".join(mention for gold, _, _ in queries for mention in gold)
    figures = score(make_rows([(gold, gold, True) for gold, _, _ in queries]), {"p": text}, samples=2).figures
    assert all(figures[name]["fp"] == figures[name]["fn"] == 0 for name in SCORES)


@given(passages)
def test_span_is_perfect_exactly_when_the_sets_agree(queries):
    counts = counts_of(judge(make_rows(queries), ""))
    assert (counts.fp == counts.fn == 0) == all(readable and set(g) == set(p) for g, p, readable in queries)


# against nervaluate, where both mean the same: flat entities, each mention once in its text

WORDS = [f"w{number}" for number in range(12)]
tags = st.lists(st.sampled_from(["O", "a", "b", "c"]), min_size=len(WORDS), max_size=len(WORDS))


def bio(labels: list[str]) -> list[str]:
    return ["O" if t == "O" else f"{'I' if i and labels[i - 1] == t else 'B'}-{t}" for i, t in enumerate(labels)]


def entities(labels: list[str]) -> list[tuple[str, str]]:
    """(mention, type) of each run of one label."""
    runs = re.finditer(r"a+|b+|c+", "".join("-" if label == "O" else label for label in labels))
    return [(" ".join(WORDS[run.start() : run.end()]), run[0][0]) for run in runs]


@given(st.lists(st.tuples(tags, tags), min_size=1, max_size=4))
def test_span_agrees_with_nervaluate(pairs):
    text = " ".join(WORDS)
    rows = []
    for number, (gold, predicted) in enumerate(pairs):
        for type_ in "abc":
            spans = [
                at(mention, re.search(rf"\b{mention}\b", text).start()) for mention, t in entities(gold) if t == type_
            ]
            answer = json.dumps([mention for mention, t in entities(predicted) if t == type_])
            rows.append(row(type_, spans, answer, passage_id=str(number)))
    ours = score(rows, {str(number): text for number in range(len(pairs))}, samples=2).figures["span"]
    evaluator = Evaluator([bio(g) for g, _ in pairs], [bio(p) for _, p in pairs], tags=list("abc"), loader="list")
    theirs = evaluator.evaluate()["overall"]["strict"]
    assert (ours["tp"], ours["tp"] + ours["fp"], ours["tp"] + ours["fn"]) == (
        theirs.correct,
        theirs.actual,
        theirs.possible,
    )
    assert [ours[k] for k in ("precision", "recall", "f1")] == pytest.approx(
        [theirs.precision, theirs.recall, theirs.f1], abs=1e-6
    )


# figures, intervals, comparisons


def corpus_rows(seed: int, skill: float, count: int = 40) -> tuple[list[dict], dict[str, str]]:
    """Passages with up to four entities of three types, each found with a probability."""
    rng = random.Random(seed)
    rows, texts = [], {}
    for number in range(count):
        texts[f"{number:03}"] = f"passage {number}: " + " ".join(WORDS)
        for type_ in ("x", "y", "z"):
            gold = rng.sample(WORDS, rng.randrange(3))
            predicted = [word for word in WORDS if rng.random() < (skill if word in gold else 0.03)]
            rows.append(row(type_, [somewhere(word) for word in gold], json.dumps(predicted), f"{number:03}"))
    return rows, texts


def test_figures_micro_macro_and_by_type():
    rows = [
        row("x", [somewhere("a"), somewhere("b")], '["a", "c"]', "1"),
        row("x", [somewhere("a")], '["a"]', "2"),
        row("y", [somewhere("b")], "[]", "2"),
        row("z", [], "[]", "2"),
    ]
    span = score(rows, {"1": "a b c", "2": "a b"}).figures["span"]
    assert (span["tp"], span["fp"], span["fn"]) == (2, 1, 2)
    assert (span["precision"], span["recall"], span["f1"]) == (0.666667, 0.5, 0.571429)
    assert span["types"].keys() == {"x", "y"}, "of z there was nothing to find, and nothing was predicted"
    assert span["types"]["x"]["f1"] == 0.666667 and span["types"]["y"]["f1"] == 0
    assert span["macro"]["types"] == 2 and span["macro"]["f1"] == 0.333333


def test_copied_mentions_are_counted_where_rows_tell_of_them():
    rows = [row("x", [], '["b", "c"]', copied=["b", "c"]), row("y", [], '["b"]', copied=["b"]), row("z", [], "[]")]
    assert score(rows, {"p": "a"}, samples=2).figures["copied"] == 3


def test_of_nothing_all_figures_are_zero():
    figures = score([row("x", [], "[]")], {"p": ""}).figures
    assert figures["span"]["f1_interval"] == [0, 0] and figures["span"]["macro"]["f1"] == figures["span"]["f1"] == 0
    with pytest.raises(ValueError, match="no query"):
        score([], {})


def test_two_passages_have_only_three_resamples():
    rows = [row("x", [somewhere("a")], '["a"]', "1"), row("x", [somewhere("a")], "[]", "2")]
    run = score(rows, {"1": "a", "2": "a"})
    values, times = np.unique(run.f1["span"], return_counts=True)
    assert values.tolist() == [0, 2 / 3, 1] and times[1] > times[0] > 200 < times[2]
    assert run.figures["span"]["f1_interval"] == [0, 1]


def test_intervals_are_those_of_a_plain_bootstrap():
    rows, texts = corpus_rows(0, skill=0.6)
    span = score(rows, texts).figures["span"]
    rng, micro, macro = random.Random(1), [], []
    verdicts = {id_: judge([r for r in rows if r["passage_id"] == id_], texts[id_]) for id_ in texts}

    def f1(part) -> float:
        tp, fp, fn = counts_of(part)
        return 2 * tp / (2 * tp + fp + fn)

    for _ in range(1000):
        drawn = [verdict for id_ in rng.choices(list(texts), k=len(texts)) for verdict in verdicts[id_]]
        micro.append(f1(drawn))
        macro.append(sum(f1([verdict for verdict in drawn if verdict.type == type_]) for type_ in "xyz") / 3)
    for values, figures in ((micro, span), (macro, span["macro"])):
        assert figures["f1_interval"] == pytest.approx(np.quantile(values, [0.025, 0.975]).tolist(), abs=0.02)
        assert figures["f1_interval"][0] < figures["f1"] < figures["f1_interval"][1]


def test_figures_depend_on_the_seed_but_not_on_the_order_of_rows():
    rows, texts = corpus_rows(0, skill=0.6)
    figures = score(rows, texts).figures
    assert score(rows[::-1], texts).figures == figures
    assert score(rows, texts, seed=43).figures != figures


def test_a_paired_bootstrap_tells_a_better_run_from_a_lucky_one():
    better, texts = corpus_rows(1, skill=0.9)
    worse, _ = corpus_rows(1, skill=0.5)
    runs = [score(rows, texts) for rows in (better, worse)]
    for name, result in compare(*runs).items():
        assert result["difference"] > 0.1 and result["interval"][0] > 0 and result["p"] < 0.01, name
    assert all(r == {"difference": 0, "interval": [0, 0], "p": 1} for r in compare(runs[0], runs[0]).values())
    lucky = [dict(r) for r in worse]
    changed = next(i for i, r in enumerate(worse) if len(r["gold"]) > len(r["predicted"]))
    lucky[changed] = row(worse[changed]["type"], worse[changed]["gold"], "[]", worse[changed]["passage_id"])
    assert compare(score(lucky, texts), runs[1])["span"]["p"] > 0.05
    with pytest.raises(ValueError, match="same passages"):
        compare(runs[0], score(better[:30], texts))


def test_means_count_each_benchmark_the_same_and_resample_each_by_itself():
    rows, texts = corpus_rows(2, skill=0.7)
    other_texts = {id_: text + "!" for id_, text in texts.items()}
    runs = [score(rows, texts), score(rows, other_texts)]
    assert runs[0].figures["span"]["f1"] == runs[1].figures["span"]["f1"] == mean(runs).figures["span"]["f1"]
    widths = [
        run.figures["span"]["f1_interval"][1] - run.figures["span"]["f1_interval"][0] for run in [*runs, mean(runs)]
    ]
    assert widths[2] < 0.85 * min(widths[:2]), "two independent benchmarks are surer than one"


def test_all_runs_of_an_evaluation():
    rows, texts = [], {}
    for benchmark, seed in (("one", 3), ("two", 4)):
        for model, skill in (("base", 0.3), ("tuned", 0.9)):
            for setting in ("zero_shot", "in_domain-nn"):
                part, texts[benchmark] = corpus_rows(seed, skill)
                names = {"model": model, "revision": "r", "benchmark": benchmark, "setting": setting}
                rows += [{**r, **names, "example_scores": [int(r["passage_id"]) / 100, 0.0]} for r in part]
    scores = score_all(rows, texts, samples=200)
    assert [(r["model"], r["benchmark"], r["setting"]) for r in scores["results"]][:3] == [
        ("base", "one", "zero_shot"),
        ("base", "one", "in_domain-nn"),
        ("tuned", "one", "zero_shot"),
    ]
    for name in SCORES:
        f1 = [r[name]["f1"] for r in scores["results"] if (r["model"], r["setting"]) == ("tuned", "zero_shot")]
        means = [m[name]["f1"] for m in scores["means"] if (m["model"], m["setting"]) == ("tuned", "zero_shot")]
        assert means == pytest.approx([sum(f1) / 2], abs=1e-6)
    assert [c["benchmark"] for c in scores["comparisons"]].count(None) == 4 and len(scores["comparisons"]) == 12
    for comparison in scores["comparisons"]:
        if comparison["run"]["model"] != comparison["baseline"]["model"]:
            assert comparison["run"] == {**comparison["baseline"], "model": "tuned"}
            assert comparison["span"]["difference"] > 0 and comparison["span"]["p"] < 0.05

    result = scores["results"][0]
    for key in ("by_gold_entities", "by_best_example"):
        assert sum(part["passages"] for part in result[key]) == result["passages"] == 40
        assert sum(part["tp"] for part in result[key]) == result["span"]["tp"]
    assert [part["passages"] for part in result["by_best_example"]] == [10, 10, 10, 10]
    assert [part["from"] for part in result["by_gold_entities"]] == [0, 1, 3]


def test_two_models_of_one_name_are_two_runs():
    rows, texts = [], {}
    for revision, skill in (("r1", 0.3), ("r2", 0.9)):
        for benchmark in ("one", "two"):
            part, texts[benchmark] = corpus_rows(3, skill)
            names = {"model": "same", "revision": revision, "benchmark": benchmark, "setting": "zero_shot"}
            rows += [{**row, **names} for row in part]
    scores = score_all(rows, texts, samples=50)
    assert [(r["revision"], r["passages"]) for r in scores["results"]] == [("r1", 40)] * 2 + [("r2", 40)] * 2
    first, second = (result["span"]["f1"] for result in scores["results"][::2])
    assert first < second and [m["span"]["f1"] for m in scores["means"]] == [first, second]
    assert [comparison["benchmark"] for comparison in scores["comparisons"]] == ["one", "two", None]


# grounded


def test_grounded_leaves_out_what_can_not_be_placed_in_the_text():
    text = {"p": "Ada met Bob in Rome."}
    gold = [at("Ada", 0), at("Bob", 8)]
    figures = score([row("person", gold, '["Ada", "Carl", "BOB"]')], text, samples=2).figures
    assert [figures["span"][key] for key in ("tp", "fp", "fn")] == [1, 2, 1]
    assert [figures["grounded"][key] for key in ("tp", "fp", "fn")] == [1, 0, 1]
    placed = row("person", gold, '["Ada", "Carl", "BOB"]', grounded=["Ada", "Bob"])  # as evaluation aligns them
    assert [score([placed], text, samples=2).figures["grounded"][key] for key in ("tp", "fp", "fn")] == [2, 0, 0]
    unparsed = score([row("person", gold, "no list")], text, samples=2).figures
    assert unparsed["grounded"] == unparsed["span"]


def test_an_interval_holds_95_percent_of_the_resamples():
    assert interval(np.arange(1001) / 1000) == [0.025, 0.975]


def test_a_type_that_only_has_wrong_mentions_counts_in_the_macro_mean():
    rows = [row("x", [somewhere("a")], '["a"]'), row("wrong", [], '["b"]'), row("empty", [], "[]")]
    macro = score(rows, {"p": "a b"}).figures["span"]["macro"]
    assert (macro["types"], macro["f1"]) == (2, 0.5)


def test_counts_do_not_overflow():
    mentions = [f"m{number:05}" for number in range(40_000)]
    figures = score([row("x", [somewhere(m) for m in mentions], json.dumps(mentions))], {"p": ""}, samples=2).figures
    assert figures["span"]["tp"] == 40_000 and figures["span"]["f1_interval"] == [1, 1]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9))),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9))),
)
def test_overlaps_are_those_of_each_pair(lefts, rights):
    lefts, rights = ([(start, start + length) for start, length in part] for part in (lefts, rights))
    pairs = any(start < end and begin < last for start, last in lefts for begin, end in rights)
    assert _overlap(lefts, _places(rights)) == pairs
