"""QLoRA on a CUDA device: it learns, resumes, trains what a CPU trains, and needs the memory that is estimated."""

import gc
import re
import shutil
import subprocess
import sys

import processes
import pytest
import torch
from conftest import REPO, run_command, write_recipe
from datasets import Dataset, DatasetDict
from safetensors.torch import load_file
from transformers import AutoConfig

from ra_ner.recipe import load_recipe
from ra_ner.training import trainer as training
from ra_ner.training.defaults import train_parser
from ra_ner.training.memory import GB, RUNTIME, estimate

RECIPE = "recipes/quickstart.yaml"
EACH_STEP = ["--max_steps", 4, "--save_steps", 1, "--logging_steps", 1, "--save_total_limit", 9]
EXACT = ["--load_in_4bit", "false", "--dtype", "float32", "--bf16", "false"]
LAUNCHERS = ["single_gpu", "ddp", "zero2", "zero3", "fsdp2", "fsdp_qlora"]


def test_the_quickstart_learns(trained):
    """NF4 QLoRA of SmolLM2: the loss at the end is far below that at the start."""
    history = processes.losses(trained / "outputs" / "quickstart")
    assert len(history) > 10 and sum(history[-5:]) < 0.5 * sum(history[:5])
    card = (trained / "outputs/quickstart/adapter/README.md").read_text()
    assert torch.cuda.get_device_name() in card


def test_the_base_is_in_4_bits_on_the_card(here, tmp_path, monkeypatch):
    made, fit = [], training._fit
    monkeypatch.setattr(training, "_fit", lambda run: made.append(run.trainer) or fit(run))
    run_command("train", RECIPE, "--max_steps", 1, "--output_dir", tmp_path)
    parameters = dict(made[0].model.named_parameters())
    assert {parameter.device.type for parameter in parameters.values()} == {"cuda"}
    assert {p.dtype for name, p in parameters.items() if "base_layer" in name} == {torch.uint8}


def test_a_resumed_run_ends_in_the_weights_of_an_uninterrupted_one(here, tmp_path):
    options = [*EACH_STEP, "--full_determinism", "true"]
    try:
        run_command("train", RECIPE, "--output_dir", tmp_path / "whole", *options)
        checkpoint = "checkpoints/checkpoint-2"
        shutil.copytree(tmp_path / "whole" / checkpoint, tmp_path / "cut" / checkpoint)
        run_command("train", RECIPE, "--output_dir", tmp_path / "cut", *options, "--resume_from_checkpoint", "true")
    finally:
        torch.use_deterministic_algorithms(False)
    assert processes.losses(tmp_path / "cut") == processes.losses(tmp_path / "whole")
    cut, whole = ((tmp_path / run / "adapter" / "adapter_model.safetensors").read_bytes() for run in ("cut", "whole"))
    assert cut == whole


def test_the_same_tokens_are_trained_as_on_a_cpu_with_the_same_losses(here, tmp_path):
    batches = {}
    for device in ("cpu", "gpu"):
        run, log = tmp_path / device, tmp_path / f"{device}.log"
        options = [*EACH_STEP, *EXACT, "--use_cpu", str(device == "cpu").lower(), "--output_dir", run]
        started = processes.start(here, "train", RECIPE, *options, log=log, before=processes.print_batches)
        assert processes.join([started]) == [0], log.read_text()
        batches[device] = re.findall(r"batch on (\w+): (\w+)", log.read_text())
    assert {name for name, _ in batches["gpu"]} == {"cuda"} and {name for name, _ in batches["cpu"]} == {"cpu"}
    assert [tokens for _, tokens in batches["gpu"]] == [tokens for _, tokens in batches["cpu"]]
    assert processes.losses(tmp_path / "gpu") == pytest.approx(processes.losses(tmp_path / "cpu"), abs=1e-3)
    weights, others = (load_file(tmp_path / d / "adapter" / "adapter_model.safetensors") for d in ("cpu", "gpu"))
    assert max((weights[name] - others[name]).abs().max() for name in weights) < 1e-3


def test_the_adapter_is_merged_and_the_merged_model_agrees(trained):
    folder = trained / "outputs" / "quickstart" / "merged"
    card = (folder / "README.md").read_text()
    assert "likeliest token is the same at" in card
    (same, asked) = map(int, re.search(r"(\d+) of (\d+) greedy answers are equal", card).groups())
    assert asked and same / asked > 0.7  # the 4-bit base and the 16-bit base differ


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("in_4bit", [True, False])
def test_the_estimate_of_memory_is_near_what_the_card_held(
    some_layers, free_memory, tmp_path, monkeypatch, in_4bit, checkpointing
):
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(
        tmp_path / "recipe.yaml",
        language="en",
        train={
            "model_name_or_path": str(some_layers),
            "load_in_4bit": in_4bit,
            "activation_checkpointing": checkpointing,
            "gradient_accumulation_steps": 1,
            "max_steps": 3,
            "eval_strategy": "no",
            "save_strategy": "no",
            "load_best_model_at_end": False,
            "report_to": "none",
        },
    )
    _, model_args, args, *_ = train_parser().parse_section(load_recipe(str(recipe)))
    tokenizer = training.load_training_tokenizer(str(some_layers), None, None)
    question, answer = {"role": "user", "content": "x" * 1900}, {"role": "assistant", "content": "y" * 100}
    rows = Dataset.from_list([{"prompt": [question], "completion": [answer]}] * 4)
    args.max_length = None
    trainer = training._make_trainer(str(some_layers), DatasetDict(train=rows), tokenizer, model_args, args, {})
    tokens = len(trainer.train_dataset[0]["input_ids"])
    loading = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    trainer.train()
    measured = torch.cuda.max_memory_allocated()
    estimated = estimate(AutoConfig.from_pretrained(some_layers), model_args, tokens).total(checkpointing) - RUNTIME
    del trainer
    gc.collect()
    form = f"{'4' if in_4bit else '16'} bits, {'with' if checkpointing else 'without'} checkpointing"
    print(
        f"\n{some_layers.name}, {form}, {tokens} tokens: {estimated / GB:.2f} GB estimated, {measured / GB:.2f} GB "
        f"measured ({estimated / measured:.2f}); while loading {loading / GB:.2f} GB"
    )
    assert 0.85 < estimated / measured < 1.15


@pytest.mark.parametrize("config", LAUNCHERS)
def test_accelerate_launches_it(here, tmp_path, config):
    if config != "single_gpu" and torch.cuda.device_count() < 2:
        pytest.skip(f"{config}.yaml needs two cards")
    options = ["--output_dir", tmp_path, "--max_steps", 2, "--save_steps", 2, "--logging_steps", 1]
    if config == "fsdp2":
        options += ["--load_in_4bit", "false"]
    if config in ("zero3", "fsdp_qlora"):
        options += ["--bnb_4bit_quant_storage", "bfloat16"]
    file = REPO / "accelerate_configs" / f"{config}.yaml"
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", file, "train_sft.py", RECIPE]
    done = subprocess.run([str(word) for word in launch + options], cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert any(tensor.abs().max() > 0 for name, tensor in weights.items() if "lora_B" in name)
