"""Open discovery: the prompt for all entities, and how its answers are read."""

import json

import pytest
from conftest import passage
from hypothesis import given
from hypothesis import strategies as st

from ra_ner.prompting.annotation import annotation_prompt, parse_annotation


def test_examples_are_earlier_turns():
    shown = passage("Carl left Rome.", ("Carl", "person"), ("Rome", "city"))
    messages = annotation_prompt("Ada slept.", [shown], "en")
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[2]["content"] == '[{"Carl": "person"}, {"Rome": "city"}]'
    assert messages[1]["content"].endswith("\nPassage: Carl left Rome.")
    assert messages[3]["content"].endswith("\nPassage: Ada slept.")
    assert annotation_prompt("他在北京。", [], "zh")[-1]["content"].endswith("\n文本：他在北京。")


@pytest.mark.parametrize(
    "raw, pairs",
    [
        ('[{"Ada": "person"}, {"London": "city"}]', [("Ada", "person"), ("London", "city")]),
        ('Sure:\n```json\n[{"Ada": "person"}]\n```', [("Ada", "person")]),
        ('{"Ada": "person", "London": "city"}', [("Ada", "person"), ("London", "city")]),
        ('[{"entity": "Ada", "type": "person"}, {"text": "Bo", "label": "dog"}]', [("Ada", "person"), ("Bo", "dog")]),
        ('[{"Ada": "person"}, {"Lond', [("Ada", "person")]),
        ('[{"a \\"b\\"": "x"}, {"a \\"b\\"": "x"}, {"": "y"}]', [('a "b"', "x")]),
        ('<think>{"Ada": "city"}?</think>[{"Ada": "person"}]', [("Ada", "person")]),
        ("[]", []),
    ],
)
def test_pairs_are_read(raw, pairs):
    answer = parse_annotation(raw)
    assert answer.pairs == pairs and answer.error is None


def test_an_answer_without_pairs_is_an_error():
    assert parse_annotation("There are none.").error and parse_annotation('["Ada"]').error


TEXT = st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip)


@given(st.lists(st.tuples(TEXT, TEXT)))
def test_what_the_prompt_asks_for_is_read_back(pairs):
    raw = json.dumps([{mention: type_} for mention, type_ in pairs])
    keys = {"entity", "mention", "text", "name", "type", "label", "category", "entity_type"}
    if not keys & {mention.strip().lower() for mention, _ in pairs}:
        wanted = dict.fromkeys((mention.strip(), type_.strip()) for mention, type_ in pairs)
        assert parse_annotation(raw).pairs == list(wanted)


@given(st.text())
def test_no_answer_raises(raw):
    parse_annotation(raw)
