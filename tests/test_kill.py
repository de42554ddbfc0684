"""SIGKILL at random moments and a full disk: nothing half-written is taken for whole, and a re-run completes."""

import json
import random
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path

import processes
import pytest
from conftest import content, run_command

from ra_ner.errors import clear_errors
from ra_ner.output_folder import new_folder

RECIPE = "recipes/quickstart.yaml"
KILLS = 20


@pytest.fixture(scope="module")
def start(finished):
    """Start a script as a process of its own, in the finished workplace."""
    return partial(processes.start, finished)


def kill_many_times(start, check, script: str, *args: object) -> int:
    """Run a script to its end, then kill it `KILLS` times at moments spread over its run; `check` after each kill.

    A run that ended before its kill came does not count. Returns how many runs were begun.
    """
    begun = time.monotonic()
    process = start(script, *args)
    process.join()
    assert process.exitcode == 0
    length = time.monotonic() - begun
    rng, kills, runs = random.Random(script), 0, 0
    while kills < KILLS:
        runs += 1
        assert runs < 10 * KILLS, "the script is faster than its killer"
        process = start(script, *args)
        process.join(rng.uniform(0, length))
        process.kill()
        process.join()
        kills += process.exitcode == -9
        check(finished=process.exitcode == 0)
    return runs


def test_a_killed_build_leaves_the_old_dataset_or_the_new_one_or_none(start, tmp_path):
    folder = tmp_path / "dataset"
    args = [RECIPE, "--output_dir", folder]
    process = start("build", *args)
    process.join()
    whole = content(folder)
    assert len(whole) == 5

    def check(finished: bool) -> None:
        assert not folder.exists() or content(folder) == whole

    kill_many_times(start, check, "build", *args)
    process = start("build", *args)
    process.join()
    assert content(folder) == whole, "a re-run ends in the same bytes"
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"], "and clears up after the killed ones"


def test_a_killed_evaluation_ends_in_the_same_scores(start, tmp_path):
    folder = tmp_path / "evaluation"
    args = [RECIPE, "--models", "adapter", "--limit", 8, "--max_new_tokens", 16, "--output_dir", folder]
    results = ("predictions.jsonl", "scores.json", "report.md")
    process = start("evaluate", *args)
    process.join()
    whole = {name: (folder / name).read_bytes() for name in results}
    queries = len(whole["predictions.jsonl"].splitlines())
    shutil.rmtree(folder)
    resumed_from: set[int] = set()

    def check(finished: bool) -> None:
        assert all((folder / name).read_bytes() == whole[name] for name in results if (folder / name).exists())
        journal = folder / "answers.jsonl"
        lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
        assert all(json.loads(line).keys() == {"key", "answer"} for line in lines)
        if finished or len(lines) == queries:  # all is answered: begin again, so that kills also hit the asking
            shutil.rmtree(folder)
        else:
            resumed_from.add(len(lines))

    kill_many_times(start, check, "evaluate", *args)
    process = start("evaluate", *args)
    process.join()
    assert {name: (folder / name).read_bytes() for name in results} == whole
    assert len(resumed_from) > 2, "kills came in the middle of the work"


def test_a_killed_extraction_ends_in_the_same_bytes(start, tmp_path):
    texts, output = tmp_path / "texts.jsonl", tmp_path / "entities.jsonl"
    texts.write_text(
        "".join(json.dumps({"text": f"Ada met Bob in town {i}. " * (1 + i % 3)}) + "\n" for i in range(40))
    )
    adapter = ["--model", "outputs/quickstart/adapter", "--types", "person,city", "--max_new_tokens", 8]
    args = [texts, *adapter, "--examples", "data/sample/en.jsonl", "--strategy", "nn", "--output", output]
    process = start("extract", *args)
    process.join()
    whole = output.read_bytes()
    output.unlink()
    resumed_from: set[int] = set()

    def check(finished: bool) -> None:
        written = output.read_bytes() if output.exists() else b""
        assert whole.startswith(written) and (written == whole or not finished)
        resumed_from.add(written.count(b"\n"))
        if written == whole:
            output.unlink()

    kill_many_times(start, check, "extract", *args)
    process = start("extract", *args)
    process.join()
    assert output.read_bytes() == whole and len(whole.splitlines()) == 40
    assert len(resumed_from) > 2, "kills came in the middle of the work"


def without_card(adapter: Path) -> dict[str, bytes]:
    """Files of an adapter but for its card, which tells how long the run took."""
    return {name: data for name, data in content(adapter).items() if name != "README.md"}


def trace(run: Path) -> list[float]:
    state = json.loads((run / "checkpoints" / "checkpoint-6" / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


def test_a_killed_training_resumes_to_the_same_weights(start, tmp_path):
    run, reference = tmp_path / "run", tmp_path / "reference"
    steps = ["--max_steps", 6, "--save_steps", 1, "--logging_steps", 1, "--save_total_limit", 2]
    process = start("train", RECIPE, "--output_dir", reference, *steps)
    process.join()
    assert process.exitcode == 0
    whole = without_card(reference / "adapter")
    resumed_from: set[str] = set()

    def check(finished: bool) -> None:
        if (run / "adapter").exists():
            assert without_card(run / "adapter").keys() == whole.keys(), "an adapter is whole or not there"
        resumed_from.update(path.name for path in run.glob("checkpoints/checkpoint-*"))
        if finished:
            assert without_card(run / "adapter") == whole and trace(run) == trace(reference)
            shutil.rmtree(run)

    args = [RECIPE, "--output_dir", run, *steps, "--resume_from_checkpoint", "true"]
    kill_many_times(start, check, "train", *args)
    process = start("train", *args)
    process.join()
    assert process.exitcode == 0
    assert without_card(run / "adapter") == whole and trace(run) == trace(reference)
    assert len(resumed_from) > 2, "kills came in the middle of the work"


def test_an_error_while_writing_leaves_the_old_folder_as_it_was(tmp_path):
    with new_folder(tmp_path / "a", "dataset") as new:
        (new / "x").write_text("old")
    before = content(tmp_path)
    with pytest.raises(OSError), new_folder(tmp_path / "a", "dataset") as new:
        (new / "x").write_text("new")
        raise OSError("disk")
    assert content(tmp_path) == before and before["a/x"] == b"old"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB, which root alone can mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a small tmpfs can't be mounted here; run as root")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    "script, args",
    [
        ("build", ["--size", 168, "--strategy", "none"]),
        ("train", ["--max_steps", 2]),
        ("evaluate", ["--models", "base", "--limit", 40, "--max_new_tokens", 2]),
    ],
)
def test_a_full_disk_is_one_line_and_breaks_nothing(finished, small_disk, script, args, monkeypatch, capfd):
    monkeypatch.chdir(finished)
    (small_disk / "ballast").write_bytes(bytes(32_000))
    with pytest.raises(SystemExit) as stopped, clear_errors():
        run_command(script, RECIPE, "--output_dir", small_disk / "out", *args)
    assert stopped.value.code == 1
    assert "error: the disk is full; free some space" in capfd.readouterr().err
    left = content(small_disk)
    assert not [name for name in left if name.endswith((".parquet", "adapter_model.safetensors", "scores.json"))]
