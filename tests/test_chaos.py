"""Kills, hostile files, and faults of the Hub and of a server, at random: `make chaos`, which prints a table.

Every run must end whole, be refused in one line, or be resumed to the same results; else a test fails. The seed is the
environment variable CHAOS_SEED, 0 by default.
"""

import hashlib
import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import hostile
import processes
import pytest
import test_kill
from conftest import HUB, content, put_folder, run_command, write_recipe
from test_server import FakeServer, by_server, reply

from ra_ner import markdown
from ra_ner.dataset.build import push_to_hub
from ra_ner.hub import repos
from ra_ner.inference.models import find_model

pytestmark = pytest.mark.chaos
SEED = int(os.environ.get("CHAOS_SEED", "0"))
KILLS = {"build": 60, "train": 60, "evaluate": 60, "study": 20}
FILES, HUB_RUNS, SERVER_RUNS = 10_000, 200, 100
HEADER = ["attack", "runs", "ended whole", "refused in one line", "killed, then resumed to the same results", "lost"]
TIMED = {"adapter/README.md", "adapter/training_curves.png", "evaluation/answers.jsonl"}


@pytest.fixture(scope="module")
def table(request):
    """The rows of the table, which is printed at the end."""
    rows: list[list] = []
    yield rows
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n\n{markdown.table(HEADER, rows)}\n")


@pytest.fixture
def begin(finished) -> Callable:
    """Starts a command as a process of its own, in the finished workplace, and counts how they end."""
    ended: Counter = Counter()

    def start(*args: object):
        process = processes.start(finished, *args)
        join = process.join

        def counting_join(*seconds: float) -> None:
            join(*seconds)
            if process.exitcode is not None and not getattr(process, "counted", False):
                process.counted = True
                ended[process.exitcode] += 1

        process.join = counting_join
        return process

    start.ended = ended
    return start


KILLED = {
    "build": test_kill.test_a_killed_build_leaves_the_old_dataset_or_the_new_one_or_none,
    "train": test_kill.test_a_killed_training_resumes_to_the_same_weights,
    "evaluate": test_kill.test_a_killed_evaluation_ends_in_the_same_scores,
}


@pytest.mark.parametrize("script", KILLED)
def test_kills(begin, tmp_path, monkeypatch, table, script):
    monkeypatch.setattr(test_kill, "KILLS", KILLS[script])
    KILLED[script](begin, tmp_path)
    add_kills(table, script, begin.ended)


def add_kills(table: list, script: str, ended: Counter) -> None:
    assert set(ended) <= {0, -9}, "a run that was resumed has failed"
    table.append([f"SIGKILL of {script} at a random moment", ended.total(), ended[0], 0, ended[-9], 0])


def test_kills_of_a_study(finished, begin, tmp_path, table, monkeypatch):
    """A killed study leaves a stage that goes on; the next run stops it, and goes on from there."""
    monkeypatch.chdir(finished)
    evaluate = {"settings": ["zero_shot"], "limit": 2}
    write_recipe(finished / "recipes" / "mad_base.yaml", extends="quickstart.yaml", evaluate=evaluate)
    grid = write_recipe(finished / "recipes" / "mad.yaml", recipes=["mad_base.yaml"], axes={"k": [0]}, seeds=[1])
    outputs = [Path("outputs/mad"), Path("outputs/mad-0-seed1")]

    def results() -> dict[str, str]:
        """Digests of the files of the cell, but for logs and those that tell in which pieces the run was made."""
        files = {name: data for name, data in content(outputs[1]).items() if not name.startswith("logs/")}
        return {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name not in TIMED}

    def run_to_its_end() -> None:
        process = begin("study", grid, "--launch", "--num_processes", "1")
        process.join()
        assert process.exitcode == 0
        state = json.loads((outputs[0] / "cells.json").read_text())[outputs[1].name]
        assert [entry["status"] for entry in state.values()] == ["done"] * 3

    begun = time.monotonic()
    run_to_its_end()
    length, whole, rng, kills = time.monotonic() - begun, results(), random.Random(f"study {SEED}"), 0
    while kills < KILLS["study"]:
        process = begin("study", grid, "--launch", "--num_processes", "1")
        process.join(rng.uniform(0, length))
        process.kill()
        process.join()
        kills += process.exitcode == -9
        if process.exitcode == 0:  # begin afresh
            assert results() == whole
            for folder in outputs:
                shutil.rmtree(folder)
    run_to_its_end()
    assert results() == whole
    add_kills(table, "study", begin.ended)


