"""What a training run records for the card of its adapter: settings, measurements and loss curves."""

import dataclasses
import json
import platform
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from trl import ModelConfig, SFTConfig

from ..recipe import Recipe
from ..recipe_keys import TrainConfig
from .defaults import DEFAULTS, train_parser

if TYPE_CHECKING:
    from transformers import Trainer

CURVES = "training_curves.png"
LOSSES = {  # key in the log, and style of the line; the last two of validation rows in two forms
    "training": ("loss", ".-"),
    "validation": ("eval_loss", "o-"),
    "validation zero-shot": ("eval_zero_shot_loss", "s--"),
    "validation in-context": ("eval_in_context_loss", "^--"),
}
# Keys about the machine, the display or the output, which do not change what is trained.
_NOT_SETTINGS = {
    "accelerator_config", "dataloader_pin_memory", "ddp_find_unused_parameters", "ddp_timeout", "disable_tqdm",
    "hub_model_id", "hub_private_repo", "hub_strategy", "logging_dir", "output_dir", "push_to_hub", "report_to",
    "resume_from_checkpoint", "run_name", "use_cpu",
}  # fmt: skip
# Settings that a run may change when it resumes: what is logged, saved and measured, and how fast, but not what is
# trained. Batch sizes are compared as the effective one; dataset and base by their revisions, the template by its text.
_MAY_CHANGE = {
    "activation_checkpointing", "attn_implementation", "chat_template_path", "dataloader_num_workers",
    "dataloader_persistent_workers", "dataloader_prefetch_factor", "dataset_config", "dataset_name",
    "dataset_num_proc", "dataset_revision", "ddp_backend", "ddp_bucket_cap_mb", "do_eval", "eval_accumulation_steps",
    "eval_delay", "eval_on_start", "eval_steps", "eval_strategy", "gradient_accumulation_steps",
    "gradient_checkpointing", "gradient_checkpointing_kwargs", "greater_is_better", "include_num_input_tokens_seen",
    "load_best_model_at_end", "log_level", "log_level_replica", "log_on_each_node", "logging_first_step",
    "logging_steps", "logging_strategy", "merge", "metric_for_best_model", "model_name_or_path", "model_revision",
    "per_device_eval_batch_size", "per_device_train_batch_size", "project", "save_on_each_node", "save_only_model",
    "save_steps", "save_strategy", "save_total_limit", "skip_memory_metrics", "torch_empty_cache_steps",
    "trackio_bucket_id", "trackio_space_id", "trackio_static_space_id",
}  # fmt: skip


def effective_settings(recipe_section: dict, *configs: object) -> dict:
    """The settings of a run: keys of the recipe, our defaults, and each other key that is not at its own default.

    Values are those of `configs`, in which flags of the command line have overridden the recipe.
    """
    settings = {}
    for config in configs:
        for key in dataclasses.fields(config):
            value = getattr(config, key.name)
            default = key.default if key.default_factory is dataclasses.MISSING else key.default_factory()
            if not key.init or key.name in _NOT_SETTINGS:
                continue
            if key.name in recipe_section or key.name in DEFAULTS or value not in (default, None, []):
                # The configs turn words into enums and mappings into objects: what JSON can't hold becomes a word.
                settings[key.name] = json.loads(json.dumps(value, default=str))
    return {key: settings[key] for key in [*recipe_section, *DEFAULTS, *settings] if key in settings}


def settings_of(recipe: Recipe) -> dict:
    """The settings that a training of a recipe records, without flags of the command line."""
    config, model_args, args, _ = train_parser().parse_section(recipe)
    return effective_settings(recipe.sections["train"], config, model_args, args)


def changed_settings(before: dict, now: dict) -> dict[str, tuple[object, object]]:
    """The settings that change what is trained and differ between two runs, each with its two values.

    Args:
        before, now: as `effective_settings` returns them; a key that one of them lacks has its default there.
    """
    defaults = {}
    for config in (TrainConfig, ModelConfig, SFTConfig):
        for key in dataclasses.fields(config):
            defaults[key.name] = key.default if key.default_factory is dataclasses.MISSING else key.default_factory()
    values = {key: (before.get(key, defaults.get(key)), now.get(key, defaults.get(key))) for key in before | now}
    return {key: pair for key, pair in values.items() if key not in _MAY_CHANGE and pair[0] != pair[1]}


def measurements(trainer: "Trainer", trained_tokens: int) -> list[tuple[str, object]]:
    """Rows of the card's training table: label and value.

    Args:
        trained_tokens: tokens that the loss is on, in one epoch.
    """
    history, args = trainer.state.log_history, trainer.args
    rows = [("trained tokens in an epoch", f"{trained_tokens:,}"), ("epochs", f"{trainer.state.epoch or 0:.2f}")]
    rows += [("steps", trainer.state.global_step)]
    for name, (key, _) in LOSSES.items():
        rows += [(f"last {name} loss", f"{entry[key]:.4f}") for entry in history[::-1] if key in entry][:1]
    seconds = [entry["train_runtime"] for entry in history if "train_runtime" in entry]
    if seconds:
        rows.append(("training time since the last start", timedelta(seconds=round(seconds[-1]))))
    rows.append(("hardware", f"{args.world_size} x {device_name(args.device)}"))
    peaks = [entry["peak_memory_gb"] for entry in history if "peak_memory_gb" in entry]
    if peaks:
        rows.append(("peak memory of a process", f"{max(peaks):.1f} GB"))
    return rows


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} ({device.type})"


def draw_curves(history: list[dict], folder: Path) -> str | None:
    """Draw training and validation loss over steps as a PNG in `folder`.

    Args:
        history: `trainer.state.log_history`.

    Returns:
        the file's name, None if no loss was logged.
    """
    from matplotlib.figure import Figure  # pyplot would look for a window system

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, (key, style) in LOSSES.items():
        points = [(entry["step"], entry[key]) for entry in history if key in entry]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=name)
    if not axes.lines:
        return None
    axes.set(xlabel="step", ylabel="loss")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(folder / CURVES, dpi=120, metadata={"Software": None})
    return CURVES
