"""QLoRA training of an adapter on an RA-IT dataset, with TRL's SFTTrainer."""

import copy
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list
from datasets import Dataset, DatasetDict, load_dataset
from datasets.exceptions import DatasetsError
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from trl import ModelConfig, SFTConfig, SFTTrainer, get_peft_config, get_quantization_config
from trl.trainer.utils import global_then_local_main_first

from .. import __version__, terminal
from ..atomic_files import remove_leftovers, temporary_name
from ..dataset.build import ZERO_SHOT
from ..errors import UserError, one_line
from ..foreign_files import read_json
from ..hub import repos
from ..hub.card import REPO, license_of
from ..inference.weights import check_adapter
from ..output_folder import MANIFEST, check, check_place, replace
from ..prompting.chat_template import control_tokens, holds_control_token, load_training_tokenizer
from ..recipe import Recipe
from ..recipe_keys import TrainConfig
from . import attention, checkpoints, checks, key_checks, launch_checks, preview, run_record, throughput
from .card import OF_THE_WEIGHTS, model_card
from .shown_answers import answer, shown_prompts
from .workarounds import checked_base, keep_weights_trainable, trained_positions_only

logger = logging.getLogger(__name__)


class AdapterTrainer(SFTTrainer):
    """TRL's trainer with complete checkpoints, throughput in its logs, and one line for each log entry.

    Args:
        facts: facts about the run, written to ra_it.json of each checkpoint.
    """

    def __init__(self, *args, facts: dict, **kwargs):
        self.facts, self.throughput = facts, throughput.Throughput()
        kwargs["args"].logging_nan_inf_filter = False  # would show a loss that is not finite as 0; it ends the run here
        # Only `mark_last` removes checkpoints: the Trainer would remove older ones before the new one is complete, and
        # at the end, with a limit of 1, all but the best: the last one, and copies of the user's too.
        self.save_total_limit, kwargs["args"].save_total_limit = kwargs["args"].save_total_limit, None
        super().__init__(*args, callbacks=[self.throughput], **kwargs)
        self.model_accepts_loss_kwargs = True  # the loss is TRL's; Gemma 4 takes no count for its own
        throughput.log_in_lines(self)
        keep_weights_trainable(self.model)

    def create_optimizer(self, *args, **kwargs):
        with _settings_errors():
            return super().create_optimizer(*args, **kwargs)

    def create_scheduler(self, *args, **kwargs):
        with _settings_errors():
            return super().create_scheduler(*args, **kwargs)

    def get_batch_samples(self, *args, **kwargs):
        batches, trained_tokens = super().get_batch_samples(*args, **kwargs)
        self.throughput.begin_step(trained_tokens)
        return batches, trained_tokens

    def training_step(self, *args, **kwargs) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        self._check_finite("loss", loss)
        return loss

    def _get_grad_norm(self, *args, **kwargs):
        norm = super()._get_grad_norm(*args, **kwargs)
        if norm is not None and self.accelerator.scaler is None:  # a gradient scaler skips such a step
            self._check_finite("gradient", norm)
        return norm

    def check_weights(self) -> None:
        """Check that all trained weights are finite.

        Raises:
            UserError: one is not.
        """
        for name, weight in self.model.named_parameters():
            if weight.requires_grad:
                self._check_finite(f"weight {name}", weight.to_local() if hasattr(weight, "to_local") else weight)

    def _check_finite(self, what: str, value: torch.Tensor | float) -> None:
        if not torch.isfinite(torch.as_tensor(value)).all():
            last = checkpoints.last_step(Path(self.args.output_dir))
            raise UserError(
                f"training has diverged after step {self.state.global_step}: the {what} is not finite. The last good "
                f"checkpoint in {self.args.output_dir} is {f'checkpoint-{last}' if last else 'none'}. Lower "
                "`learning_rate`, or look at the rows and the base, and start afresh"
            )

    def evaluate(self, eval_dataset=None, *args, **kwargs) -> dict[str, float]:
        """Of validation rows in two forms `eval_loss` is the mean of their losses, which are logged apart."""
        metrics = super().evaluate(eval_dataset, *args, **kwargs)
        if eval_dataset is None and isinstance(self.eval_dataset, dict):
            losses = [metrics[f"eval_{form}_loss"] for form in self.eval_dataset]
            metrics["eval_loss"] = sum(losses) / len(losses)
            self.log({"eval_loss": metrics["eval_loss"]})
        return metrics

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        if "eval_loss" in logs:
            self._check_finite("validation loss", logs["eval_loss"])
        if "loss" in logs:  # of training; evaluation logs `eval_loss`
            peak = torch.tensor(throughput.peak_memory(self.args.device), device=self.args.device)
            logs |= self.throughput.read() | {"peak_memory_gb": round(self.accelerator.gather(peak).max().item(), 3)}
        super().log(logs, *args, **kwargs)

    def _save_checkpoint(self, model, trial) -> None:
        self.check_weights()
        super()._save_checkpoint(model, trial)
        checkpoints.mark_last(self, self.facts, self.save_total_limit)

    def _init_training_state(self, max_steps, steps_per_epoch, epochs, checkpoint, trial) -> tuple[int, int]:
        trained = super()._init_training_state(max_steps, steps_per_epoch, epochs, checkpoint, trial)
        if checkpoint and not self.state.best_model_checkpoint:
            self.state.best_model_checkpoint = checkpoints.find_best(Path(checkpoint))
        return trained

    def _run_epoch(self, *args, **kwargs) -> None:
        """Stop when all steps are done.

        Resumed from the checkpoint of `max_steps`, transformers 5.23 would train one more step.
        """
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def _load_from_checkpoint(self, checkpoint: str, *args, **kwargs) -> None:
        if not self.is_fsdp_enabled and not self.is_deepspeed_enabled:  # they save the weights in other forms
            check_adapter(self.model, Path(checkpoint))
        with self._same_dtypes():
            super()._load_from_checkpoint(checkpoint, *args, **kwargs)

    def _load_best_model(self) -> None:
        with self._same_dtypes():
            super()._load_best_model()

    @contextmanager
    def _same_dtypes(self) -> Iterator[None]:
        """Keep each parameter's number format while an adapter is loaded.

        TRL trains the adapter of a quantised model in bfloat16, and PEFT's `load_adapter` casts it to float32 (trl
        1.16, peft 0.21): a resumed run would differ, and the best adapter would be saved at twice its size. Can go
        once the Trainer passes `autocast_adapter_dtype=False`.
        """
        dtypes = {name: parameter.dtype for name, parameter in self.model.named_parameters()}
        yield
        for name, parameter in self.model.named_parameters():
            parameter.data = parameter.data.to(dtypes[name])