def test_hostile_files(finished, models, tmp_path, table, monkeypatch):
    monkeypatch.chdir(finished)
    targets, ends = hostile.Targets(finished, models, tmp_path), Counter()
    for name, its_content in targets.contents.items():
        ends.update(targets.attack(name, attack) for attack in hostile.whole(its_content).values())
    for name, counts in hostile.attack_often(targets, FILES - ends.total(), SEED).items():
        assert set(counts) <= {"read", "refused"}, name
        ends += counts
    kinds = f"hostile content in one of {len(targets.readers)} kinds of files"
    table.append([kinds, ends.total(), ends["read"], ends["refused"], 0, 0])


STATUSES = [401, 403, 404, 409, 412, 416, 429, 500, 502, 503, 504]
PATHS = ["/commit/", "/preupload/", "PUT /lfs/", "/lfs", "/create", "/resolve/", "/api/", "HEAD ", "GET ", "POST ", ""]


def test_faults_of_the_hub(hub, finished, models, monkeypatch, table):
    monkeypatch.chdir(finished)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    folder, ends, rng = Path("outputs/quickstart/dataset"), Counter(), random.Random(SEED)

    def push(repo: str) -> None:
        repos.prepare_push("dataset", repo, True, "hub_dataset_id")
        push_to_hub(folder, "quickstart", repo)

    for number in range(HUB_RUNS):
        repo = f"tester/chaos{number}"
        if number % 2:
            put_folder("model", repo, models / "lm")
        for _ in range(rng.randint(1, 3)):
            path, times = rng.choice(PATHS), rng.choice([1, 2, 99])
            HUB.cut(path, times) if rng.random() < 0.3 else HUB.fail(path, rng.choice(STATUSES), times)
        act = partial(find_model if number % 2 else push, repo)
        ends[hostile.outcome(act)] += 1
        hub.heal()
        assert hostile.outcome(act) == "read", "a second try is whole"
        if number % 2 == 0:
            pushed = hub.files("dataset", repo)
            for file in (folder / "quickstart").iterdir():
                assert pushed[f"quickstart/{file.name}"] == file.read_bytes()
    assert set(ends) <= {"read", "refused"}
    table.append(["faults of the Hub while pushing or fetching", HUB_RUNS, ends["read"], ends["refused"], 0, 0])


def test_faults_of_a_server(finished, tmp_path, monkeypatch, table):
    monkeypatch.chdir(finished)
    server, ends, rng = FakeServer(), Counter(), random.Random(SEED)
    server.delay = 0
    faults = [
        "cut",
        "never",
        "drip",
        "drip header",
        400,
        401,
        403,
        404,
        408,
        409,
        413,
        429,
        500,
        502,
        503,
        {"x": 1},
        [],
        7,
    ]
    faults += [reply(None, "stop"), reply("\ud83d", "stop"), reply('["a', "length"), {"choices": []}, {"choices": None}]
    asked = ["--limit", 3, "--server_timeout", 0.5]

    def run(output: Path) -> dict[str, bytes]:
        run_command("evaluate", *by_server(server, output), *asked)
        return {name: (output / name).read_bytes() for name in ("predictions.jsonl", "scores.json")}

    for number in range(SERVER_RUNS):
        output = tmp_path / str(number)
        server.faults = [rng.choice(faults) if rng.random() < 0.1 else None for _ in range(40)]
        ends[hostile.outcome(partial(run, output))] += 1
        server.faults = []
        assert hostile.outcome(partial(run, output)) == "read", "a second run completes"
        shutil.rmtree(output)
    server.shutdown()
    server.server_close()
    assert set(ends) <= {"read", "refused"}
    table.append(["faults of a model server", SERVER_RUNS, ends["read"], ends["refused"], 0, 0])
