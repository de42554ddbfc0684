"""Texts that are too long, cut at the ends of sentences."""

from conftest import passage
from hypothesis import given
from hypothesis import strategies as st

from ra_ner.corpora.long_texts import split_at_sentence_end
from ra_ner.passage import Entity, Passage


def shorter_than(length):
    return lambda part: len(part.text) <= length


def texts(passage, length):
    return [part.text for part in split_at_sentence_end(passage, shorter_than(length))]


def test_a_text_is_halved_at_the_end_of_the_sentence_nearest_to_its_middle():
    assert texts(passage('One ran. "Two ran!" Three ran? Four'), 20) == ['One ran. "Two ran!"', "Three ran? Four"]
    assert texts(passage("first line\nsecond line"), 12) == ["first line", "second line"]
    assert texts(passage("甲来了。“乙来了！”丙来了？丁"), 8) == ["甲来了。", "“乙来了！”", "丙来了？丁"]
    assert texts(passage("3.5 is no end, nor is a.b"), 5) == ["3.5 is no end, nor is a.b"]


def test_entities_move_with_their_sentence_and_none_is_cut():
    source = Passage(
        "p",
        "Dr. Who ran. Ada saw Dr. Who.",
        (Entity("Dr. Who", "person", 0, 7), Entity("Ada", "person", 13, 16), Entity("Who", "word"), Entity("x", "no")),
    )
    first, second = split_at_sentence_end(source, shorter_than(17))
    assert (first.id, first.entities) == ("p#0", (Entity("Dr. Who", "person", 0, 7), Entity("Who", "word")))
    assert (second.id, second.text) == ("p#13", "Ada saw Dr. Who.")
    assert second.entities == (Entity("Ada", "person", 0, 3), Entity("Who", "word"))


@given(st.text(alphabet="ab .!。\n", min_size=1).filter(str.strip), st.integers(1, 9), st.data())
def test_parts_cover_the_text_in_order_and_offsets_still_slice(text, length, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    source = Passage("p", text, (Entity(text[start:end], "t", start, end),))
    parts = split_at_sentence_end(source, shorter_than(length))
    assert "".join("".join(part.text.split()) for part in parts) == "".join(text.split())
    for part in parts:
        offset = int(part.id.removeprefix("p#"))
        assert text[offset : offset + len(part.text)] == part.text
        assert all(part.text[entity.start : entity.end] == entity.text for entity in part.entities)
    if text[start:end].rstrip() == text[start:end]:
        assert sum(len(part.entities) for part in parts) == 1, "no entity is lost or cut"


def test_a_text_is_cut_where_an_entity_ends():
    text = "甲来了。乙来了。"
    whole = Passage("p", text, (Entity("甲来了。", "sentence", 0, 4),))
    assert texts(whole, 4) == ["甲来了。", "乙来了。"]
