"""Reading answers back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ra_ner.prompting.answers import find_mention, parse_answer
from ra_ner.prompting.conversation import WORDINGS

STRICT = [("[]", []), ('["a", "b"]', ["a", "b"]), (' ["a","a"]\n', ["a"]), ('["C++ [x]", "“q”"]', ["C++ [x]", "“q”"])]
TOLERANT = [
    ('The answer is ["a", "b"].', ["a", "b"]),
    ('```json\n["a",\n "b"]\n```', ["a", "b"]),
    ("['a', \"it's\", 'say \"x\"', 'don\\'t']", ["a", "it's", 'say "x"', "don't"]),
    ('["a", ["b", ["c"]]] and ["d"]', ["a", "b", "c"]),
    ("[1990, 'x', -2.5]", ["1990", "x", "-2.5"]),
    ('["a", "b", "c', ["a", "b"]),
    ('["a", "b",', ["a", "b"]),
    ('["a",]', ["a"]),
    ('["他说"好"了", "b"]', ['他说"好"了', "b"]),
    ('[""甲""]', ['"甲"']),
]
UNREADABLE = [
    "",
    "   ",
    "Paris",
    "none",
    "{}",
    "[",
    "[[[",
    '["',
    "[Paris, London]",
    '[{"a": "b"}]',
    "[null]",
    '"a"',
    "]",
]


@pytest.mark.parametrize("raw, mentions", STRICT)
def test_strict_answers(raw, mentions):
    answer = parse_answer(raw)
    assert (list(answer.mentions), answer.strict, answer.error) == (mentions, True, None)


@pytest.mark.parametrize("raw, mentions", TOLERANT)
def test_tolerant_answers(raw, mentions):
    answer = parse_answer(raw)
    assert (list(answer.mentions), answer.strict, answer.error) == (mentions, False, None)


@pytest.mark.parametrize("raw", UNREADABLE)
def test_unreadable_answers_say_why(raw):
    answer = parse_answer(raw)
    assert answer.mentions == () and answer.error


@given(st.lists(st.text()))
def test_every_list_of_strings_is_read_back(mentions):
    expected = list(dict.fromkeys(m.encode("utf-8", "replace").decode() for m in mentions))
    answer = parse_answer(json.dumps(mentions))
    assert answer.strict and list(answer.mentions) == expected


@given(st.lists(st.text(alphabet="ab,\"' 好", min_size=1)))
def test_the_released_format_without_escapes_is_read_where_it_is_unambiguous(mentions):
    if not any('"' in mention for mention in mentions):
        answer = WORDINGS["released_zh", "zh"].format_answer(mentions)
        assert list(parse_answer(answer).mentions) == list(dict.fromkeys(mentions))


@given(st.text(alphabet=st.characters(exclude_categories=())) | st.text(alphabet="[]\"',\\ab1\n{}"))
def test_no_answer_ever_raises(raw):
    answer = parse_answer(raw)
    assert (answer.error is None) or answer.mentions == ()
    json.dumps(answer.mentions, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize("raw", ["[" * 200_000, '["' + "a" * 1_000_000, '["a",' * 100_000, "[" + "'\\" * 300_000])
def test_huge_answers_are_read_in_linear_time(raw):
    parse_answer(raw)


@pytest.mark.parametrize(
    "mention, text, places",
    [
        ("art", "Bart's art", [(7, 10)]),  # whole words first
        ("art", "Bart", [(1, 4)]),  # inside a word if there is no other place
        ("a a", "xa a a", [(3, 6)]),  # a place inside a word does not hide the one that it overlaps
        ("Öl", "Ölfarbe, Öl", [(9, 11)]),
        ("北京", "在北京的北京人", [(1, 3), (4, 6)]),
        ("AI", "新AI模型", [(1, 3)]),  # between scripts no word is cut
        ("", "text", []),
    ],
)
def test_a_mention_is_found_as_whole_words(mention, text, places):
    assert find_mention(mention, text) == places
