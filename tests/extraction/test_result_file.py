"""The output of a long job: continued after any kill, and never mixed with anything else."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_ner.errors import UserError
from ra_ner.extraction.result_file import ResultFile

SETTINGS = {"types": ["person"], "k": 2}


def rows(count: int) -> list[dict]:
    return [{"text": f"Text {i}"} for i in range(count)]


def run(path, texts, batch_size: int, stop_after: int | None = None, **changed) -> list[list[str]]:
    """Append results batch by batch; returns the texts of each batch."""
    file = ResultFile(path, SETTINGS | changed, batch_size)
    done, left = file.skip_done(iter(texts))
    left, batches = list(left), []
    assert not left or left == texts[done:]
    for start in range(0, len(left), batch_size):
        if stop_after is not None and start >= stop_after:
            break
        batch = left[start : start + batch_size]
        file.append([json.dumps({**row, "entities": []}) for row in batch])
        batches.append([row["text"] for row in batch])
    return batches


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 13), st.integers(1, 5), st.data())
def test_a_job_cut_at_any_byte_continues_with_whole_batches(tmp_path_factory, count, size, data):
    folder = tmp_path_factory.mktemp("job")
    batches = run(folder / "a.jsonl", rows(count), size)
    whole = (folder / "a.jsonl").read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    (folder / "a.jsonl").write_bytes(whole[:cut])
    again = run(folder / "a.jsonl", rows(count), size)
    assert (folder / "a.jsonl").read_bytes() == whole
    assert again == batches[len(batches) - len(again) :], "each batch is asked about as before"
    assert [row["text"] for row in ResultFile(folder / "a.jsonl", SETTINGS, size)] == [r["text"] for r in rows(count)]


def test_nothing_is_asked_twice(tmp_path):
    file = tmp_path / "new" / "a.jsonl"
    assert len(run(file, rows(10), 4, stop_after=4)) == 1
    assert len(run(file, rows(10), 4)) == 2 and run(file, rows(10), 4) == []
    assert run(file, rows(12), 4) == [["Text 8", "Text 9", "Text 10", "Text 11"]], "the input has grown"


def test_other_settings_texts_and_files_are_refused(tmp_path):
    file = tmp_path / "a.jsonl"
    run(file, rows(10), 2)
    with pytest.raises(UserError, match=r"was begun with another setting of types; name another output"):
        run(file, rows(10), 2, types=["city"])
    with pytest.raises(UserError, match="holds results of other texts"):
        run(file, [{"text": "Other"}] * 10, 2)
    with pytest.raises(UserError, match="holds results of other texts"):
        run(file, rows(3), 2)
    for changed in (0, 4, 9):  # each text counts, also of a batch that is not whole
        texts = [{"text": "Other"} if i == changed else row for i, row in enumerate(rows(10))]
        with pytest.raises(UserError, match="holds results of other texts"):
            run(file, texts, 4)
    run(tmp_path / "empty.jsonl", rows(4), 2, stop_after=0)  # it failed before the first result
    assert len(run(tmp_path / "empty.jsonl", rows(4), 2, types=["city"])) == 2
    (tmp_path / "mine.jsonl").write_text("precious")
    with pytest.raises(UserError, match="exists and is no output that can be continued"):
        run(tmp_path / "mine.jsonl", rows(2), 2)
    assert (tmp_path / "mine.jsonl").read_text() == "precious"


def test_a_disk_that_is_full_in_the_middle_of_a_batch_is_an_error(tmp_path):
    """A system may write a part of what it is given, and say how much: here up to the most bytes of a file."""
    code = (
        "import resource, sys; from pathlib import Path; from ra_ner.extraction.result_file import ResultFile\n"
        "file = ResultFile(Path(sys.argv[1]), {}, 1)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "file.append(['x' * 200])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.jsonl")], capture_output=True, text=True)
    assert done.returncode and "File too large" in done.stderr
