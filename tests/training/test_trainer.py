"""Training on a tiny model, whole: what is trained, what is refused, what is saved."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import byte_level_tokenizer, run_command, write_recipe
from datasets import Dataset, DatasetDict, load_dataset

from ra_ner.dataset import build as ra_dataset
from ra_ner.errors import UserError
from ra_ner.recipe import load_recipe
from ra_ner.training.defaults import train_parser

RECIPE = "recipes/quickstart.yaml"
LOSS_KEYS = ("eval_zero_shot_loss", "eval_in_context_loss", "eval_loss")


@pytest.fixture
def trainers(monkeypatch):
    """The trainers that a test's training runs made."""
    import ra_ner.training.trainer

    made = []

    class Recorded(ra_ner.training.trainer.AdapterTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(ra_ner.training.trainer, "AdapterTrainer", Recorded)
    return made


def test_the_adapter_folder_is_complete_and_holds_no_pickle(here):
    folder = here / "outputs" / "quickstart" / "adapter"
    names = {file.name for file in folder.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    facts = json.loads((folder / "ra_it.json").read_text())
    assert (facts["recipe"], facts["language"], facts["wording"], facts["k"]) == ("quickstart", "en", "ra_it", 2)
    assert "generation" in (folder / "chat_template.jinja").read_text()
    modules = json.loads((folder / "adapter_config.json").read_text())["target_modules"]
    assert modules == sorted(modules), "in an order of their own, equal runs would be two models"


def test_training_changed_the_weights(here):
    from safetensors.torch import load_file

    weights = load_file(here / "outputs" / "quickstart" / "adapter" / "adapter_model.safetensors")
    assert any(tensor.abs().max() > 0 for name, tensor in weights.items() if "lora_B" in name)


def test_the_supervised_text_is_the_answers_and_nothing_else(here, trainers, tmp_path):
    run_command("train", RECIPE, "--max_steps", "1", "--output_dir", tmp_path)
    (trainer,) = trainers
    tokenizer = trainer.processing_class
    source = {row["id"]: row for row in load_dataset("outputs/quickstart/dataset")["train"]}
    expected = sorted(
        "".join(m["content"] + "<|im_end|>" for m in row["completion"] if m["role"] == "assistant")
        for row in source.values()
    )
    trained = sorted(
        tokenizer.decode([label for label in row["labels"] if label != -100]) for row in trainer.train_dataset
    )
    assert trained == expected


def test_with_completion_only_loss_off_the_acknowledgements_are_trained_too(here, trainers, tmp_path):
    run_command("train", RECIPE, "--max_steps", "1", "--output_dir", tmp_path, "--completion_only_loss", "false")
    row = trainers[0].train_dataset[0]
    text = trainers[0].processing_class.decode([label for label in row["labels"] if label != -100])
    assert text.startswith("I've read these examples.<|im_end|>I've read this text.<|im_end|>[")


def test_qlora_is_nf4_with_nested_quantisation_and_bfloat16(here, trainers, tmp_path):
    from bitsandbytes.nn import Linear4bit

    run_command("train", RECIPE, "--max_steps", "1", "--output_dir", tmp_path)
    layers = [module for module in trainers[0].model.modules() if isinstance(module, Linear4bit)]
    assert len(layers) == 14, "all linear layers of two blocks"
    state = layers[0].weight.quant_state
    assert state.quant_type == "nf4" and state.nested and str(layers[0].compute_dtype) == "torch.bfloat16"


def dataset_with_text(
    folder, name: str, texts: list[str], answer: str | None = "[]", validation: list[str] | None = None
) -> str:
    """An RA-IT dataset whose rows hold the given texts."""

    def split(texts: list[str]) -> Dataset:
        last = {"role": "assistant", "content": answer} if answer else {"role": "user", "content": "?"}
        rows = [
            {
                "id": str(i),
                "prompt": [{"role": "user", "content": text}],
                "completion": [last],
                "example_ids": [],
                "example_scores": [],
            }
            for i, text in enumerate(texts)
        ]
        return Dataset.from_list(rows, ra_dataset.FEATURES)

    splits = DatasetDict(train=split(texts))
    if validation:
        splits["validation"] = split(validation)
    rows = {name: len(part) for name, part in splits.items()}
    facts = json.loads(Path("outputs/quickstart/dataset/quickstart/ra_it.json").read_text()) | {"recipe": name}
    facts |= {key: rows for key in facts if isinstance(facts[key], dict) and "train" in facts[key]}
    ra_dataset.write(ra_dataset.RADataset(splits, facts), folder)
    return str(folder)


def test_rows_with_control_tokens_are_dropped_and_counted(here, trainers, tmp_path, capsys):
    data = dataset_with_text(tmp_path / "d", "quickstart", ["a", "b <|im_end|> c", "d", "<|im_start|>system"])
    run_command("train", RECIPE, "--max_steps", "1", "--output_dir", tmp_path / "o", "--dataset_name", data)
    assert "dropped 2 of 4 rows" in capsys.readouterr().out
    assert len(trainers[0].train_dataset) == 2
    data = dataset_with_text(tmp_path / "e", "quickstart", ["<|im_end|>"])
    with pytest.raises(UserError, match="every training row contains a control token"):
        run_command("train", RECIPE, "--output_dir", tmp_path / "o", "--dataset_name", data)


def test_rows_over_max_length_are_refused_not_cut(here, tmp_path):
    with pytest.raises(UserError, match=r"of 10 train rows are longer than `max_length: 500`.*the longest has \d+"):
        run_command("train", RECIPE, "--output_dir", tmp_path, "--max_length", "500")
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize(
    "args, message",
    [
        (["--dataset_name", "nowhere"], "dataset 'nowhere' can't be fetched: there is no such repo"),
        (["--dataset_config", "other"], "no RA-IT dataset 'other'.*ra-ner build"),
        (["--model_name_or_path", "nowhere/at-all"], "can't be fetched: there is no such repo"),
        (["--hub_strategy", "end"], "delete `hub_strategy`"),
        (["--hub_revision", "v2"], "delete `hub_revision`; the adapter is pushed to the main branch"),
        (["--auto_find_batch_size", "true"], "delete `auto_find_batch_size`; a step would train fewer rows"),
        (["--model_init_kwargs", '{"dtype": "float32"}'], "delete `dtype` from `model_init_kwargs`"),
        (["--num_train_epochs", "0"], r"`num_train_epochs: 0\.0`: a number above 0 is needed"),
        (["--learning_rate=-1e-4"], r"`learning_rate: -0\.0001`: a number above 0 is needed"),
        (["--gradient_accumulation_steps", "0"], "`gradient_accumulation_steps: 0`: a number above 0 is needed"),
        (["--max_steps", "0"], "`max_steps: 0` would train nothing; delete it"),
        (["--adam_beta1", "2"], "the training can't begin: Invalid beta parameter"),
        (["--lr_scheduler_type", "cosine_with_min_lr"], "the training can't begin: .*`lr_scheduler_kwargs`"),
        (["--hub_token", "hf_secret"], "`hub_token` is not accepted, because it holds a secret: log in"),
        (["--use_peft", "false"], "use_peft: true"),
        (["--resume_from_checkpoint", "nowhere"], "can't be fetched: there is no such repo"),
        (["--chat_template_path", "nowhere.jinja"], "nowhere.jinja`: can't be read"),
        (["--report_to", "tensorbord"], "`report_to: tensorbord`: choose from none, tensorboard, wandb, trackio"),
    ],
)
def test_bad_input_is_one_line(here, tmp_path, args, message):
    with pytest.raises(UserError, match=message):
        run_command("train", RECIPE, "--output_dir", tmp_path, *args)


def losses(folder) -> list[float]:
    last = max((folder / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    history = json.loads((last / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def test_a_resumed_run_ends_in_the_weights_of_an_uninterrupted_one(here, tmp_path):
    options = ["--save_steps", "1", "--logging_steps", "1", "--max_steps", "4", "--save_total_limit", "9"]
    run_command("train", RECIPE, "--output_dir", tmp_path / "whole", *options)
    checkpoints = tmp_path / "cut" / "checkpoints"
    shutil.copytree(tmp_path / "whole" / "checkpoints" / "checkpoint-2", checkpoints / "checkpoint-2")
    often = ["--eval_strategy", "steps", "--eval_steps", "1"]  # an evaluation may not change what is trained either
    run_command("train", RECIPE, "--output_dir", tmp_path / "cut", *options, *often, "--resume_from_checkpoint", "true")
    assert (checkpoints / "checkpoint-3").is_dir() and not (checkpoints / "checkpoint-1").exists()
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    cut, whole = ((tmp_path / run / "adapter" / "adapter_model.safetensors").read_bytes() for run in ("cut", "whole"))
    assert cut == whole


def test_a_run_that_was_killed_after_its_last_step_is_trained_no_further(here, tmp_path):
    args = [RECIPE, "--output_dir", tmp_path, "--max_steps", 2, "--save_steps", 1, "--resume_from_checkpoint", "last"]
    for _ in range(3):
        run_command("train", *args)
        assert (tmp_path / "checkpoints" / "last").read_text() == "checkpoint-2\n"
        shutil.rmtree(tmp_path / "adapter")


def test_the_logs_tell_trained_tokens_in_a_second_and_memory_to_tensorboard_too(here, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from ra_ner.training import throughput as progress

    steps = []
    begin_step = progress.Throughput.begin_step
    monkeypatch.setattr(
        progress.Throughput, "begin_step", lambda self, tokens: (steps.append(int(tokens)), begin_step(self, tokens))
    )
    data = dataset_with_text(tmp_path / "d", "quickstart", ["a", "b", "c"])
    options = ["--dataset_name", data, "--logging_steps", "1", "--report_to", "tensorboard", "--max_steps", "3"]
    run_command("train", RECIPE, "--output_dir", tmp_path, *options)
    assert steps == [3, 3, 3], "each row trains `[]` and the token that ends the turn"
    last = json.loads((tmp_path / "checkpoints" / "checkpoint-3" / "trainer_state.json").read_text())["log_history"][-1]
    assert last["trained_tokens_per_second"] > 0
    assert 0.05 < last["peak_memory_gb"] < 64
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    assert [event.step for event in events.Scalars("train/trained_tokens_per_second")] == [1, 2, 3]


def test_a_tracker_that_is_not_installed_is_refused_at_once(here, tmp_path, monkeypatch):
    from ra_ner.training import throughput as progress

    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="`report_to: wandb`: it is not installed; `pip install wandb`"):
        run_command("train", RECIPE, "--output_dir", tmp_path, "--report_to", "wandb")


TEXT = {"vocab_size": 259, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 32}
TEXT |= {"num_attention_heads": 2, "num_key_value_heads": 1, "eos_token_id": 2}
QWEN = {"layer_types": ["linear_attention", "full_attention"]}
QWEN |= {f"linear_{key}": 2 for key in ("num_key_heads", "num_value_heads", "key_head_dim", "value_head_dim")}
GEMMA = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 259, "global_head_dim": 32}


def save_model_that_sees(family: str, folder: Path, text: dict, vision: dict | None = None) -> None:
    """A small model of a family whose models read images too."""
    import transformers

    config = getattr(transformers, f"{family}Config")(text_config=TEXT | text, vision_config=vision)
    getattr(transformers, f"{family}ForConditionalGeneration")(config).save_pretrained(folder)
    byte_level_tokenizer().save_pretrained(folder)


def test_a_base_that_takes_no_number_of_tokens_is_trained_and_every_token_counts_the_same(here, tmp_path, capsys):
    """Such as Gemma 4."""
    save_model_that_sees("Gemma4", tmp_path / "base", GEMMA)
    options = [RECIPE, "--model_name_or_path", tmp_path / "base", "--max_steps", 2, "--logging_steps", 1]
    options += ["--load_in_4bit", "false", "--dtype", "float32", "--bf16", "false"]
    for rows, accumulated in ((1, 2), (2, 1)):
        batch = ["--per_device_train_batch_size", rows, "--gradient_accumulation_steps", accumulated]
        run_command("train", *options, *batch, "--output_dir", tmp_path / f"rows_{rows}")
    assert losses(tmp_path / "rows_1") == pytest.approx(losses(tmp_path / "rows_2"), rel=1e-5)
    assert " trained tokens/s" in capsys.readouterr().out


def test_a_model_that_sees_is_trained_as_the_language_model_that_is_used_afterwards(here, tmp_path, capsys):
    from ra_ner.inference.transformers import TransformersEngine

    vision = {"hidden_size": 32, "intermediate_size": 64, "depth": 1, "num_heads": 2, "out_hidden_size": 64}
    save_model_that_sees("Qwen3_5", tmp_path / "base", QWEN, vision)
    run_command("train", RECIPE, "--model_name_or_path", tmp_path / "base", "--max_steps", 1, "--output_dir", tmp_path)
    assert "memory   not estimated for this architecture" in capsys.readouterr().out
    TransformersEngine(tmp_path / "base", tmp_path / "adapter")


def test_resuming_where_there_is_no_checkpoint_starts_afresh(here, tmp_path):
    run_command("train", RECIPE, "--output_dir", tmp_path, "--max_steps", "1", "--resume_from_checkpoint", "last")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


def test_the_base_model_must_be_named(here, tmp_path):
    recipe = write_recipe(tmp_path / "r.yaml", language="en", train={"use_peft": True})
    with pytest.raises(UserError, match="no `model_name_or_path`"):
        run_command("train", recipe, "--output_dir", tmp_path / "o")


def test_a_cpu_scores_the_trained_positions_alone_with_the_loss_of_plain_trl(models, monkeypatch):
    """Once plain TRL does so too, `trained_positions_only` can go."""
    from types import SimpleNamespace

    import torch
    import trl.trainer.utils as trl_utils
    from transformers import AutoModelForCausalLM

    from ra_ner.training.trainer import trained_positions_only

    model, score, scored = AutoModelForCausalLM.from_pretrained(models / "lm"), trl_utils._ChunkedLogProbFunction, []
    trl_utils.add_fused_lm_head(model)
    ids = torch.arange(3, 23)[None]
    labels = torch.where((ids > 7) & (ids < 11), ids, -100)

    def apply(hidden, *args):
        scored.append(len(hidden))
        return score.apply(hidden, *args)

    monkeypatch.setattr(trl_utils, "_ChunkedLogProbFunction", SimpleNamespace(apply=apply))
    with trained_positions_only():
        ours = model(input_ids=ids, labels=labels, fused_lm_head=True).loss
    plain = model(input_ids=ids, labels=labels, fused_lm_head=True).loss
    assert scored == [3, 19]
    torch.testing.assert_close(ours, plain)


def test_training_with_evaluations_is_training_without_them(here, tmp_path):
    """On CPUs with AVX512-BF16 a 4-bit layer that has once been in eval mode would have no gradient any more."""
    options = ["--max_steps", "4", "--logging_steps", "1", "--save_steps", "4"]
    run_command("train", RECIPE, "--output_dir", tmp_path / "plain", *options)
    often = ["--eval_strategy", "steps", "--eval_steps", "1"]
    run_command("train", RECIPE, "--output_dir", tmp_path / "evaluated", *options, *often)
    assert losses(tmp_path / "evaluated") == losses(tmp_path / "plain")
    weights = [
        (tmp_path / run / "adapter" / "adapter_model.safetensors").read_bytes() for run in ("plain", "evaluated")
    ]
    assert weights[0] == weights[1]


def test_a_recipe_of_six_lines_trains_as_the_paper_does(tmp_path):
    recipe = write_recipe(
        tmp_path / "mine.yaml", language="en", dataset={"corpus": "c"}, train={"model_name_or_path": "Qwen/Qwen3-8B"}
    )
    _, _, model, args, _ = train_parser().parse_recipe([str(recipe)])
    assert model.use_peft and model.load_in_4bit and model.use_bnb_nested_quant
    assert (model.bnb_4bit_quant_type, model.dtype, model.lora_target_modules) == ("nf4", "bfloat16", "all-linear")
    assert (model.lora_r, model.lora_alpha, model.lora_dropout) == (8, 16, 0)
    assert (args.learning_rate, args.lr_scheduler_type, args.warmup_steps, args.num_train_epochs) == (
        (5e-5, "cosine", 0.03, 3)
    )
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps == 8
    assert args.max_length == load_recipe(recipe).dataset.max_length == 2048 and args.activation_checkpointing
    assert (args.eval_strategy, args.eval_steps, args.load_best_model_at_end) == ("steps", 100, True)
    assert load_recipe(recipe).dataset.encoder_for("en") == "thenlper/gte-large"
    text = " ".join(train_parser().format_help().split())
    assert "(default: 5e-05)" in text
    assert "Rows are never truncated: see on_overflow. (default: 2048)" in text, "TRL's help says otherwise"
    assert "every time the model is saved" not in text and "the repo will be public" not in text, "of TRL"


def test_a_mixed_dataset_is_validated_in_both_forms_and_the_best_checkpoint_is_that_of_their_mean(here, tmp_path):
    data = tmp_path / "data"
    run_command("build", RECIPE, "--examples_probability", "0.5", "--output_dir", data)
    options = ["--max_steps", "3", "--eval_strategy", "steps", "--eval_steps", "1", "--save_steps", "1"]
    options += ["--load_best_model_at_end", "true", "--output_dir", tmp_path, "--dataset_name", data]
    run_command("train", RECIPE, *options)
    last = (tmp_path / "checkpoints" / "last").read_text().strip()
    state = json.loads((tmp_path / "checkpoints" / last / "trainer_state.json").read_text())
    found = {key: [entry[key] for entry in state["log_history"] if key in entry] for key in LOSS_KEYS}
    assert all(len(losses) == 3 for losses in found.values())
    zero_shot, in_context, mean = found.values()
    assert mean == [pytest.approx((a + b) / 2) for a, b in zip(zero_shot, in_context, strict=True)]
    assert zero_shot != in_context and state["best_metric"] == min(mean)
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert "| last validation zero-shot loss |" in card and "| last validation in-context loss |" in card


@pytest.mark.parametrize("validation", [None, ["<|im_end|>"]], ids=["no split", "all rows dropped"])
def test_a_dataset_without_validation_rows_is_trained_without_evaluation(here, tmp_path, capsys, validation):
    data = dataset_with_text(tmp_path / "d", "quickstart", ["a", "b"], validation=validation)
    often = ["--eval_strategy", "steps", "--eval_steps", "1", "--save_steps", "1", "--load_best_model_at_end", "true"]
    often += ["--eval_on_start", "true"]
    run_command("train", RECIPE, "--output_dir", tmp_path, "--dataset_name", data, "--max_steps", "1", *often)
    assert "no validation rows, so there is no evaluation" in capsys.readouterr().out
    assert (tmp_path / "adapter").is_dir()


def test_the_best_weights_are_saved_as_they_were_trained(here, trainers, tmp_path):
    """The highest loss counts as the best here, so that the first step is the best and not the last."""
    from safetensors.torch import load_file

    often = ["--max_steps", "3", "--save_steps", "1", "--eval_strategy", "steps", "--eval_steps", "1"]
    best = ["--load_best_model_at_end", "true", "--metric_for_best_model", "eval_loss", "--greater_is_better", "true"]
    run_command("train", RECIPE, "--output_dir", tmp_path, *often, *best)
    checkpoint = Path(trainers[0].state.best_model_checkpoint)
    saved, trained = (load_file(folder / "adapter_model.safetensors") for folder in (tmp_path / "adapter", checkpoint))
    assert checkpoint.name == "checkpoint-1"
    assert {name: weight.dtype for name, weight in saved.items()} == {name: w.dtype for name, w in trained.items()}
    assert all((saved[name] == trained[name]).all() for name in trained)


def test_the_best_checkpoint_is_found_in_a_run_that_was_moved_and_no_copy_is_removed(here, tmp_path, capsys):
    """The first step is the best. A copy of the user's stays, and so does the last checkpoint, to resume from."""
    often = [
        "--max_steps",
        2,
        "--save_steps",
        1,
        "--eval_strategy",
        "steps",
        "--eval_steps",
        1,
        "--save_total_limit",
        1,
    ]
    often += ["--load_best_model_at_end", "true", "--greater_is_better", "true"]
    old, new = tmp_path / "old", tmp_path / "new"
    run_command("train", RECIPE, "--output_dir", old, *often)
    shutil.copytree(old / "checkpoints" / "checkpoint-1", old / "checkpoints" / "checkpoint-1-mine")
    best = (old / "adapter" / "adapter_model.safetensors").read_bytes()
    shutil.rmtree(old / "adapter")
    old.rename(new)
    run_command("train", RECIPE, "--output_dir", new, *often, "--resume_from_checkpoint", "last")
    assert (new / "adapter" / "adapter_model.safetensors").read_bytes() == best
    left = {path.name for path in (new / "checkpoints").glob("checkpoint-*")}
    assert left == {"checkpoint-1", "checkpoint-1-mine", "checkpoint-2"}
    shutil.rmtree(new / "checkpoints" / "checkpoint-1")
    run_command("train", RECIPE, "--output_dir", new, *often, "--resume_from_checkpoint", "last")
    assert "the best checkpoint so far" in capsys.readouterr().out


def test_the_arguments_of_a_caller_stay_as_they_are_and_trl_is_patched_only_while_it_trains(here, tmp_path):
    import trl.trainer.utils as trl_utils

    from ra_ner.training.trainer import train

    before = trl_utils._use_triton
    recipe, config, model, args, _ = train_parser().parse_recipe(
        [RECIPE, "--output_dir", str(tmp_path / "run"), "--max_steps", "1"]
    )
    given = [vars(model).copy(), {key: value for key, value in vars(args).items() if key != "distributed_state"}]
    adapter = train(recipe, config, model, args)
    assert adapter == tmp_path / "run" / "adapter" and trl_utils._use_triton is before
    assert given == [vars(model), {key: value for key, value in vars(args).items() if key != "distributed_state"}]


def test_the_terminal_shows_one_line_for_each_log_entry(here, tmp_path, capsys):
    options = ["--max_steps", "2", "--logging_steps", "1", "--eval_strategy", "steps", "--eval_steps", "2"]
    run_command("train", RECIPE, "--output_dir", tmp_path, *options)
    out = capsys.readouterr().out
    line = r"step {}/2  loss \d\.\d{{4}}  lr \d\.\de[-+]\d\d  [\d,]+ trained tokens/s  \d+\.\d GB"
    assert re.search("\n".join([line.format(1), line.format(2), r"step 2/2  validation loss \d\.\d{4}"]), out)
    assert f"adapter: {tmp_path}/adapter" in out and "next: ra-ner evaluate recipes/quickstart.yaml" in out
    assert "{'" not in out


@pytest.mark.parametrize(
    "change, message",
    [
        (
            ["--learning_rate", "1e30"],
            "after step 1: the (loss|gradient) is not finite.* is checkpoint-1",
        ),
        (
            ["--learning_rate", "1e39"],
            "after step 1: the weight .*lora.* is not finite.* is none",
        ),
        (["--max_grad_norm", "0"], "after step 2: the gradient is not finite.* is checkpoint-2"),
        (["--eval_strategy", "steps", "--eval_steps", "1"], "the validation loss is not finite"),
    ],
    ids=["loss", "weight", "gradient", "validation"],
)
def test_a_run_that_diverges_ends_in_one_line_and_keeps_the_last_good_checkpoint(
    here, tmp_path, monkeypatch, change, message
):
    from safetensors.torch import load_file

    import ra_ner.training.trainer as module

    class Broken(module.AdapterTrainer):
        """Its gradients are not finite from the third step on, where nothing else makes the run diverge."""

        def training_step(self, *args, **kwargs):
            loss = super().training_step(*args, **kwargs)
            if "--max_grad_norm" in change and self.state.global_step == 2:
                next(p for p in self.model.parameters() if p.requires_grad).grad.fill_(float("inf"))
            return loss

        def prediction_step(self, *args, **kwargs):
            loss, *rest = super().prediction_step(*args, **kwargs)
            return loss * float("nan"), *rest

    monkeypatch.setattr(module, "AdapterTrainer", Broken)
    steps = ["--max_steps", "4", "--save_steps", "1", "--logging_steps", "1", "--warmup_steps", "0"]
    with pytest.raises(UserError, match=f"diverged {message}" if "step" in message else message):
        run_command("train", RECIPE, "--output_dir", tmp_path, *steps, *change)
    assert not (tmp_path / "adapter").exists()
    for file in tmp_path.glob("checkpoints/*/adapter_model.safetensors"):
        assert all(weight.isfinite().all() for weight in load_file(file).values())
    for file in tmp_path.glob("checkpoints/*/trainer_state.json"):
        assert "nan" not in file.read_text().lower()


def test_a_control_token_in_an_answer_drops_the_row_too(here, trainers, tmp_path):
    data = dataset_with_text(tmp_path / "d", "quickstart", ["a"], answer='["<|im_end|>"]')
    with pytest.raises(UserError, match="every training row contains a control token"):
        run_command("train", RECIPE, "--output_dir", tmp_path / "o", "--dataset_name", data)
