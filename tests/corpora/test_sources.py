"""Reading a corpus: our own rows, malformed rows, and what looks misread."""

import json

import pytest
from corpus_forms import OWN, entities
from datasets import Dataset

from ra_ner.corpora.sources import load_corpus
from ra_ner.errors import UserError


def test_our_corpus_as_lines_array_and_parquet(write, tmp_path):
    path = write([OWN])
    Dataset.from_list([OWN]).to_parquet(tmp_path / "corpus.parquet")
    for source in (path, write(json.dumps([OWN], indent=1), "corpus.json"), str(tmp_path / "corpus.parquet")):
        assert load_corpus(source, "en").passages == load_corpus(path, "en").passages


def test_a_parquet_file_rebuilt_under_its_name_is_read_anew(tmp_path):
    for text in ("Ada met Ada.", "Ada left."):
        Dataset.from_list([{**OWN, "text": text}]).to_parquet(tmp_path / "corpus.parquet")
        assert load_corpus(str(tmp_path / "corpus.parquet"), "en").passages[0].text == text


def own(**change) -> dict:
    return {**OWN, "entities": [{**OWN["entities"][0], **change}]}


def test_offsets_may_be_unknown(write):
    passage = load_corpus(write([own(start=None, end=None)]), "en").passages[0]
    assert entities(passage) == [("Ada", "person", None, None)]


@pytest.mark.parametrize(
    "row, message",
    [
        ([1], "unknown form"),
        (own(start=1, end=4), r"text\[1:4\] is not that mention"),
        (own(end=None), "both must be whole numbers"),
        (own(start="0"), "both must be whole numbers"),
        (own(type=""), "is not the name of a type"),
        (own(text=""), "a mention must be a non-empty string"),
    ],
)
def test_a_wrong_row_of_our_own_is_named(write, row, message):
    with pytest.raises(UserError, match=message) as error:
        load_corpus(write([row]), "en")
    assert "corpus.jsonl" in str(error.value)


def test_every_real_corpus_is_read(shared):
    files = sorted(shared.glob("data/*/*/*.jsonl"))
    assert files
    for file in files:
        assert load_corpus(str(file), file.parts[-3]).passages


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"id": "1"}\n{"id', "unknown form"),
        (json.dumps(OWN) + '\n{"id', "1 of 2 rows are malformed.* line 2: not JSON"),
        ('[\n{"id": "1"},\n{"id"]', "line 3: not JSON .* is needed"),
        ('{"a": ' + "[" * 100_000, "line 1: not JSON"),
        ("nothing known", "unknown form. Known are: {id, text, entities}; CoNLL text.*ShareGPT.*CLUENER.*CMeEE"),
        ('{"txt": "Ada"}', "unknown form. Known are: .*"),
        ("", "is empty; a corpus needs"),
        ("\n\n", "is empty; a corpus needs"),
        (b"\xff\xfe\x00", "can't be read .* UTF-8"),
        ("EU O\nrejects B-", "unknown form"),
        ("EU O\nrejects", "line 2: a line must hold a token and its tag"),
        ("EU O", "no passage has an entity"),
        ([{"tokens": ["Ada"], "tags": ["PER"]}], "the tags follow no scheme that is known .'PER'"),
        ([{"tokens": ["Ada"], "tags": [1]}], "the tags are numbers without a name"),
        ([{"conversations": []}], r"none of its 1 rows is a valid ShareGPT"),
        ([{**OWN, "entities": [1]}], "row 1: an entity is"),
        ([{**OWN, "entities": 1}], "unknown form"),
        ([OWN, {**OWN, "text": " "}], "line 2: entity 'Ada'"),
        ([OWN, {**OWN, "text": " ", "entities": []}], "line 2: the text is empty"),
    ],
)
def test_bad_files_are_refused_in_one_line(write, content, message):
    with pytest.raises(UserError, match=message) as error:
        load_corpus(write(content), "en")
    assert "corpus.jsonl" in str(error.value) and "\n" not in str(error.value)


def test_a_folder_and_a_broken_parquet_file(write, tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        load_corpus(str(tmp_path), "en")
    with pytest.raises(UserError, match="a.parquet: can't be read"):
        load_corpus(write("no Parquet", "a.parquet"), "en")
