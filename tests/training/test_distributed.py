"""Two processes on this machine's CPU, talking over gloo: the same training as one, and one job to start and stop."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import processes
import psutil
import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from conftest import REPO
from huggingface_hub import HfApi
from processes import join, losses
from safetensors.torch import load_file

RECIPE = "recipes/quickstart.yaml"
PLAIN = ["--load_in_4bit", "false", "--dtype", "float32", "--bf16", "false"]
LONG = ["--max_steps", 8, "--save_steps", 2, "--logging_steps", 1, "--save_total_limit", 9]
STEPS = ["--max_steps", 4, "--save_steps", 2, "--logging_steps", 1, "--save_total_limit", 9]


@pytest.fixture(scope="module")
def start_one(finished):
    return partial(processes.start, finished, "train")


@pytest.fixture(scope="module")
def start_two(finished):
    return partial(processes.start_ranks, finished)


@pytest.fixture(scope="module")
def one(start_one, tmp_path_factory) -> Path:
    """A run of one process, with a batch of two."""
    run = tmp_path_factory.mktemp("one")
    args = [RECIPE, "--output_dir", run, "--per_device_train_batch_size", 2, *PLAIN, *STEPS]
    assert join([start_one(*args)]) == [0]
    return run


def assert_same_training(run: Path, other: Path) -> None:
    assert losses(run) == pytest.approx(losses(other), abs=1e-5) and len(losses(run)) == 4
    weights, others = (load_file(path / "adapter" / "adapter_model.safetensors") for path in (run, other))
    assert weights.keys() == others.keys()
    assert max((weights[name] - others[name]).abs().max() for name in weights) < 1e-6


def test_two_processes_train_as_one_prepare_the_data_once_and_push_once(one, start_two, hub, tmp_path):
    ranks = start_two(
        tmp_path / "logs",
        *[RECIPE, "--output_dir", tmp_path, *PLAIN, *STEPS, "--push_to_hub", "--hub_model_id", "tester/adapter"],
        environment={"EMPTY_CACHE": str(tmp_path / "cache")},
        before=processes.count_maps,
    )
    logs = [tmp_path / "logs" / str(rank) for rank in range(2)]
    assert join(ranks) == [0, 0], logs[0].read_text()
    assert_same_training(tmp_path, one)
    assert "mapped 10 rows" in logs[0].read_text()
    assert "mapped" not in logs[1].read_text(), "the second process finds all rows in the cache"
    assert "%|" in logs[0].read_text() and "%|" not in logs[1].read_text(), "one progress bar"
    titles = [commit.title for commit in HfApi().list_repo_commits("tester/adapter")]
    assert titles == ["Adapter of recipe quickstart", "initial commit"]


def test_two_processes_ask_a_share_each_and_report_what_one_does(finished, start_two, tmp_path):
    folder = tmp_path / "evaluation"
    ranks = start_two(tmp_path / "logs", RECIPE, "--output_dir", folder, script="evaluate")
    assert join(ranks) == [0, 0], (tmp_path / "logs" / "0").read_text()
    for name in ("predictions.jsonl", "scores.json", "report.md", "report.html"):
        assert (folder / name).read_bytes() == (finished / "outputs/quickstart/evaluation" / name).read_bytes()
    asked = [(folder / name).read_text().splitlines() for name in ("answers.jsonl", "answers-1.jsonl")]
    assert all(asked) and len({json.loads(line)["key"] for line in asked[0] + asked[1]}) == len(asked[0] + asked[1])
    assert "# quickstart" in (tmp_path / "logs" / "0").read_text()
    assert "# quickstart" not in (tmp_path / "logs" / "1").read_text(), "the main process alone reports"


@pytest.mark.parametrize("config, quantised", [("fsdp2", False), ("fsdp_qlora", True)])
def test_a_model_shared_out_over_two_processes_trains_as_a_whole_one(
    one, start_one, start_two, tmp_path, monkeypatch, config, quantised
):
    for name in os.environ:  # what accelerate.launch sets
        if name.startswith(("ACCELERATE_", "FSDP_")):
            monkeypatch.delenv(name)
    command = ["--config_file", str(REPO / "accelerate_configs" / f"{config}.yaml"), "train_sft.py"]
    launch, _, _ = _validate_launch_command(launch_command_parser().parse_args(command))
    environment = {k: v for k, v in prepare_multi_gpu_env(launch).items() if k.startswith(("ACCELERATE_", "FSDP_"))}
    if quantised:
        options = ["--bnb_4bit_quant_storage", "bfloat16", *STEPS]
        one = tmp_path / "one"
        assert join([start_one(RECIPE, "--output_dir", one, "--per_device_train_batch_size", 2, *STEPS)]) == [0]
    else:
        options = [*PLAIN, *STEPS]
    ranks = start_two(
        tmp_path / "logs",
        *[RECIPE, "--output_dir", tmp_path, *options],
        environment=environment,
        before=processes.share_out_on_cpus,
    )
    log = tmp_path / "logs" / "0"
    assert join(ranks) == [0, 0], log.read_text()
    held, whole = map(int, re.search(r"holds (\d+) of (\d+)", log.read_text()).groups())
    assert held < 0.51 * whole
    if quantised:
        assert losses(tmp_path) == pytest.approx(losses(one), abs=0.02)  # bfloat16
    else:
        assert_same_training(tmp_path, one)


def wait_for(condition, process) -> None:
    while not condition():
        assert process.is_alive()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def uninterrupted(start_two, tmp_path_factory) -> Path:
    """A run of two processes, 8 steps long, which saves at each second one."""
    run = tmp_path_factory.mktemp("uninterrupted")
    assert join(start_two(run / "logs", RECIPE, "--output_dir", run, *LONG)) == [0, 0]
    return run


@pytest.mark.parametrize("number, codes", [(signal.SIGTERM, [143, 143]), (signal.SIGKILL, [1, -9])])
def test_a_signal_to_one_process_ends_both_and_they_resume_where_they_stopped(
    uninterrupted, start_two, tmp_path, number, codes
):
    logs, args = tmp_path / "logs", [RECIPE, "--output_dir", tmp_path, *LONG]
    ranks = start_two(logs, *args)
    wait_for((tmp_path / "checkpoints" / "checkpoint-2" / "ra_it.json").is_file, ranks[0])
    os.kill(ranks[1].pid, number)
    assert join(ranks) == codes
    assert not (tmp_path / "adapter").exists()
    if number == signal.SIGTERM:
        last = (tmp_path / "checkpoints" / "last").read_text().strip().removeprefix("checkpoint-")
        assert f"SIGTERM: stopped after step {last}" in (logs / "0").read_text()
    assert join(start_two(logs, *args, "--resume_from_checkpoint", "last")) == [0, 0]
    assert losses(tmp_path) == losses(uninterrupted)
    weights, others = (run / "adapter" / "adapter_model.safetensors" for run in (tmp_path, uninterrupted))
    assert weights.read_bytes() == others.read_bytes()


def test_a_process_that_does_not_answer_keeps_no_other_from_ending(start_two, tmp_path):
    ranks = start_two(tmp_path / "logs", RECIPE, "--output_dir", tmp_path, *LONG, before=processes.hurry)
    wait_for((tmp_path / "checkpoints" / "checkpoint-2" / "ra_it.json").is_file, ranks[0])
    os.kill(ranks[1].pid, signal.SIGSTOP)
    time.sleep(1)  # the other one waits for it now
    os.kill(ranks[0].pid, signal.SIGTERM)
    ranks[0].join(60)
    assert ranks[0].exitcode == 143
    assert "so no checkpoint is saved" in (tmp_path / "logs" / "0").read_text()
    ranks[1].kill()


def start_command(command: str, cwd: Path, run: Path) -> subprocess.Popen:
    words = [*command.split(), "train_sft.py", RECIPE, "--output_dir", run, "--num_train_epochs", 9, "--save_steps", 2]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [str(word) for word in words],
        cwd=cwd,
        env=environment,
        stdout=(run / "log").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    while not (run / "checkpoints" / "checkpoint-2" / "ra_it.json").is_file():
        assert process.poll() is None, (run / "log").read_text()
        time.sleep(0.05)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("command, status", [("python", 143), ("torchrun --nproc_per_node 2", 1)])
def test_sigterm_to_the_process_group_of_a_command(finished, tmp_path, command, status):
    process = start_command(command, finished, tmp_path)
    children = psutil.Process(process.pid).children()
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) == status
    assert "SIGTERM: stopped after step" in (tmp_path / "log").read_text()
    assert not [child for child in children if child.is_running()]
    assert not (tmp_path / "adapter").exists()


@pytest.mark.slow
def test_torchrun_ends_the_job_when_a_process_is_killed(finished, tmp_path):
    process = start_command("torchrun --nproc_per_node 2", finished, tmp_path)
    first, second = psutil.Process(process.pid).children()
    second.kill()
    assert process.wait(60) == 1
    assert not first.is_running()
    last = tmp_path / "checkpoints" / "checkpoint-2"
    assert (last / "trainer_state.json").is_file() and (last / "rng_state_1.pth").is_file()
