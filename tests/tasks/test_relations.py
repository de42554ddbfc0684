"""Relation extraction: rows, pairs as answers, and scores by string and by offset."""

import json
from dataclasses import replace

import pytest
from conftest import REPO
from hypothesis import given
from hypothesis import strategies as st

from ra_ner.corpora.sources import load_corpus
from ra_ner.errors import UserError
from ra_ner.passage import Passage
from ra_ner.prompting.answers import find_mention
from ra_ner.prompting.conversation import training_conversation
from ra_ner.tasks import find_wording
from ra_ner.tasks.relations import RELATIONS, Relation, _nearest, read_answer
from ra_ner.tasks.scoring import score

TEXT = "Ada met Bob in Basel . Bob is from Basel ."
BORN = Relation('["Bob", "Basel"]', "born in", places=((23, 26), (35, 40)))
MET = Relation('["Ada", "Bob"]', "met", places=((0, 3), (8, 11)))


def read(source: str) -> list[Passage]:
    return load_corpus(source, "en", reading=RELATIONS.reading).passages


def test_our_own_form_names_heads_and_tails_by_position(write):
    entities = [{"text": "Ada", "start": 0, "end": 3}, {"text": "Bob", "start": 8, "end": 11}, {"text": "Basel"}]
    relations = [{"head": 0, "type": "met", "tail": 1}, {"head": 1, "type": "born in", "tail": 2}]
    [passage] = read(write([{"id": "1", "text": TEXT, "entities": entities, "relations": relations}]))
    assert passage == Passage("1", TEXT, (MET, Relation('["Bob", "Basel"]', "born in")))


def test_white_space_around_an_entity_is_no_part_of_it(write):
    """Answers are compared as strings."""
    entities = [{"text": "Ada ", "start": 0, "end": 4}, {"text": " Bob", "start": 7, "end": 11}]
    [passage] = read(
        write([{"text": TEXT, "entities": entities, "relations": [{"head": 0, "type": "met", "tail": 1}]}])
    )
    assert passage.entities == (MET,)


@pytest.mark.parametrize("start, end", [(-5, 40), (35, None), (None, 40), (34, 40)])
def test_offsets_that_are_no_place_of_the_entity_are_refused(write, start, end):
    entities = [{"text": "Basel", "start": start, "end": end}]
    row = {"text": TEXT[:40], "entities": entities, "relations": [{"head": 0, "type": "met", "tail": 0}]}
    with pytest.raises(UserError, match="entity 'Basel': text.* is not that mention"):
        read(write([row]))


def test_crossre_counts_tokens_with_an_inclusive_end(write):
    row = {
        "doc_key": "x",
        "sentence": TEXT.split(),
        "ner": [[0, 0, "person"], [2, 2, "person"], [6, 6, "person"], [9, 9, "city"]],
        "relations": [[0, 0, 2, 2, "met", "", False, False], [6, 6, 9, 9, "born in", "", False, True]],
    }
    [passage] = read(write([row]))
    assert (passage.text, passage.entities) == (TEXT, (MET, BORN))
    for relation in passage.entities:
        assert [TEXT[slice(*place)] for place in relation.places] == json.loads(relation.text)


@pytest.mark.parametrize(
    "relation, message",
    [
        ({"head": 3, "type": "met", "tail": 0}, "head and tail must be positions of entities, from 0"),
        ({"head": 0, "type": "", "tail": 0}, "is not the name of a type"),
        ({"head": 0, "type": "met"}, "KeyError"),
    ],
)
def test_a_malformed_relation_is_named(write, relation, message):
    row = {"text": TEXT, "entities": [{"text": "Ada", "start": 0, "end": 3}], "relations": [relation]}
    with pytest.raises(UserError, match=message):
        read(write([row]))


def test_crossre_is_read_whole(shared):
    for domain in ("politics", "music", "news"):
        file = shared / "tasks" / "crossre" / f"{domain}-train.jsonl"
        passages = read(str(file))
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").strip().split("\n")]
        distinct = [{tuple(relation[:5]) for relation in row["relations"]} for row in rows]  # one is there twice
        assert [len(p.entities) for p in passages] == [len(relations) for relations in distinct]
        for passage in passages:
            for one in passage.entities:
                assert [passage.text[slice(*place)] for place in one.places] == json.loads(one.text)


def test_a_conversation_shows_triples_and_answers_with_pairs():
    wording = find_wording("relations", "en")
    prompt, completion = training_conversation(
        Passage("1", TEXT, (MET, BORN)), ["met", "owns"], [Passage("2", "Bob is from Basel.", (BORN,))], wording
    )
    assert prompt[0]["content"].endswith('Text: Bob is from Basel.\nRelations: [["Bob", "born in", "Basel"]]')
    assert prompt[-1]["content"] == 'Which pairs of entities have the relation "met" in the text?'
    assert [turn["content"] for turn in completion[::2]] == ['[["Ada", "Bob"]]', "[]"]


