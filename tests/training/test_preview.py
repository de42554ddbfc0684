"""--show_batch: what is trained, marked in a row; lengths, steps and memory, without any weights."""

import re

import pytest
from conftest import HUB, byte_level_tokenizer, run_command
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, Trainer, TrainingArguments
from trl import ModelConfig

from ra_ner.training.preview import GREEN, PLAIN, dummy_model, mark_trained, training_steps

RECIPE = "recipes/quickstart.yaml"
TOKENIZER = byte_level_tokenizer()


def test_trained_stretches_are_marked():
    ids = TOKENIZER.encode('ask["Köln"]<|im_end|>ask[]<|im_end|>')
    answers = [len(TOKENIZER.encode(part)) for part in ("ask", '["Köln"]<|im_end|>', "ask", "[]<|im_end|>")]
    labels = [-100] * answers[0] + [1] * answers[1] + [-100] * answers[2] + [1] * answers[3]
    assert mark_trained(TOKENIZER, ids, labels) == 'ask⟦["Köln"]<|im_end|>⟧ask⟦[]<|im_end|>⟧'
    coloured = mark_trained(TOKENIZER, ids, labels, colour=True)
    assert coloured.count(GREEN) == coloured.count(PLAIN) == 2


@given(st.text(st.characters(exclude_categories=("Cs",))), st.text(st.characters(exclude_categories=("Cs",))))
def test_a_text_can_not_steer_the_terminal(question, answer):
    question_ids, answer_ids = TOKENIZER.encode(question), TOKENIZER.encode(answer)
    marked = mark_trained(TOKENIZER, question_ids + answer_ids, [-100] * len(question_ids) + answer_ids)
    assert not set(marked) & {chr(i) for i in (*range(32), *range(127, 160))} - {"\t", "\n"}
    if (question + answer).isprintable():
        assert marked == question + (f"⟦{answer}⟧" if answer else "")


def test_show_batch_needs_no_weights_and_trains_and_writes_nothing(hub, here, models, tmp_path, capsys):
    HUB.create("model", "base/without-weights")
    files = {file.name: file.read_bytes() for file in (models / "lm").iterdir() if file.suffix != ".safetensors"}
    HUB.put("model", "base/without-weights", files)
    base = ["--model_name_or_path", "base/without-weights"]
    run_command("train", RECIPE, "--output_dir", tmp_path / "run", "--dry_run", *base)
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    _, shown, plan = re.split("enclose what is trained.|\n\nrows", capsys.readouterr().out)
    row = load_dataset("outputs/quickstart/dataset", "quickstart", split="train")[0]
    answers = [message["content"] for message in row["completion"] if message["role"] == "assistant"]
    assert re.findall("⟦(.*?)⟧", shown) == [f"{answer}<|im_end|>" for answer in answers]
    assert "lengths  quantiles of train: 0%" in plan
    assert re.search(r"steps    10 of 1 rows \(1 per device x 1 x 1 accumulated\), about [\d,]+ tokens each\n", plan)
    assert re.search(r"memory   [\d.]+ GB, estimated \(weights 0.0, adapter and optimizer 0.0, activations", plan)
    assert "with `activation_checkpointing: true`: " in plan


def test_a_run_begins_with_the_plan_that_show_batch_prints(here, tmp_path, capsys):
    options = ["--max_steps", 1, "--eval_strategy", "epoch"]
    run_command("train", RECIPE, "--output_dir", tmp_path / "a", "--dry_run", *options)
    shown = capsys.readouterr().out.splitlines()
    run_command("train", RECIPE, "--output_dir", tmp_path / "b", *options)
    begun = [line for line in capsys.readouterr().out.splitlines() if re.match("rows|steps|memory", line)]
    assert len(begun) == 3 and set(begun) <= set(shown)
    assert "train, 2 validation;" in begun[0] and begun[1].startswith("steps    1 of 1 rows")


@pytest.mark.parametrize("rows", [4, 7, 8, 9, 33])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
        {"gradient_accumulation_steps": 4, "num_train_epochs": 1.5},
        {"per_device_train_batch_size": 4, "dataloader_drop_last": True},
        {"max_steps": 5},
    ],
)
def test_steps_are_those_of_the_trainer(tmp_path, models, rows, options):
    model = dummy_model(AutoConfig.from_pretrained(models / "lm"), ModelConfig(model_name_or_path=str(models / "lm")))
    args = TrainingArguments(tmp_path, use_cpu=True, **{"per_device_train_batch_size": 1} | options)
    trainer = Trainer(model, args, train_dataset=[{"input_ids": [1]}] * rows)
    expected = trainer.set_initial_training_values(args, trainer.get_train_dataloader())[-1]
    assert training_steps(rows, args) == expected


def test_the_stand_in_has_the_bases_vocabulary_and_stop_tokens(models):
    config = AutoConfig.from_pretrained(models / "lm")
    model = dummy_model(config, ModelConfig(model_name_or_path=str(models / "lm")))
    assert model.get_input_embeddings().num_embeddings == config.vocab_size
    assert model.generation_config.eos_token_id == config.eos_token_id
    assert sum(parameter.numel() for parameter in model.parameters()) < 5000
