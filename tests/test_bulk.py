"""Extraction by several processes."""

import json
from functools import partial

import processes
import pytest
from processes import join

from ra_ner.bulk import to_json


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    rows = [{"id": i, "text": f"Ada met Bob in town {i}. " * (1 + i % 3)} for i in range(11)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_two_processes_write_what_one_writes(finished, texts, tmp_path):
    """Eleven texts in batches of two: in the last round one process has nothing to do."""
    args = [texts, "--model", "outputs/quickstart/adapter", "--types", "person,city", "--max_new_tokens", 8]
    args += ["--examples", "data/sample/en.jsonl", "--strategy", "nn", "--batch_size", 2]
    assert join([processes.start(finished, "extract", *args, "--output", tmp_path / "one.jsonl")]) == [0]
    ranks = partial(processes.start_ranks, finished, script="extract")
    assert join(ranks(tmp_path / "logs", *args, "--output", tmp_path / "two.jsonl")) == [0, 0]
    one = (tmp_path / "one.jsonl").read_bytes()
    assert [json.loads(line)["id"] for line in one.splitlines()] == list(range(11))
    assert (tmp_path / "two.jsonl").read_bytes() == one
    assert join(ranks(tmp_path / "again", *args)) == [2, 2]
    assert "several processes need a file as input, and --output" in (tmp_path / "again" / "0").read_text()


def test_a_process_may_have_no_text_at_all(finished, tmp_path):
    """Not even then is it missing where the pool is encoded."""
    (tmp_path / "texts.jsonl").write_text('{"text": "Ada met Bob."}\n')
    (tmp_path / "pool.jsonl").write_bytes((finished / "data" / "sample" / "zh.jsonl").read_bytes())  # not cached yet
    args = [tmp_path / "texts.jsonl", "--model", "outputs/quickstart/adapter", "--types", "person", "--strategy", "nn"]
    args += ["--examples", tmp_path / "pool.jsonl", "--max_new_tokens", 2, "--output", tmp_path / "out.jsonl"]
    options = {"script": "extract", "environment": {"HF_HOME": str(tmp_path / "cache")}}
    assert join(processes.start_ranks(finished, tmp_path / "logs", *args, **options)) == [0, 0]
    assert len(json.loads((tmp_path / "out.jsonl").read_text())["examples_used"]) == 2


def test_any_text_can_be_written_as_utf_8():
    row = {"text": "half \ud83d", "when": pytest}
    assert json.loads(to_json(row).encode())["text"] == "half \ud83d"
