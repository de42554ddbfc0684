"""Rows of tokens, with tags or with entities over token positions."""

import pytest
from corpus_forms import CLASS_LABELS, CLASS_ROWS, entities
from datasets import Dataset, Features, List, Value

from ra_ner.corpora.sources import SKIPPED, load_corpus
from ra_ner.errors import UserError


def test_tokens_with_class_labels_and_with_strings(write, tmp_path):
    Dataset.from_dict(CLASS_ROWS, CLASS_LABELS).to_parquet(tmp_path / "a.parquet")
    rows = [
        {"tokens": ["Ada", "Lovelace", "wrote"], "tags": ["B-PER", "I-PER", "O"]},
        {"tokens": ["Yes"], "tags": ["O"]},
    ]
    expected = load_corpus(write(rows, "a.json"), "en").passages
    assert entities(expected[0]) == [("Ada Lovelace", "PER", 0, 12)] and expected[1].entities == ()
    assert load_corpus(str(tmp_path / "a.parquet"), "en").passages == expected


def test_a_row_with_too_few_tags_is_skipped(write):
    rows = [*[{"tokens": ["Ada"], "tags": ["B-PER"]}] * 4, {"tokens": ["Ada", "ran"], "tags": ["B-PER"]}]
    assert load_corpus(write(rows), "en").counts == {SKIPPED: 1}


def test_numbers_without_names_are_refused(tmp_path):
    numbers = Features({"tokens": List(Value("string")), "tags": List(Value("int32"))})
    Dataset.from_dict({"tokens": [["Ada"]], "tags": [[3]]}, numbers).to_parquet(tmp_path / "a.parquet")
    unlabelled = {"tokens": [["Ada"]], "ner_tags": [[-1]]}
    Dataset.from_dict(unlabelled, CLASS_LABELS).to_parquet(tmp_path / "b.parquet")
    for name, tag in (("a", 3), ("b", -1)):
        with pytest.raises(UserError, match=f"the tags are numbers without a name .{tag}, .*`labels: FILE`"):
            load_corpus(str(tmp_path / f"{name}.parquet"), "en")