@contextmanager
def _settings_errors() -> Iterator[None]:
    """Turn what an optimizer or a schedule of the learning rate does not accept into a `UserError`."""
    try:
        yield
    except (ImportError, TypeError, ValueError) as error:
        raise UserError(f"the training can't begin: {error}") from None


@dataclass(frozen=True)
class PreparedRun:
    """Everything that a run needs, checked.

    Attributes:
        run_dir: holds the folders `checkpoints`, `logs` and `adapter`.
        facts: what ra_it.json of the adapter says.
        sizes: by split, the number of tokens and of trained tokens of each row.
        checkpoint: where to resume, None to start afresh.
        push_to: repo id, None if nothing is pushed.
    """

    recipe: Recipe
    run_dir: Path
    model_args: ModelConfig
    trainer: AdapterTrainer
    base_config: PretrainedConfig
    facts: dict
    sizes: dict[str, checks.Sizes]
    checkpoint: str | None
    push_to: str | None


def train(recipe: Recipe, config: TrainConfig, model_args: ModelConfig, args: SFTConfig) -> Path:
    """Train an adapter, resume if asked to, and push it once at the end if `args.push_to_hub`.

    Args:
        args: `output_dir` is the folder of the run; the adapter goes to its subfolder `adapter`.

    Returns:
        the adapter's folder: weights, tokenizer with the chat template that was trained, ra_it.json and a card.

    Raises:
        UserError: the dataset or a key does not fit, the model can't be loaded, training diverges, or the push fails.
            What was trained is kept.
    """
    terminal.hide_loading_bars()
    with trained_positions_only(), checked_base():
        run = _prepare(recipe, config, model_args, args)
        logger.info(_describe(run))
        _fit(run)
        return _save(run)


