"""Scores, by hand and by property."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ra_ner.corpus import Entity
from ra_ner.scoring import Counts, legacy_counts, legacy_items, normalise, span_counts


def test_figures():
    counts = Counts(tp=2, fp=2, fn=0) + Counts(tp=1, fp=0, fn=3)
    assert (counts.precision, counts.recall, counts.f1) == (3 / 5, 3 / 6, 6 / 11)
    assert (Counts().precision, Counts().recall, Counts().f1) == (0, 0, 0)


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
        ("['x']", []),
        ("no list", []),
        ("", []),
        ('["x", 1]', []),
        ('["x", null]', []),
        ('["x", {"y": 1}]', []),
        ('["A", "x"]', ["", "x"]),
        ('[]["x"]', []),
    ],
)
def test_legacy_reads_as_the_release_does(answer, items):
    assert legacy_items(answer) == items


def test_legacy_counts_a_failed_parse_as_an_empty_answer():
    assert legacy_counts("[]", "I do not know") == Counts()
    assert legacy_counts('["x"]', "I do not know") == Counts(fn=1)
    assert legacy_counts('["The Beatles", "Cream"]', '["beatles", "Queen"]') == Counts(tp=1, fp=1, fn=1)


def test_legacy_gold_as_prediction_is_perfect_on_the_released_benchmark(shared):
    rows = json.loads((shared / "golden" / "crossner_music_uniner.json").read_text(encoding="utf-8"))
    golds = [row["conversations"][-1]["value"] for row in rows]
    total = sum((legacy_counts(gold, gold) for gold in golds), Counts())
    assert len(rows) == 5580 and total.tp > 1000 and total.f1 == 1.0


def at(text: str, start: int) -> Entity:
    return Entity(text, "t", start, start + len(text))


def test_span_counts_every_occurrence_and_nesting():
    gold = [at("Ada", 0), at("Ada", 10), at("Ada Lovelace", 0)]
    assert span_counts(gold, ["Ada"], False) == Counts(tp=2, fn=1)
    assert span_counts(gold, ["Ada", "Ada Lovelace", "Bob"], False) == Counts(tp=3, fp=1)
    assert span_counts(gold, ["ada"], False) == Counts(fp=1, fn=3), "nothing is normalised"


def test_span_matches_gold_without_offsets_by_its_string():
    assert span_counts([Entity("Ada", "t")], ["Ada"], False) == Counts(tp=1)


def test_an_unreadable_answer_is_wrong_even_where_there_is_nothing_to_find():
    assert span_counts([], [], unparsed=True) == Counts(fp=1)
    assert span_counts([at("Ada", 0)], [], unparsed=True) == Counts(fp=1, fn=1)


mentions = st.lists(st.text(alphabet="ab +A", min_size=1), max_size=5)


@given(mentions, mentions)
def test_span_is_perfect_exactly_when_the_sets_agree(gold, predicted):
    counts = span_counts([Entity(m, "t") for m in gold], predicted, False)
    assert counts.tp + counts.fn == len(gold)
    assert (counts.fp == counts.fn == 0) == (set(gold) == set(predicted))


@given(mentions)
def test_gold_as_prediction_has_no_error_in_either_score(gold):
    assert span_counts([Entity(m, "t") for m in gold], gold, False).fp == 0
    answer = json.dumps(gold)
    assert legacy_counts(answer, answer) == Counts(tp=len(legacy_items(answer)))


@given(st.text(alphabet=st.characters(exclude_categories=())) | st.text(alphabet="[]\"',\\ab1\n{}"))
def test_legacy_never_raises(answer):
    legacy_counts(answer, answer)
