"""Folders: a corpus and a benchmark take the same files for the train, dev and test part."""

import json

import pytest

from ra_ner.corpora.benchmarks import load_benchmark
from ra_ner.corpora.sources import load_corpus
from ra_ner.errors import UserError

PERSON = {"train": "Ada", "dev": "Bo", "val": "Bo", "test": "Cy"}


def write(folder, names):
    """A file of each name, with the person of the part that its name says; for brat an .ann file and its text."""
    for name in names.split():
        file = folder / name
        person = next((person for part, person in PERSON.items() if part in name), "Di")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{person} B-person\nran O\n")
        if file.suffix == ".ann":
            file.write_text(f"T1\tperson 0 {len(person)}\t{person}\n")
            file.with_suffix(".txt").write_text(person)
    return str(folder)


def people(passages):
    return [entity.text for passage in passages for entity in passage.entities]


@pytest.mark.parametrize(
    "names",
    [
        "train.txt dev.txt test.txt",
        "engtrain.bio engtest.bio",
        "mine.train.conll mine.valid.conll mine.test.conll README.md test.conll~ test.conll.bak .train.conll.swp",
        "train/a.conll dev/a.conll test/a.conll notes.txt",
        "training/a.conll validation/a.conll testing/a.conll",
        "data/train-00000-of-00001.conll data/test-00000-of-00001.conll LICENSE state.json",
        "train/0.ann test/0.ann",
        "train.txt train/other.txt data/train.txt data/test.txt",
    ],
)
def test_a_corpus_and_a_benchmark_see_the_same_parts(tmp_path, names):
    path = write(tmp_path, names)
    benchmark = load_benchmark(path, "en")
    assert people(load_corpus(path, "en").passages) == people(benchmark.train) == ["Ada"]
    assert people(load_corpus(path, "en", split="test").passages) == people(benchmark.test) == ["Cy"]
    if "dev" in names or "val" in names:
        assert people(load_corpus(path, "en", split="validation").passages) == ["Bo"]


@pytest.mark.parametrize("names", ["people.conll", "people-1.conll people-2.conll", "1.ann 2.ann", "data/people.conll"])
def test_a_folder_that_names_no_parts_is_the_corpus_or_the_test_part(tmp_path, names):
    path = write(tmp_path, names)
    benchmark = load_benchmark(path, "en")
    assert people(load_corpus(path, "en").passages) == people(benchmark.test) == ["Di"] * len(names.split())
    assert benchmark.train == []


def test_the_parts_in_pieces_are_the_same(tmp_path):
    path = write(tmp_path, "train1.txt train2.txt test_a_1.txt test_a_2.txt")
    benchmark = load_benchmark(path, "en")
    assert people(load_corpus(path, "en").passages) == people(benchmark.train) == ["Ada", "Ada"]
    assert people(benchmark.test) == ["Cy", "Cy"] and benchmark.tested == "test_a_1.txt and test_a_2.txt"
    assert len({passage.id for passage in benchmark.test}) == 2, "their ids are told apart"


@pytest.mark.parametrize(
    "names, read, shown",
    [
        (
            "test.txt",
            load_corpus,
            "is a folder with test.txt, and none is named as its train part: name the file",
        ),
        ("train.txt", load_benchmark, "is a folder with train.txt, and none is named as its test part: name the file"),
        ("a.txt b.txt", load_benchmark, "is a folder with a.txt, b.txt, and none is named as its test part"),
        ("train_a.txt train_b.txt", load_corpus, "each of train_a.txt, train_b.txt could be the train part: name one"),
    ],
)
def test_no_part_takes_the_place_of_another(tmp_path, names, read, shown):
    """Else a model would be trained on a test part, or tested on a train part, without a word."""
    with pytest.raises(UserError, match=shown):
        read(write(tmp_path, names), "en")


def test_a_test_part_that_is_not_clear_is_no_matter_for_training(tmp_path):
    path = write(tmp_path, "train.txt test_east.txt test_west.txt")
    assert people(load_corpus(path, "en").passages) == ["Ada"]
    with pytest.raises(UserError, match="each of test_east.txt, test_west.txt could be the test part"):
        load_benchmark(path, "en")


def test_label_json_names_the_numbers_of_both(tmp_path):
    """As the datasets of tner have it."""
    (tmp_path / "label.json").write_text(json.dumps({"O": 0, "B-person": 1}))
    for part in ("train", "test"):
        (tmp_path / f"{part}.json").write_text(json.dumps({"tokens": [PERSON[part], "ran"], "tags": [1, 0]}))
    benchmark = load_benchmark(str(tmp_path), "en")
    assert people(load_corpus(str(tmp_path), "en").passages) == people(benchmark.train) == ["Ada"]
    assert benchmark.test[0].types == ["person"]
    assert load_corpus(str(tmp_path), "en").form.endswith(f"with the names of tags in {tmp_path / 'label.json'}")
    own = load_corpus(str(tmp_path), "en", tag_names={"0": "O", "1": "B-city"})
    assert own.passages[0].types == ["city"], "the user's own names come first"


def test_the_name_of_the_tested_file_is_its_place_in_the_folder(tmp_path):
    benchmark = load_benchmark(write(tmp_path, "train/0.conll test/0.conll"), "en")
    assert benchmark.tested == "test/0.conll"
    assert load_benchmark(write(tmp_path / "brat", "test/0.ann test/1.ann"), "en").tested == "test"