def check_output(run_dir: Path) -> None:
    """Check that a training can write to the folder of a run without a loss. Changes nothing.

    Raises:
        UserError: it is no usable folder, or something else stands where the adapter or the checkpoints are to be.
    """
    check_place(run_dir)
    check(run_dir / "adapter", "adapter")
    checkpoints.check_folder(run_dir / "checkpoints")


def plan(recipe: Recipe, config: TrainConfig, model_args: ModelConfig, args: SFTConfig) -> str:
    """Describe what `train` would do, without weights: a training row, lengths, steps and memory.

    Raises:
        UserError: as `train`.
    """
    run = _prepare(recipe, config, model_args, args, dry_run=True)
    return _describe(run, with_row=True)


def _prepare(
    recipe: Recipe, config: TrainConfig, model_args: ModelConfig, args: SFTConfig, dry_run: bool = False
) -> PreparedRun:
    """Fetch and check everything. A dry run takes a dummy model, which TRL makes the same rows for."""
    model_args, args = copy.copy(model_args), copy.copy(args)
    # TRL makes a list of one module a string, which PEFT takes for a pattern of whole names.
    if re.fullmatch(r"[\w.]+", str(model_args.lora_target_modules or "")):
        model_args.lora_target_modules = [model_args.lora_target_modules]
    settings = run_record.effective_settings(recipe.sections["train"], config, model_args, args)
    run_dir, args.output_dir = Path(args.output_dir), str(Path(args.output_dir) / "checkpoints")
    launch_checks.quiet_other_processes(args)
    key_checks.check(recipe, model_args, args)
    launch_checks.check(model_args, args)
    throughput.check_trackers(args)
    push_to = args.hub_model_id if args.push_to_hub and not dry_run else None
    if args.push_to_hub and not dry_run and args.process_index == 0:
        repos.prepare_push("model", args.hub_model_id, args.hub_private_repo is not False, "hub_model_id")
    args.push_to_hub = False  # the adapter is pushed at the end, with its card

    source = config.dataset_name or str(recipe.output_dir / "dataset")
    splits, dataset_facts, dataset_revision = _load_dataset(source, config, recipe)
    files = ["config.json", "adapter_config.json", "README.md"]
    base = repos.fetch_model(model_args.model_name_or_path, model_args.model_revision, files)
    if not Path(model_args.model_name_or_path).is_dir():
        model_args.model_revision = base.revision
    if base.adapter_config:
        raise UserError(f"{model_args.model_name_or_path} is an adapter: train its base, or merge it first")
    try:
        base_config = AutoConfig.from_pretrained(base.path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{model_args.model_name_or_path} is no model that can be trained: {one_line(str(error))}"
        ) from None
    attention.check(base_config, model_args, args, dry_run)
    tokenizer = load_training_tokenizer(
        model_args.model_name_or_path, model_args.model_revision, args.chat_template_path, args.trust_remote_code
    )
    args.chat_template_path = None  # the tokenizer has it now
    splits = _drop_rows_with_control_tokens(splits, tokenizer)
    if not splits.get("validation") and args.eval_strategy != "no":
        logger.info("the dataset has no validation rows, so there is no evaluation during training")
        args.eval_strategy, args.load_best_model_at_end = type(args.eval_strategy)("no"), False
    args.eval_on_start = args.eval_on_start and args.eval_strategy != "no"
    facts = {
        "ra_ner": __version__,
        "recipe": recipe.name,
        "language": dataset_facts["language"],
        **{key: dataset_facts["config"][key] for key in ("wording", "strategy", "k", "encoder")},
        "base": model_args.model_name_or_path,
        "base_revision": base.revision,
        "base_license": license_of(base.path),
        "dataset": source,
        "dataset_config": dataset_facts["recipe"],
        "dataset_revision": dataset_revision,
        "dataset_license": dataset_facts["corpus"]["license"],
        "chat_template": hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()[:16],
        "effective_batch_size": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "config": settings,
    }
    checkpoint = checkpoints.find(args, facts)
    max_length, args.max_length = args.max_length, None  # TRL would cut longer rows silently
    if dry_run:
        model = preview.dummy_model(base_config, model_args)
    else:
        model = model_args.model_name_or_path
        repos.fetch_model(model, model_args.model_revision)  # refuses pickles, which TRL would load
    trainer = _make_trainer(model, splits, tokenizer, model_args, args, facts)
    sizes = checks.check(trainer, max_length, config.on_overflow)
    return PreparedRun(recipe, run_dir, model_args, trainer, base_config, facts, sizes, checkpoint, push_to)


