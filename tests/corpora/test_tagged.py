"""Tagged text: the columns of tokens and tags are found, and the tags of every scheme are read."""

import pytest
from corpus_forms import entities
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ra_ner.corpora.sources import load_corpus
from ra_ner.passage import Entity


def test_conll_with_bom_crlf_documents_and_columns(write):
    lines = "-DOCSTART- -X- O\n\nEU NNP I-ORG\nrejects VBZ O\n\n \nNew\tNNP\tB-LOC\nYork\tNNP\tI-LOC"
    content = b"\xef\xbb\xbf" + lines.replace("\n", "\r\n").encode()
    passages = load_corpus(write(content, "train.txt"), "en").passages
    assert [(p.id, p.text) for p in passages] == [("train-0", "EU rejects"), ("train-1", "New York")]
    assert [entities(p) for p in passages] == [[("EU", "ORG", 0, 2)], [("New York", "LOC", 0, 8)]]


def test_chinese_characters_are_joined_and_white_space_may_be_a_token(write):
    lines = "在 O\n胡 B-PER\n锦 I-PER\n涛 I-PER\n  O\n\u3000 O\n[ O\n京 S-LOC\n。 O\n"
    (passage,) = load_corpus(write(lines, "msra.txt"), "zh").passages
    assert passage.text == "在胡锦涛 \u3000[京。"
    assert entities(passage) == [("胡锦涛", "PER", 1, 4), ("京", "LOC", 7, 8)]


def test_a_tagged_file_may_begin_with_a_bracket(write):
    assert load_corpus(write("[ O\nAda B-per\n", "a.txt"), "en").passages[0].text == "[ Ada"
    assert load_corpus(write("{ O\nAda B-per\n", "a.txt"), "en").passages[0].text == "{ Ada"


@pytest.mark.parametrize("tags", ["B-a L-a U-b B-b", "B-a E-a S-b S-b", "B-a I-a B-b B-b", "I-a I-a I-b B-b"])
def test_other_prefixes(write, tags):
    lines = "\n".join(f"{token} {tag}" for token, tag in zip("wxyz", tags.split(), strict=True))
    found = entities(load_corpus(write(lines, "a.txt"), "en").passages[0])
    assert found == [("w x", "a", 0, 3), ("y", "b", 4, 5), ("z", "b", 6, 7)]


def bio(spans, length: int) -> list[str]:
    tags = ["O"] * length
    for start, end, type_ in spans:
        tags[start:end] = [f"B-{type_}"] + [f"I-{type_}"] * (end - start - 1)
    return tags


def iob1(spans, length: int) -> list[str]:
    """B- only where an entity follows one of its type at once."""
    tags = bio(spans, length)
    ends = {(end, type_) for _, end, type_ in spans}
    for start, _, type_ in spans:
        if (start, type_) not in ends:
            tags[start] = f"I-{type_}"
    return tags


def bioes(spans, length: int) -> list[str]:
    tags = bio(spans, length)
    for start, end, type_ in spans:
        tags[end - 1] = f"{'S' if end - start == 1 else 'E'}-{type_}"
    return tags


@st.composite
def tagged(draw):
    """Tokens, and entity spans over them that do not overlap."""
    tokens = draw(st.lists(st.text("ab京#[{-O'", min_size=1, max_size=3), min_size=1, max_size=12))
    spans, position = [], 0
    while position < len(tokens):
        length = draw(st.integers(1, 3))
        type_ = draw(st.sampled_from([None, "person", "event-date", "地 名"]))
        if type_ and position + length <= len(tokens):
            spans.append((position, position + length, type_))
        position += length
    return tokens, spans or [(0, 1, "person")]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tagged(), st.sampled_from([bio, iob1, bioes]), st.sampled_from(["en", "zh"]))
def test_tags_of_any_spans_are_read_back(write, sentence, scheme, language):
    tokens, spans = sentence
    # A type with a blank needs tabs between the columns.
    lines = [f"{token}\t{tag}" for token, tag in zip(tokens, scheme(spans, len(tokens)), strict=True)]
    (passage,) = load_corpus(write("\n".join(lines), "a.txt"), language).passages
    space = " " if language == "en" else ""
    assert passage.text == space.join(tokens)
    expected = []
    for first, last, type_ in spans:
        start = len("".join(token + space for token in tokens[:first]))
        mention = space.join(tokens[first:last])
        expected.append(Entity(mention, type_, start, start + len(mention)))
    assert list(passage.entities) == expected
