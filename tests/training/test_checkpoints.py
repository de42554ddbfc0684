"""From where a run goes on: the pointer to the last whole checkpoint, folders, Hub repos, and what is refused."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from conftest import HUB, put_folder, run_command
from processes import losses
from transformers import TrainingArguments
from trl import ModelConfig, SFTConfig

from ra_ner.errors import UserError
from ra_ner.recipe_keys import TrainConfig
from ra_ner.training import checkpoints, run_record

RECIPE = "recipes/quickstart.yaml"
FACTS = {"base_revision": "a" * 40, "dataset_revision": "d", "chat_template": "t", "effective_batch_size": 8}
STEPS = ["--max_steps", 4, "--save_steps", 1, "--logging_steps", 1, "--save_total_limit", 9]


def arguments(wanted: str | None, folder: Path) -> TrainingArguments:
    return TrainingArguments(str(folder), resume_from_checkpoint=wanted, use_cpu=True)


def find(wanted: str | None, folder: Path, facts: dict) -> str | None:
    return checkpoints.find(arguments(wanted, folder), facts)


def checkpoint(folder: Path, step: int, facts: dict = FACTS) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({}, path / name)
    (path / "ra_it.json").write_text(json.dumps(facts))
    return path


def test_last_is_the_newest_whole_checkpoint_and_later_ones_are_skipped_with_a_word(tmp_path, capsys):
    for step in (2, 10, 12):
        checkpoint(tmp_path, step)
    (tmp_path / "last").write_text("checkpoint-10\n")
    for wanted in ("last", "true", "True"):
        assert find(wanted, tmp_path, FACTS) == str(tmp_path / "checkpoint-10")
    assert "checkpoint-12: skipped, because it is incomplete" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "checkpoint-10")  # as `save_total_limit: 1` does when another one was the best
    assert find("last", tmp_path, FACTS) == str(tmp_path / "checkpoint-2")


def test_without_a_pointer_the_newest_whole_checkpoint_of_a_copied_folder_is_taken(tmp_path, capsys):
    checkpoint(tmp_path, 2)
    checkpoint(tmp_path, 10)
    (checkpoint(tmp_path, 12) / "ra_it.json").unlink()
    assert find("last", tmp_path, FACTS) == str(tmp_path / "checkpoint-10")
    assert "checkpoint-12: skipped" in capsys.readouterr().out


def test_the_oldest_checkpoints_are_removed_and_copies_of_the_user_are_not(tmp_path):
    for age, step in enumerate((100, 10, 20, 30)):  # 100 is of an earlier run
        os.utime(checkpoint(tmp_path, step), (age, age))
    shutil.copytree(tmp_path / "checkpoint-10", tmp_path / "checkpoint-10-mine")
    (tmp_path / "last").write_text("checkpoint-30\n")
    assert find("last", tmp_path, FACTS) == str(tmp_path / "checkpoint-30")
    checkpoints._rotate(tmp_path, 2, {"checkpoint-30", "checkpoint-10"})
    assert sorted(path.name for path in tmp_path.glob("c*")) == ["checkpoint-10", "checkpoint-10-mine", "checkpoint-30"]
    checkpoints._rotate(tmp_path, 1, {"checkpoint-30"})
    assert sorted(path.name for path in tmp_path.glob("c*")) == ["checkpoint-10-mine", "checkpoint-30"]


def test_a_run_that_starts_afresh_forgets_the_checkpoints_of_an_earlier_one(tmp_path, capsys):
    checkpoint(tmp_path, 10)
    (tmp_path / "last").write_text("checkpoint-10\n")
    assert find("last", tmp_path, FACTS) == str(tmp_path / "checkpoint-10")
    assert find(None, tmp_path, FACTS) is None
    checkpoints.begin(arguments(None, tmp_path), None)
    assert find("last", tmp_path, FACTS) is None
    assert "checkpoint-10: skipped" in capsys.readouterr().out


def test_a_run_that_goes_back_to_an_earlier_checkpoint_forgets_later_ones(tmp_path):
    checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 20)
    checkpoints.begin(arguments(None, tmp_path), find(str(tmp_path / "checkpoint-10"), tmp_path, FACTS))
    assert find("last", tmp_path, FACTS) == str(tmp_path / "checkpoint-10")


@pytest.mark.parametrize(
    "key, way_out",
    [
        ("base_revision", "`model_revision`"),
        ("dataset_revision", "`dataset_revision`"),
        ("chat_template", "`chat_template_path`"),
        ("effective_batch_size", "`gradient_accumulation_steps`"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, key, way_out):
    path = checkpoint(tmp_path, 2, {**FACTS, key: "other"})
    with pytest.raises(UserError, match=f"was trained with {key} other and this run has .*{way_out}"):
        find(str(path), tmp_path, FACTS)


def test_a_checkpoint_that_others_wrote_tells_its_base_by_the_adapters_config(tmp_path):
    path = checkpoint(tmp_path, 2)
    (path / "ra_it.json").unlink()
    assert find(str(path), tmp_path, FACTS) == str(path)
    for revision, refused in ((None, False), ("main", False), ("a" * 40, False), ("b" * 40, True)):
        (path / "adapter_config.json").write_text(json.dumps({"revision": revision}))
        if refused:
            with pytest.raises(UserError, match="was trained with base_revision bbbb"):
                find(str(path), tmp_path, FACTS)
        else:
            assert find(str(path), tmp_path, FACTS) == str(path)


def test_a_folder_that_is_no_checkpoint_is_refused(here, tmp_path):
    with pytest.raises(UserError, match=r"adapter has no trainer_state.json, so it is not a checkpoint"):
        find("outputs/quickstart/adapter", tmp_path, FACTS)


def test_a_run_goes_on_from_a_checkpoint_on_the_hub_without_its_pickles_being_trusted(here, hub, tmp_path):
    run_command("train", RECIPE, "--output_dir", tmp_path / "whole", *STEPS)
    on_hub = tmp_path / "repo"
    for step, name in ((1, "checkpoint-1"), (3, "checkpoint-3"), (2, "last-checkpoint")):
        shutil.copytree(tmp_path / "whole" / "checkpoints" / f"checkpoint-{step}", on_hub / name)
    put_folder("model", "me/run", on_hub)
    run_command("train", RECIPE, "--output_dir", tmp_path / "cut", *STEPS, "--resume_from_checkpoint", "me/run")
    assert not (tmp_path / "cut" / "checkpoints" / "checkpoint-2").exists(), "it went on from step 2"
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    cut, whole = ((tmp_path / run / "adapter" / "adapter_model.safetensors").read_bytes() for run in ("cut", "whole"))
    assert cut == whole
    fetched = checkpoints._fetch("me/run@main")
    assert (fetched / "optimizer.pt").is_file() and not (fetched / "training_args.bin").exists()

    shutil.rmtree(on_hub / "last-checkpoint")
    put_folder("model", "me/numbered", on_hub)
    assert checkpoints._fetch("me/numbered").name == "checkpoint-3"


def test_hub_repos_that_cannot_be_resumed_are_refused(hub, here, tmp_path):
    put_folder("model", "me/adapter", Path("outputs/quickstart/adapter"))
    with pytest.raises(UserError, match="me/adapter has no checkpoint .* its optimizer state is missing"):
        find("me/adapter", tmp_path, FACTS)
    HUB.create("model", "me/pickles")
    names = ("trainer_state.json", "adapter_model.bin", "optimizer.pt", "scheduler.pt")
    HUB.put("model", "me/pickles", {f"checkpoint-2/{name}": b"{}" for name in names})
    with pytest.raises(UserError, match="checkpoint-2 can't be resumed from the Hub.*copy the folder"):
        find("me/pickles", tmp_path, FACTS)
    with pytest.raises(UserError, match="'me/none' can't be fetched: there is no such repo"):
        find("me/none", tmp_path, FACTS)
    with pytest.raises(UserError, match="neither a folder that exists nor a repo id"):
        find("outputs/quickstart/checkpoints/checkpoint-99", tmp_path, FACTS)


@pytest.mark.parametrize(
    "name, state",
    [("optimizer.pt", "optimizer"), ("scheduler.pt", "learning rate"), ("rng_state.pth", "random numbers")],
)
def test_a_checkpoint_without_a_state_is_refused(tmp_path, name, state):
    path = checkpoint(tmp_path, 2)
    (path / name).unlink()
    with pytest.raises(UserError, match=f"checkpoint-2 has no state of the {state} .*or start afresh"):
        find(str(path), tmp_path, FACTS)


CHANGES = [
    ("learning_rate", "1e-4"),
    ("lora_alpha", "32"),
    ("lora_r", "4"),
    ("seed", "7"),
    ("weight_decay", "0.1"),
    ("warmup_steps", "3"),
    ("max_grad_norm", "0.5"),
    ("completion_only_loss", "false"),
    ("load_in_4bit", "false"),
    ("num_train_epochs", "9"),
    ("optim", "sgd"),
]


@pytest.fixture(scope="module")
def saved(finished, tmp_path_factory) -> Path:
    """A run of two steps with its checkpoint."""
    run = tmp_path_factory.mktemp("saved")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finished)
        run_command("train", RECIPE, "--output_dir", run, "--max_steps", 2, "--save_steps", 1)
    return run


@pytest.mark.parametrize("key, value", CHANGES)
def test_a_changed_recipe_is_not_resumed_and_may_start_afresh(here, saved, key, value):
    again = [RECIPE, "--output_dir", saved, "--max_steps", 2, "--save_steps", 1, f"--{key}", value]
    with pytest.raises(UserError, match=rf"was trained with {key} .* \(this run: .*start afresh without `resume_from"):
        run_command("train", *again, "--resume_from_checkpoint", "last", "--dry_run")
    run_command("train", *again, "--dry_run")


def test_a_chat_template_is_compared_by_its_text_wherever_it_stands(here, saved, tmp_path):
    file = tmp_path / "moved.jinja"
    shutil.copyfile(saved / "adapter" / "chat_template.jinja", file)
    again = [RECIPE, "--output_dir", saved, "--max_steps", 2, "--save_steps", 1, "--chat_template_path", file]
    again += ["--resume_from_checkpoint", "last", "--dry_run"]
    run_command("train", *again)
    file.write_text("{# changed #}" + file.read_text())
    with pytest.raises(UserError, match="was trained with chat_template .* and this run has .*`chat_template_path`"):
        run_command("train", *again)


def test_what_is_logged_saved_and_measured_may_change(here, saved):
    """Also a default that is written out."""
    changed = ["--logging_steps", 3, "--save_steps", 2, "--eval_steps", 2, "--adam_beta1", 0.9, "--project", "other"]
    run_command(
        "train",
        RECIPE,
        "--output_dir",
        saved,
        "--max_steps",
        2,
        *changed,
        "--resume_from_checkpoint",
        "last",
        "--dry_run",
    )


def test_each_setting_that_may_change_is_one_that_there_is():
    known = {key.name for config in (TrainConfig, ModelConfig, SFTConfig) for key in dataclasses.fields(config)}
    assert known >= run_record._MAY_CHANGE
