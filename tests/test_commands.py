"""The commands themselves: the README's, their exit codes, and how little they import before they refuse."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO


def run(command: str, cwd: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(shlex.split(command), cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    "command, status",
    [
        ("python build_ra_dataset.py bad.yaml", 2),
        ("torchrun --nproc_per_node 1 train_sft.py bad.yaml", 1),  # torchrun has a status of its own
        ("accelerate launch --num_processes 1 train_sft.py bad.yaml", 1),  # and so has accelerate launch
    ],
)
def test_a_bad_recipe_ends_in_one_line_and_a_non_zero_status(workplace, command, status):
    (workplace / "bad.yaml").write_text("language: en\ndataset: {stratgy: nn}\ntrain: {lora_rank: 8}\n")
    done = run(command, workplace)
    assert done.returncode == status
    errors = [line for line in done.stderr.splitlines() if "ra-ner: error: " in line]
    assert len(errors) == 1 and "did you mean" in errors[0]
    if command.startswith("python"):
        assert done.stderr.splitlines() == errors
    if command.startswith("torchrun"):
        assert re.search(r"exitcode +: 2 ", done.stderr), "the rank's own status"


def test_recipe_errors_of_two_scripts_come_before_torch_is_imported():
    code = "import sys; from ra_ner.commands import build, evaluate; build.make_parser(); evaluate.make_parser(); "
    done = run(f'{sys.executable} -c \'{code} print({{"torch", "datasets", "trl"}} & sys.modules.keys())\'', REPO)
    assert done.stdout.strip() == "set()", done.stderr


def test_help_lists_every_key_with_its_default():
    from ra_ner.commands import build as build_ra_dataset

    text = build_ra_dataset.make_parser().format_help()
    assert "--negative_probability" in text and "(default: 0.5)" in text and "--output_dir" in text
    assert text.startswith("usage: ra-ner build RECIPE [--KEY VALUE ...]\n")
    assert "--negative-probability" not in text and "--no_check_corpus" not in text, "each key is listed once"
    assert "(default: None)" not in text and "--dry_run [true|false]" in text


def test_help_of_merge_lists_only_the_keys_that_it_reads():
    from ra_ner.commands import merge

    text = merge.make_parser().format_help()
    assert re.findall(r"^  --(\w+)", text, re.M) == ["output_dir", "use_cpu", "dry_run", "verbose"]


def test_a_command_leaves_its_process_group(capsys):
    from torch import distributed

    from ra_ner import cli

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    assert cli.run("benchmarks", []) == 0
    assert not distributed.is_initialized(), "its threads would abort the interpreter at its end"
