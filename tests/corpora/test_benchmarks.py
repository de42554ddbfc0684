"""The table of benchmarks, and benchmarks that the user has."""

import json

import pytest
from conftest import HUB
from datasets import ClassLabel, Dataset, Features, List, Value

from ra_ner.corpora.benchmarks import BENCHMARKS, load_benchmark
from ra_ner.errors import UserError

LABELS = Features(
    {"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-programlang", "B-misc"]))}
)


def test_the_papers_benchmarks_are_there():
    names = {language: {n for n, e in BENCHMARKS.items() if e.language == language} for language in ("en", "zh")}
    domains = ("ai", "literature", "music", "politics", "science")
    assert names["en"] == {"sample_en", "mit_movie", "mit_restaurant", *(f"crossner_{domain}" for domain in domains)}
    assert names["zh"] == {
        "sample_zh",
        *("ontonotes4", "msra", "weibo", "boson", "cluener", "cmeee", "renminribao", "yidu"),
    }
    for entry in BENCHMARKS.values():
        words = list((entry.words or {}).values())
        assert len(words) == len(set(words)) and all(words), "two labels with the same words could not be told apart"


def test_a_benchmark_of_the_hub(hub, tmp_path):
    """CrossNER's repo is a loading script; each config is read from the Hub's Parquet copy."""
    rows = {"tokens": [["Ada", "is", "old"]], "ner_tags": [[1, 0, 2]]}
    Dataset.from_dict(rows, LABELS).to_parquet(tmp_path / "rows.parquet")
    hub.create("dataset", "DFKI-SLT/cross_ner")
    hub.put("dataset", "DFKI-SLT/cross_ner", {"cross_ner.py": b"raise SystemExit"})
    content = (tmp_path / "rows.parquet").read_bytes()
    files = {f"{config}/{split}/0000.parquet": content for config in ("ai", "music") for split in ("train", "test")}
    HUB.repos["dataset", "DFKI-SLT/cross_ner"].commit("refs/convert/parquet", files, "Convert")
    benchmark = load_benchmark("crossner_ai", "en")
    assert benchmark.test[0].types == ["programming language", "misc"] and len(benchmark.train) == 1
    assert "programming language" in benchmark.types and "misc" not in benchmark.types and benchmark.labels == "ra_ner"
    with pytest.raises(UserError, match="crossner_music: label 'programlang' has no words; add it to labels.json"):
        load_benchmark("crossner_music", "en")


def test_files_that_the_user_has_in_any_form(tmp_path):
    (tmp_path / "test.txt").write_text("Ada B-PER\nran O\n", encoding="utf-8")
    with pytest.raises(UserError, match="is not on the Hub: get its files and write msra=PATH"):
        load_benchmark("msra", "zh")
    benchmark = load_benchmark(f"msra={tmp_path}", "zh")
    assert (benchmark.name, benchmark.test[0].types, benchmark.train) == ("msra", ["人名"], [])
    assert load_benchmark(f"msra={tmp_path / 'test.txt'}", "zh").types == ["地名", "机构名", "人名"]
    opened = load_benchmark(str(tmp_path), "en")
    assert (opened.types, opened.labels, opened.test[0].types) == (None, "open", ["PER"])
    (tmp_path / "labels.json").write_text(json.dumps({"PER": "human being"}))
    own = load_benchmark(f"msra={tmp_path}", "zh")
    assert (own.types, own.labels) == (["human being"], "labels.json")


@pytest.mark.parametrize(
    "labels", [b'{"PER": null}', b'{"PER": " "}', b'{"PER": ["a"]}', b'["PER"]', b'{"PER"', b"\xff"]
)
def test_labels_that_give_no_words(tmp_path, labels):
    (tmp_path / "test.txt").write_text("Ada B-PER\n", encoding="utf-8")
    (tmp_path / "labels.json").write_bytes(labels)
    with pytest.raises(UserError, match=r'labels.json: it must map each label to the words .* \{"PER": "person"\}'):
        load_benchmark(str(tmp_path), "en")


def test_what_is_no_benchmark(tmp_path):
    with pytest.raises(UserError, match="unknown benchmark crossner_musik; did you mean crossner_music"):
        load_benchmark("crossner_musik", "en")
    with pytest.raises(UserError, match="benchmark msra is in zh, the recipe's language is en"):
        load_benchmark("msra", "en")


def test_the_real_benchmarks_have_words_for_every_label(shared):
    for folder in sorted(shared.glob("data/*/*")):
        if folder.name in BENCHMARKS:
            entry = BENCHMARKS[folder.name]
            labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
            assert {label.lower() for label in labels} == entry.words.keys(), folder.name
