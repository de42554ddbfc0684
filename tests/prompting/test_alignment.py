"""Mentions are placed in the text they were taken from, forgivingly, and never wrongly."""

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ra_ner.prompting.alignment import AlignedText
from ra_ner.prompting.answers import is_mark


def found(mention: str, text: str) -> tuple[list[str], str]:
    spans, alignment = AlignedText(text).find(mention)
    return [text[start:end] for start, end in spans], alignment


@pytest.mark.parametrize(
    "mention, text, places",
    [
        ("Ada", "Ada met Ada.", [(0, 3), (8, 11)]),
        ("art", "Bart's art", [(7, 10)]),  # whole words first
        ("art", "Bart", [(1, 4)]),  # inside a word if there is no other place
        ("北京", "在北京的北京人", [(1, 3), (4, 6)]),
        ("aa", "aaa", [(0, 2)]),  # none overlaps the one before
        ("", "text", []),
        ("gone", "text", []),
    ],
)
def test_verbatim_mentions(mention, text, places):
    assert AlignedText(text).find(mention)[0] == places


@pytest.mark.parametrize(
    "mention, text, verbatim",
    [
        ("ada lovelace", "Miss ADA Lovelace.", "ADA Lovelace"),
        ("ＩＢＭ", "bought by IBM.", "IBM"),
        ("iPhone１５", "新的iPhone15", "iPhone15"),
        (
            unicodedata.normalize("NFC", "Köln"),
            unicodedata.normalize("NFD", "in Köln."),
            unicodedata.normalize("NFD", "Köln"),
        ),
        ("New York", "in New\n  York today", "New\n  York"),
        ("JohnSmith", "by John Smith", "John Smith"),
        ('"Up"', "the film “Up” won", "“Up”"),
        ("Jean-Luc", "said Jean‑Luc.", "Jean‑Luc"),
        ("Straße", "die STRASSE", "STRASSE"),
        ("office", "the oﬃce door", "oﬃce"),
        ("data", "the da\u200bta", "da\u200bta"),
    ],
)
def test_normalised_mentions_give_the_words_of_the_text(mention, text, verbatim):
    assert found(mention, text) == ([verbatim], "normalised")


@pytest.mark.parametrize(
    "mention, text, places",
    [
        ("cafe", "cafe\u0301.", [(0, 5)]),
        ("cafe", "cafe\u0301, cafe.", [(7, 11)]),  # another word has the accent
        ("CAFE\u0301", "cafe\u0301.", [(0, 5)]),
        ("ल", "लाल", [(0, 2), (2, 3)]),  # the first has a vowel sign of category Mc
        ("राम", "रामायण में राम", [(11, 14)]),
        ("ण", "रामायण ण", [(7, 8)]),
        ("☺", "hi ☺\ufe0f", [(3, 5)]),
        ("\u0301", "e\u0301\u0301", [(1, 3)]),
    ],
)
def test_a_place_takes_in_the_marks_of_its_last_character(mention, text, places):
    assert AlignedText(text).find(mention)[0] == places


def test_a_mention_that_starts_inside_a_ligature_is_not_placed():
    assert found("ice", "the oﬃce") == ([], "exact")


TEXT = st.text(st.characters(), max_size=60)


@given(TEXT, TEXT)
def test_spans_lie_in_the_text_in_order_and_hold_the_mention_up_to_its_form(text, mention):
    spans, alignment = AlignedText(text).find(mention)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(before.end <= after.start for before, after in itertools.pairwise(spans))
    assert not any(is_mark(character) for _, end in spans for character in text[end : end + 1])
    if alignment == "exact":
        assert all(text[start:end] == mention for start, end in spans)


@given(TEXT, st.data())
def test_every_piece_of_a_text_is_found_in_it(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    if end > start:
        spans, alignment = AlignedText(text).find(text[start:end])
        is_followed_by_a_mark = any(text[start:end] + mark in text for mark in filter(is_mark, text))
        assert spans and (alignment == "exact" or is_followed_by_a_mark)
