"""Corpora of the Hub: at a commit, with label names, and without running loading scripts."""

import json

import pytest
from conftest import HUB
from corpus_forms import ADA, CITY, CLASS_LABELS, CLASS_ROWS, OSLO, chat, entities
from datasets import ClassLabel, Dataset, Features, List, Value

from ra_ner.corpora.sources import load_corpus
from ra_ner.errors import UserError


def test_sharegpt_json_of_the_hub_is_read_at_a_commit(hub):
    rows = [chat("Text: Ada", "ok", "What describes person in the text?", '["Ada"]', id=f"r{i}") for i in range(3)]
    hub.create("dataset", "others/readers-chat")
    first = hub.put("dataset", "others/readers-chat", {"train.json": json.dumps(rows).encode()})
    second = hub.put("dataset", "others/readers-chat", {"train.json": json.dumps(rows[:2]).encode()})
    source = load_corpus("others/readers-chat", "en")
    assert (source.commit, [p.id for p in source.passages]) == (second, ["r0", "r1"])
    pinned = load_corpus("others/readers-chat", "en", revision=first)
    assert (pinned.commit, len(pinned.passages)) == (first, 3)


def test_cluener_of_the_hub(hub):
    rows = [
        {"text": "叶老桂", "label": {"name": {"叶老桂": [[0, 2]]}}},
        {"text": "浙商", "label": {"company": {"浙商": [[0, 1]]}}},
    ]
    hub.create("dataset", "others/readers-cluener")
    content = "\n".join(json.dumps(row) for row in rows).encode()
    hub.put("dataset", "others/readers-cluener", {"train.jsonl": content})
    source = load_corpus("others/readers-cluener", "zh")
    assert [p.pairs for p in source.passages] == [[("叶老桂", "name")], [("浙商", "company")]] and not source.counts


def test_class_labels_of_the_hub(hub):
    Dataset.from_dict(CLASS_ROWS, CLASS_LABELS).push_to_hub("tester/readers-labels", split="test")
    source = load_corpus("tester/readers-labels", "en", split="test")
    assert entities(source.passages[0]) == [("Ada Lovelace", "PER", 0, 12)]
    assert source.passages[0].id == "readers-labels-test-0"
    with pytest.raises(UserError, match="split 'train' of dataset 'tester/readers-labels' can't be read .*test"):
        load_corpus("tester/readers-labels", "en")


def test_class_labels_inside_lists_of_objects(hub):
    spans = List({"start": Value("int64"), "end": Value("int64"), "label": ClassLabel(names=["city", "person"])})
    marked = [{"start": 0, "end": 3, "label": 1}, {"start": 9, "end": 13, "label": 0}]
    rows = {"text": [OSLO, "Yes."], "entities": [marked, []]}
    Dataset.from_dict(rows, Features({"text": Value("string"), "entities": spans})).push_to_hub("tester/readers-spans")
    source = load_corpus("tester/readers-spans", "en")
    assert [entities(passage) for passage in source.passages] == [[ADA, CITY], []]


def test_the_license_that_the_card_names(hub):
    row = chat("Text: Ada", "ok", "What describes person in the text?", '["Ada"]')
    hub.create("dataset", "others/readers-license")
    card = b"---\nlicense: cc-by-nc-4.0\n---\n"
    hub.put("dataset", "others/readers-license", {"train.json": json.dumps([row]).encode(), "README.md": card})
    assert load_corpus("others/readers-license", "en").license == "cc-by-nc-4.0"


def test_numbers_that_a_label_file_names(hub, tmp_path):
    Dataset.from_dict({"tokens": [["Ada", "Lovelace", "ran"]], "tags": [[1, 2, 0]]}).to_parquet(
        tmp_path / "rows.parquet"
    )
    files = {"train.parquet": (tmp_path / "rows.parquet").read_bytes()}
    hub.create("dataset", "others/readers-tner")
    hub.put("dataset", "others/readers-tner", files)
    with pytest.raises(UserError, match="the tags are numbers without a name"):
        load_corpus("others/readers-tner", "en")
    hub.put("dataset", "others/readers-tner", {"dataset/label.json": b"[]"})
    with pytest.raises(UserError, match="dataset/label.json of .* is not a JSON object of names and numbers"):
        load_corpus("others/readers-tner", "en")
    labels = {"O": 0, "B-PER": 1, "I-PER": 2}
    hub.put("dataset", "others/readers-tner", {"dataset/label.json": json.dumps(labels).encode()})
    assert entities(load_corpus("others/readers-tner", "en").passages[0]) == [("Ada Lovelace", "PER", 0, 12)]