@pytest.mark.parametrize(
    "raw, predicted",
    [
        ('[["Ada", "Bob"]]', ['["Ada", "Bob"]']),
        ('They are [["Ada", "Bob"], ["Bob", "Basel"]].', ['["Ada", "Bob"]', '["Bob", "Basel"]']),
        ("[]", []),
        ('["Ada", "Bob"]', None),
        ('[["Ada", "Bob"', None),
        ('[["Ada", ""]]', None),
        ('[["Ada", "Bob", "Cy"]]', None),
        ("none", None),
    ],
)
def test_an_answer_is_its_last_list_of_pairs(raw, predicted):
    answer = read_answer(raw, "met")
    assert (answer.error is None) == (predicted is not None) and list(answer.mentions) == (predicted or [])


@given(st.text(alphabet='[]",a \\{}1'))
def test_any_answer_is_read(raw):
    assert all(len(json.loads(item)) == 2 for item in read_answer(raw, "met").mentions)


def scored(*queries: tuple[str, list[Relation], str], text: str = TEXT) -> dict:
    """Figures of queries about one text: type, gold, answer."""
    rows = []
    for type_, gold, raw in queries:
        answer = read_answer(raw, type_)
        row = {"passage_id": "1", "type": type_, "gold": [vars(one) for one in gold], "raw_answer": raw}
        rows.append(row | {"parsed": answer.error is None, "predicted": list(answer.mentions), "example_scores": []})
    return score(rows, {"1": text}, samples=20, metric=RELATIONS.metric).figures


def counts(figures: dict) -> tuple[int, int, int]:
    return figures["tp"], figures["fp"], figures["fn"]


def test_strings_and_places_are_scored_apart():
    figures = scored(("born in", [BORN], '[["Bob", "Basel"]]'))
    # `Bob` and `Basel` stand nearest to one another in the first sentence, the gold is in the second.
    assert counts(figures["string"]) == (1, 0, 0) and counts(figures["offset"]) == (0, 1, 1)
    without_places = Relation('["Bob", "Basel"]', "born in")
    assert counts(scored(("born in", [without_places], '[["Bob", "Basel"]]'))["offset"]) == (1, 0, 0)


@given(st.text(alphabet="ab ", max_size=30))
def test_a_pair_is_placed_where_head_and_tail_are_nearest(text):
    places = [(abs(a.start - b.start)) for a in find_mention("a", text) for b in find_mention("b", text)]
    nearest = _nearest('["a", "b"]', text)
    assert (abs(nearest[0].start - nearest[1].start) if nearest else None) == min(places, default=None)


def test_a_pair_that_is_gold_at_two_places_counts_once():
    again = replace(BORN, places=((8, 11), (15, 20)))
    assert counts(scored(("born in", [BORN, again], '[["Bob", "Basel"]]'))["string"]) == (1, 0, 0)


def test_macro_f1_is_the_mean_over_types():
    figures = scored(("met", [MET], '[["Ada", "Bob"]]'), ("born in", [BORN], "[]"))
    assert figures["string"]["f1"] == pytest.approx(2 / 3, abs=1e-6) and figures["string_macro"]["f1"] == 0.5


@pytest.mark.parametrize(
    "answer, kind, sides",
    [
        ('[["Bob", "Ada"]]', "reversed", (1, 1)),
        ('[["Ada met", "Bob"]]', "boundary", (1, 1)),
        ('[["Bob", "Basel"]]', "wrong_type", (1, 0)),
        ('[["Ada", "Carl"]]', "hallucinated", (1, 0)),
        ('[["is", "from"]]', "spurious", (1, 0)),
        ("none", "unparsed", (1, 1)),
    ],
)
def test_each_error_has_one_kind(answer, kind, sides):
    errors = scored(("met", [MET], answer), ("born in", [BORN], '[["Bob", "Basel"]]'))["errors"]
    assert tuple(errors[kind].values()) == sides
    assert sum(errors[other]["fp"] for other in errors) == 1 and sum(errors[other]["fn"] for other in errors) == 1


def test_a_relation_answered_for_another_type_is_of_the_wrong_type_on_both_sides():
    errors = scored(("met", [MET], "[]"), ("born in", [BORN], '[["Bob", "Basel"], ["Ada", "Bob"]]'))["errors"]
    assert errors["wrong_type"] == {"fp": 1, "fn": 1} and sum(errors[kind]["fn"] for kind in errors) == 1


def test_the_sample_has_places_for_all_heads_and_tails():
    for part, size in (("train", 24), ("test", 8)):
        passages = read(str(REPO / "data" / "sample" / "relations" / f"{part}.jsonl"))
        assert len(passages) == size and all(len(one.places) == 2 for p in passages for one in p.entities)
