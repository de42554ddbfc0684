"""A small study from start to end: killed and resumed, two cells at a time, with a changed recipe, a failing cell."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import run_command, write_recipe

from ra_ner.commands.study import main
from ra_ner.errors import UserError
from ra_ner.output_folder import LOCK
from ra_ner.recipe import load_recipe
from ra_ner.study.grid import load_grid
from ra_ner.study.run import STAGES, Study, check

GRID = "recipes/tiny.yaml"
CELLS = [f"tiny-{strategy}-seed{seed}" for seed in (1, 2) for strategy in ("none", "nn")]


def state() -> dict:
    path = Path("outputs/tiny/cells.json")
    return json.loads(path.read_text()) if path.exists() else {}


def unfinished(*overrides: str) -> list[tuple[str, str]]:
    """Stages that a run of the current grid would execute."""
    study = Study(load_grid(GRID, overrides))
    return [(cell.name, stage) for cell in study.grid.cells for stage in STAGES if not study._is_finished(cell, stage)]


@pytest.fixture(scope="module")
def study(workplace):
    """A study of two strategies and two seeds: killed by SIGKILL during a training, then run to its end by two jobs."""
    write_recipe(
        workplace / "recipes" / "tiny_base.yaml", extends="quickstart.yaml", evaluate={"settings": ["zero_shot"]}
    )
    write_recipe(workplace / GRID, recipes=["tiny_base.yaml"], axes={"dataset.strategy": ["none", "nn"]}, seeds=[1, 2])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        command = [sys.executable, "-m", "ra_ner", "study", GRID]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not list(Path("outputs", CELLS[1]).glob("checkpoints/checkpoint-*/ra_it.json")):
            assert process.poll() is None, "the study ended before it could be killed in its second training"
            time.sleep(0.02)
        process.kill()
        process.wait()
        killed = state()
        group = killed[CELLS[1]]["train"]["process_group"]
        os.killpg(group, 0)  # raises if the training does not go on
        status = main([GRID, "--jobs", "2", "--launch", "--num_processes", "1"])
        with pytest.raises(ProcessLookupError):
            os.killpg(group, 0)
        yield killed, status


@pytest.fixture
def here(study, workplace, monkeypatch):
    monkeypatch.chdir(workplace)


def test_a_killed_study_resumes_and_repeats_no_finished_stage(here, study):
    killed, status = study
    assert status == 0 and list(state()) == CELLS and unfinished() == []
    assert killed[CELLS[0]] == state()[CELLS[0]], "its stages had finished"
    first, training = (state()[CELLS[1]]["train"], killed[CELLS[1]]["train"])
    assert training["status"] == "begun" and first["seconds"] > training["seconds"], "seconds add up"
    assert "--resume_from_checkpoint last" in Path(f"outputs/tiny/logs/{CELLS[1]}.log").read_text()
    for name in CELLS:
        run = Path("outputs", name)
        assert sorted(path.name for path in run.iterdir()) == ["adapter", "dataset", "evaluation", "logs"]
        assert json.loads((run / "evaluation" / "scores.json").read_text())["config"]["models"] == ["adapter"]
        entries = state()[name]
        assert list(entries) == list(STAGES) and {entry["status"] for entry in entries.values()} == {"done"}
    assert state()[CELLS[1]]["train"]["tokens"] > state()[CELLS[0]]["train"]["tokens"] > 0, "examples cost tokens"


def test_a_finished_study_runs_nothing_and_says_where_everything_is(here, capsys):
    before = state()
    assert main([GRID]) == 0
    assert state() == before
    said = capsys.readouterr().out
    assert "4 of 4 cells are finished" in said
    for path in ("outputs/tiny/report.html", "outputs/tiny/recipes", "outputs/tiny/logs"):
        assert path in said and Path(path).exists()


@pytest.mark.parametrize("rest", [None, b"", b'{"tiny-none-seed1": {"dataset": {"sta', b"[]", b"null", b"\xff"])
def test_a_study_whose_state_is_lost_trains_no_finished_adapter_again(here, rest):
    path, kept = Path("outputs/tiny/cells.json"), state()
    path.unlink() if rest is None else path.write_bytes(rest)
    study = Study(load_grid(GRID))
    for cell in study.grid.cells:
        adapter = cell.output_dir / "adapter"
        before = adapter.stat()
        study.state[cell.name] = {"train": {}}
        list(study._run_stage(cell, "train", study.state[cell.name]["train"]))
        assert (adapter.stat().st_ino, adapter.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert state()[cell.name]["train"]["tokens"] == kept[cell.name]["train"]["tokens"]
        assert study._is_finished(cell, "train")
    changed = Study(load_grid(GRID, ["train.lora_r=4"]))
    assert {changed._tokens_trained(cell) for cell in changed.grid.cells} == {None}, "adapters of another recipe"
    path.write_text(json.dumps(kept))
    for cell in study.grid.cells:  # scores are made again from the journal; the other tests need them
        run_command("evaluate", study.grid.recipe_path(cell))


def test_a_study_writes_to_no_folder_of_the_users(here):
    folder = Path("outputs/occupied")
    write_recipe(Path("recipes/occupied.yaml"), recipes=["tiny_base.yaml"], axes={"k": [1]}, seeds=[1])
    folder.mkdir(parents=True)
    (folder / "report.md").write_text("of the user")
    with pytest.raises(UserError, match="outputs/occupied holds report.md"):
        main(["recipes/occupied.yaml"])
    assert os.listdir(folder) == ["report.md"] and (folder / "report.md").read_text() == "of the user"


def test_time_left_is_the_mean_of_comparable_stages(here):
    study = Study(load_grid(GRID, ["evaluate.limit=2"]))  # a changed key: every evaluation has to run again
    for name, minutes in zip(CELLS, (1, 10, 3, 30), strict=True):
        study.state[name]["evaluate"]["seconds"] = 60 * minutes
    assert study._time_left() == ", about 44 min left"
    study.state[CELLS[0]]["evaluate"] = {}
    assert study._time_left() == ", about 46 min left", "as long as the other seed of its group"
    digest = study.digest(study.grid.cells[0], "evaluate")
    study.state[CELLS[0]]["evaluate"] = {"status": "begun", "digest": digest, "seconds": 120}
    assert study._time_left() == ", about 44 min left", "a resumed stage has spent some of it"
    study.jobs = 2
    assert study._time_left() == ", about 22 min left", "two cells at a time"
    for name in CELLS:
        study.state[name]["evaluate"] = {}
    assert study._time_left() == "", "unknown before the first evaluation has finished"


def test_a_changed_key_reruns_only_the_stages_that_depend_on_it(here):
    assert unfinished("evaluate.limit=2") == [(name, "evaluate") for name in CELLS]
    stages = [(name, stage) for name in CELLS for stage in STAGES]
    assert unfinished("train.lora_r=4") == [(name, stage) for name, stage in stages if stage != "dataset"]
    assert unfinished("dataset.size=13") == stages
    base = Path("recipes/tiny_base.yaml")
    text = base.read_text()
    write_recipe(base, **{**json.loads(text), "dataset": {"negative_probability": 0.4}})
    assert unfinished() == stages
    base.write_text(text)
    assert unfinished() == []


def test_a_new_training_discards_the_scores_of_all_cells_that_share_the_adapter(here):
    grid = write_recipe(Path("recipes/s.yaml"), recipes=["tiny_base.yaml"], axes={"evaluate.limit": [1, 2]}, seeds=[1])
    study = Study(load_grid(grid, []))
    first, second = study.grid.cells
    assert study.grid.adapters[second.name] == first.name
    study.state = {cell.name: {"evaluate": {"status": "done"}} for cell in study.grid.cells}
    study._discard(second, "evaluate")
    assert study.state == {first.name: {"evaluate": {"status": "done"}}, second.name: {"evaluate": {}}}
    study.state[second.name]["evaluate"]["status"] = "done"
    study._discard(first, "train")
    assert study.state == {first.name: {"evaluate": {}}, second.name: {"evaluate": {}}}


def test_a_cell_whose_adapter_could_not_be_trained_is_not_evaluated(here):
    """There may be an adapter of other settings, and its scores would stand under those of the grid."""
    grid = write_recipe(Path("recipes/s.yaml"), recipes=["tiny_base.yaml"], axes={"evaluate.limit": [1, 2]}, seeds=[1])
    study = Study(load_grid(grid, ["dataset.corpus=gone"]))
    names = [cell.name for cell in study.grid.cells]
    assert study.run() == study.failed == names and "evaluate" not in study.state.get(names[1], {})


def test_a_failed_cell_is_named_and_the_others_run(here, capsys):
    """A missing encoder stops the cell that needs one. The other cell runs again because its recipe has changed."""
    answers = Path("outputs", CELLS[0], "evaluation", "answers.jsonl")
    kept = answers.read_bytes()
    write_recipe(Path(GRID), recipes=["tiny_base.yaml"], axes={"dataset.strategy": ["nn", "none"]}, seeds=[1])
    assert main([GRID, "--set", "dataset.encoder=gone"]) == 1
    said = capsys.readouterr().out
    assert f"failed: {CELLS[1]}; see outputs/tiny/logs/{CELLS[1]}.log" in said
    failed, done = state()[CELLS[1]], state()[CELLS[0]]
    assert failed["dataset"]["status"] == "failed" and "ra-ner: error: " in failed["dataset"]["error"]
    assert not failed["train"] and not failed["evaluate"], "they have no dataset any more"
    assert not Path("outputs", CELLS[1], "evaluation", "scores.json").exists(), (
        "the report shows none of an older recipe"
    )
    assert Path("outputs", CELLS[1], "adapter").exists(), "an adapter is kept until another one replaces it"
    assert [entry["status"] for entry in done.values()] == ["done"] * 3
    assert answers.read_bytes().startswith(kept), "the journal of answers is kept"


def test_two_processes_cannot_run_one_study(here):
    with (
        Path("outputs/tiny", LOCK).open("w") as file,
        pytest.raises(UserError, match="outputs/tiny: another process is writing there"),
    ):
        fcntl.flock(file, fcntl.LOCK_EX)  # as another process would
        main([GRID])


def test_errors_of_all_cells_are_reported_before_the_first_runs(here):
    before = state()
    pool = ["evaluate.settings=[out_domain-random]", "evaluate.pool=data/sample/en_test.jsonl"]
    for overrides, message in [
        (["evaluate.settings=[zero_short]"], "unknown setting 'zero_short'.* zero_shot"),
        (["evaluate.benchmarks=[crossner_art]"], "unknown benchmark crossner_art"),
        (["dataset.size=many"], "size"),
        (["dataset.corpus=null"], "section dataset has no `corpus`"),
        (pool, "passages of the pool .* benchmark sample_en"),
    ]:
        with pytest.raises(UserError, match=message):
            main([GRID, "--set", *overrides])
    assert state() == before


def test_benchmarks_and_pools_are_checked_as_the_evaluation_of_each_cell_reads_them(tmp_path):
    (tmp_path / "test.conll").write_text("Ada B-PER\nran O\n\nBo B-per\nran O\n")
    (tmp_path / "own.conll").write_text("Cy B-PER\nsang O\n\nDi B-PER\nsang O\n")

    def recipe(name: str, settings: str, **dataset: object):
        evaluate = {"benchmarks": [str(tmp_path / "test.conll")], "settings": [settings]}
        path = tmp_path / f"{name}.yaml"
        return load_recipe(write_recipe(path, language="en", dataset=dataset, evaluate=evaluate))

    own, tested = (str(tmp_path / name) for name in ("own.conll", "test.conll"))
    with pytest.raises(UserError, match="types 'PER' and 'per' differ by white space or case alone"):
        check([recipe("strict", "zero_shot", corpus=own)])
    check([recipe("lenient", "zero_shot", corpus=own, check_corpus=False)])
    keys = {"check_corpus": False, "validation_fraction": 0, "strategy": "none"}
    cells = [recipe(name, "out_domain-random", corpus=corpus, **keys) for name, corpus in (("a", own), ("b", tested))]
    with pytest.raises(UserError, match="2 of 2 passages of the pool are in the test part"):
        check(cells)


def test_sigterm_stops_the_running_stages_and_keeps_the_state(here):
    write_recipe(Path("recipes/stopped.yaml"), recipes=["tiny_base.yaml"], axes={"k": [1]}, seeds=[3, 4, 5])
    command = [sys.executable, "-m", "ra_ner", "study", "recipes/stopped.yaml", "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    path, running = Path("outputs/stopped/cells.json"), {}
    while len(running) < 2:
        assert process.poll() is None
        time.sleep(0.02)
        running = json.loads(path.read_text()) if path.exists() else {}
    process.terminate()
    process.wait()
    assert process.returncode == 128 + signal.SIGTERM
    kept = json.loads(path.read_text())
    assert {name: entries["dataset"]["status"] for name, entries in kept.items()} == {
        "stopped-1-seed3": "begun",
        "stopped-1-seed4": "begun",
    }, "two at a time; the third waits"
    for entries in running.values():
        with pytest.raises(ProcessLookupError):
            os.killpg(entries["dataset"]["process_group"], 0)


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_the_number_of_jobs_is_checked(jobs):
    with pytest.raises(UserError, match=f"--jobs: {jobs}: a whole number from 1 on is needed"):
        main([GRID, "--jobs", jobs])


def test_help_imports_no_torch_and_an_unknown_command_is_one_line():
    code = "import sys; from ra_ner.commands import study; study.make_parser(); "
    code += "print({'torch', 'transformers'} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
    done = subprocess.run([sys.executable, "-m", "ra_ner", "studdy"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("ra-ner: error: ") and done.stderr.count("\n") == 1