def _describe(run: PreparedRun, with_row: bool = False) -> str:
    return preview.describe(run.trainer, run.sizes, run.base_config, run.model_args, with_row)


def _fit(run: PreparedRun) -> None:
    if run.trainer.is_world_process_zero():
        remove_leftovers(run.run_dir)
    throughput.log_into(run.run_dir / "logs", run.trainer)
    if not Path(run.facts["base"]).is_dir():
        run.trainer.model.peft_config["default"].revision = run.facts["base_revision"]
    checkpoints.begin(run.trainer.args, run.checkpoint)
    with checkpoints.saved_on_sigterm(run.trainer):
        run.trainer.train(resume_from_checkpoint=run.checkpoint)


def _save(run: PreparedRun) -> Path:
    """Write the adapter's folder, completely or not at all, and push it."""
    trainer, adapter = run.trainer, run.run_dir / "adapter"
    trainer.check_weights()
    (new,) = broadcast_object_list([temporary_name(adapter)])
    trainer.save_model(str(new))  # a collective call under FSDP and ZeRO-3, so every process makes it
    if trainer.is_world_process_zero():
        (new / "training_args.bin").unlink(missing_ok=True)  # a pickle that nothing here reads
        _sort_target_modules(new / "adapter_config.json")
        tokens, trained = (sum(size[i] for size in run.sizes["train"]) for i in (0, 1))
        facts = {**run.facts, "counts": {"train_tokens": round(tokens * (trainer.state.epoch or 0))}}
        (new / "ra_it.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        curves = run_record.draw_curves(trainer.state.log_history, new)
        measured = run_record.measurements(trainer, trained)
        card = model_card(facts, trainer.processing_class, measured, curves, _shown_answers(trainer, facts))
        (new / "README.md").write_text(card, encoding="utf-8")
        replace(adapter, new, "adapter")
        if run.push_to:
            _push(adapter, run.push_to, run.recipe)
    trainer.accelerator.wait_for_everyone()
    # Free the DDP wrapper before the process group: the other way round, a process hung at its end in 2 of about 150
    # runs (gloo, torch 2.13).
    trainer.model_wrapped = trainer.model
    trainer.accelerator.free_memory()
    trainer.end()
    return adapter


def _shown_answers(trainer: AdapterTrainer, facts: dict) -> dict[str, str]:
    """The answers that the card shows; none of a model that is shared out, for which all processes must generate."""
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return {}
    prompts = shown_prompts(facts)
    return dict(zip(prompts, answer(trainer, list(prompts.values())), strict=True))


def _load_dataset(source: str, config: TrainConfig, recipe: Recipe) -> tuple[DatasetDict, dict, str]:
    """The rows, the facts about how they were made, and their revision."""
    name = config.dataset_config or recipe.name
    hint = f"build it with `ra-ner build {recipe.path}`"
    if not config.dataset_name and not Path(source).is_dir():
        raise UserError(f"{source} does not exist; {hint}")
    facts, revision = repos.fetch_dataset_facts(source, name, config.dataset_revision, hint)
    if "config" not in facts:
        raise UserError(f"dataset {source} was built by an older version; {hint} again")
    try:
        on_hub = not Path(source).is_dir()
        splits = repos.load_dataset_at(source, revision, name) if on_hub else load_dataset(source, name)
    except (DatasetsError, FileNotFoundError, ValueError) as error:
        raise UserError(f"dataset {source} can't be loaded: {error}") from None
    return splits, facts, revision


def _sort_target_modules(file: Path) -> None:
    """Put the modules in one order. PEFT 0.21 writes a set, so equal runs would count as two models."""
    config = read_json(file)
    if isinstance(config.get("target_modules"), list):
        config["target_modules"].sort()
        file.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def _push(adapter: Path, repo_id: str, recipe: Recipe) -> None:
    files = {file.name: file for file in adapter.iterdir() if file.name not in ("README.md", MANIFEST)}
    card = (adapter / "README.md").read_text(encoding="utf-8").replace(REPO, repo_id)
    on_failure = (
        f"the adapter is kept in {adapter}: run this again with --resume_from_checkpoint true, which does not train "
        "again"
    )
    message = f"Adapter of recipe {recipe.name}"
    commit = repos.push(
        "model", repo_id, files, card, message, on_failure, *repos.CALIBRATIONS, card_keys=OF_THE_WEIGHTS
    )
    logger.info(f"pushed to {repo_id} at {commit}")


def _make_trainer(
    model: str | PreTrainedModel,
    splits: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    model_args: ModelConfig,
    args: SFTConfig,
    facts: dict,
) -> AdapterTrainer:
    """A trainer for an adapter of the model with that name, or for a dummy model without an adapter."""
    adapter = {}
    if isinstance(model, str):
        args.model_init_kwargs = {
            **(args.model_init_kwargs or {}),
            "revision": model_args.model_revision,
            "use_safetensors": True,
            "attn_implementation": model_args.attn_implementation,
            "dtype": model_args.dtype,
        }
        adapter["quantization_config"] = get_quantization_config(model_args)
        adapter["peft_config"] = get_peft_config(model_args)
    with repos.hub_errors(f"model {model_args.model_name_or_path!r} can't be fetched"):
        try:
            return AdapterTrainer(
                model=model,
                args=args,
                train_dataset=splits["train"],
                eval_dataset=_validation(splits) if args.eval_strategy != "no" else None,
                processing_class=tokenizer,
                facts=facts,
                **adapter,
            )
        except RuntimeError as error:
            if "no assistant tokens" not in str(error):  # TRL's own check, which does not say what to do
                raise
            raise UserError(
                "a row has no trained token: it has no answer, or the chat template has no generation marks around the "
                "assistant's turns; correct the dataset or the template"
            ) from None
        except ValueError as error:  # what TRL and PEFT do not accept, such as modules that the base does not have
            raise UserError(f"the training can't begin: {error}") from None


def _validation(splits: DatasetDict) -> Dataset | dict[str, Dataset]:
    """The validation rows; those of a mixed dataset by form."""
    if not splits.get(ZERO_SHOT):
        return splits["validation"]
    return {"zero_shot": splits[ZERO_SHOT], "in_context": splits["validation"]}


def _drop_rows_with_control_tokens(splits: DatasetDict, tokenizer: PreTrainedTokenizerBase) -> DatasetDict:
    """Drop rows that hold a string such as `<|im_end|>`: tokenised for training it would become a control token.

    `build` drops them already, for the tokenizer that its recipe names; a dataset may be trained with another one.
    `sanitize_control_tokens=True`, which keeps such strings text in evaluation, can't be combined with the assistant
    mask (transformers 5.23). Once it can, no row needs to be dropped.
    """
    control = control_tokens(tokenizer)
    with global_then_local_main_first():  # the other processes find the rows in the cache
        kept = splits.filter(
            lambda prompt, completion: not holds_control_token(prompt + completion, control),
            input_columns=["prompt", "completion"],
            desc="Looking for control tokens",
        )
    for split in splits:
        if dropped := len(splits[split]) - len(kept[split]):
            logger.info(f"{split}: dropped {dropped} of {len(splits[split])} rows that contain a control token")
    if not len(kept["train"]):
        raise UserError("every training row contains a control token of the tokenizer; there is nothing to train on")
    return kept
