"""Reading passages: what is taken, what is refused."""

import json

import pytest
from conftest import passage

from ra_ner.corpora.sources import read_corpus
from ra_ner.errors import UserError
from ra_ner.passage import fingerprint, merge_duplicates, sample

GOOD = {"id": "1", "text": "Ada met Ada.", "entities": [{"text": "Ada", "type": "person", "start": 0, "end": 3}]}


def write(tmp_path, *rows):
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_repeats_are_kept_and_views_are_distinct():
    ada = passage("Ada met Bo and Ada.", ("Ada", "person"), ("Bo", "dog"), ("Ada", "person"))
    assert len(ada.entities) == 3
    assert ada.pairs == [("Ada", "person"), ("Bo", "dog")]
    assert ada.types == ["person", "dog"]
    assert ada.mentions("person") == ["Ada"]


def test_offsets_may_be_unknown(tmp_path):
    row = {**GOOD, "entities": [{"text": "Ada", "type": "person", "start": None, "end": None}]}
    assert read_corpus(write(tmp_path, row))[0].entities[0].start is None


def entity(**change):
    return {**GOOD, "entities": [{**GOOD["entities"][0], **change}]}


@pytest.mark.parametrize(
    "rows, message",
    [
        (["{"], "line 1"),
        ([GOOD, "nonsense"], "line 2"),
        ([[1]], "a passage is"),
        ([{**GOOD, "text": " "}], "the text is empty"),
        ([{**GOOD, "txt": "x"}], "a passage is"),
        ([entity(start=1, end=4)], r"text\[1:4\] is not that mention"),
        ([entity(end=None)], "one offset"),
        ([entity(start="0")], "is not that mention"),
        ([entity(type="")], "non-empty strings"),
        ([GOOD, GOOD], "is repeated"),
        ([{**GOOD, "entities": []}], "no passage has an entity"),
        ([], "no passages"),
    ],
)
def test_bad_corpora_are_refused_with_the_line(tmp_path, rows, message):
    with pytest.raises(UserError, match=message) as error:
        read_corpus(write(tmp_path, *rows))
    assert "corpus.jsonl" in str(error.value)


def test_a_missing_and_a_binary_file(tmp_path):
    with pytest.raises(UserError, match="can't be read"):
        read_corpus(tmp_path / "none.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="can't be read"):
        read_corpus(tmp_path / "binary")


def test_sampling_follows_the_seed():
    passages = [passage(f"text {i}", id=str(i)) for i in range(50)]
    assert sample(passages, 5, 1) == sample(passages, 5, 1) != sample(passages, 5, 2)
    assert sample(passages, 10, 1)[:5] == sample(passages, 5, 1)
    assert sorted(p.id for p in sample(passages, None, 1)) == sorted(p.id for p in passages)


def test_duplicate_texts_are_merged_with_the_entities_of_all():
    first, second = passage("Ada", ("Ada", "person"), id="1"), passage("Ada", ("Ada", "programmer"), id="2")
    (merged,) = merge_duplicates([first, second])
    assert merged.id == "1" and merged.types == ["person", "programmer"]


def test_the_fingerprint_tells_contents_apart():
    one, other = passage("Ada", ("Ada", "person")), passage("Ada", ("Ada", "woman"))
    assert fingerprint([one]) == fingerprint([one]) != fingerprint([other])