def test_a_private_or_gated_source_asks_for_a_token(hub, monkeypatch):
    hub.create("dataset", "others/readers-private", private=True)
    with pytest.raises(UserError, match="private and the token can't see it: check the id, or log in"):
        load_corpus("others/readers-private", "en")


def put_script(repo_id: str, tmp_path, configs: list[str]) -> tuple[str, str]:
    """A loading script with the Parquet copy of its configs; returns the commits of both."""
    Dataset.from_dict(CLASS_ROWS, CLASS_LABELS).to_parquet(tmp_path / "rows.parquet")
    HUB.create("dataset", repo_id)
    script = HUB.put("dataset", repo_id, {f"{repo_id.split('/')[1]}.py": b"raise SystemExit"})
    rows = (tmp_path / "rows.parquet").read_bytes()
    files = {f"{config}/train/0000.parquet": rows for config in configs}
    return script, HUB.repos["dataset", repo_id].commit("refs/convert/parquet", files, "Convert").sha


def test_the_parquet_copy_of_a_loading_script(hub, tmp_path):
    script, copy = put_script("others/readers-script", tmp_path, ["readers"])
    source = load_corpus("others/readers-script", "en")
    assert source.commit == copy and entities(source.passages[0]) == [("Ada Lovelace", "PER", 0, 12)]
    assert load_corpus("others/readers-script", "en", revision=copy) == source
    with pytest.raises(UserError, match="is a loading script at .* leave out the revision"):
        load_corpus("others/readers-script", "en", revision=script)


def test_a_loading_script_without_a_copy_or_with_several_configs(hub, tmp_path):
    put_script("others/readers-two", tmp_path, ["en", "zh"])
    with pytest.raises(UserError, match="several configs; choose one of en, zh"):
        load_corpus("others/readers-two", "en")
    assert entities(load_corpus("others/readers-two", "en", config="zh").passages[0]) == [
        ("Ada Lovelace", "PER", 0, 12)
    ]
    with pytest.raises(UserError, match="has no en/test, only en/train, zh/train"):
        load_corpus("others/readers-two", "en", split="test", config="en")
    put_script("others/readers-none", tmp_path, [])
    del hub.repos["dataset", "others/readers-none"].branches["refs/convert/parquet"]
    with pytest.raises(UserError, match="is a loading script, and its Parquet copy .* can't be read"):
        load_corpus("others/readers-none", "en")


def test_what_is_neither_a_file_nor_on_the_hub(hub):
    for source in ("others/readers-missing", "data/no/such/file.jsonl"):
        with pytest.raises(
            UserError, match=f"{source}' is not a file in /.* or beside the recipe, and not readable on the Hub: "
        ):
            load_corpus(source, "en")
    hub.create("dataset", "others/readers-empty")
    with pytest.raises(UserError, match="others/readers-empty' can't be read .*data files"):
        load_corpus("others/readers-empty", "en")


def test_a_cached_commit_is_not_taken_for_another(hub, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    row = chat("Text: Ada", "ok", "What describes person in the text?", '["Ada"]')
    hub.create("dataset", "others/readers-cached")
    hub.put("dataset", "others/readers-cached", {"train.json": json.dumps([row]).encode()})
    load_corpus("others/readers-cached", "en")
    hub.put("dataset", "others/readers-cached", {"train.json": json.dumps([row, row]).encode()})
    hub.fail("GET .*/tree/", status=500, times=1000)
    with pytest.raises(UserError, match="can't be read.*run this again later"):
        load_corpus("others/readers-cached", "en")
    hub.heal()
    assert len(load_corpus("others/readers-cached", "en").passages) == 2
