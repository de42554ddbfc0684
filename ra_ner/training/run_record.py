"""What a training run leaves for the card of its adapter: settings, measurements, and the curves of its losses."""

import dataclasses
import json
import platform
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import Trainer

CURVES = "training_curves.png"
# Keys that tell of the machine or of what is shown and kept, not of what was trained.
_NO_SETTINGS = {
    "accelerator_config", "dataloader_pin_memory", "ddp_find_unused_parameters", "ddp_timeout", "disable_tqdm",
    "hub_model_id", "hub_private_repo", "hub_strategy", "logging_dir", "output_dir", "push_to_hub", "report_to",
    "resume_from_checkpoint", "run_name", "use_cpu",
}  # fmt: skip


def changed_settings(recipe_section: dict, *configs: object) -> dict:
    """Each key of the recipe's section, and each other one that is not at its default, as the run has it.

    A flag of the command line wins over the recipe, so the recipe alone does not tell.
    """
    changed = {}
    for config in configs:
        for key in dataclasses.fields(config):
            value = getattr(config, key.name)
            default = key.default if key.default_factory is dataclasses.MISSING else key.default_factory()
            if not key.init or key.name in _NO_SETTINGS:
                continue
            if key.name in recipe_section or value not in (default, None, []):
                # The configs make enums of words and objects of mappings; what YAML can't hold is shown as a word.
                changed[key.name] = json.loads(json.dumps(value, default=str))
    return {key: changed[key] for key in [*recipe_section, *changed] if key in changed}


def measurements(trainer: "Trainer", trained_tokens: int) -> list[tuple[str, object]]:
    """Rows of the card's table; `trained_tokens` are those of an epoch."""
    history, args = trainer.state.log_history, trainer.args
    rows = [("trained tokens an epoch", f"{trained_tokens:,}"), ("epochs", f"{trainer.state.epoch or 0:.2f}")]
    rows += [("steps", trainer.state.global_step)]
    for name, key in (("last training loss", "loss"), ("last validation loss", "eval_loss")):
        rows += [(name, f"{entry[key]:.4f}") for entry in history[::-1] if key in entry][:1]
    seconds = [entry["train_runtime"] for entry in history if "train_runtime" in entry]
    if seconds:
        rows.append(("training time, since it was last started", timedelta(seconds=round(seconds[-1]))))
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
    """Draw training and validation loss over steps into `folder`; return the PNG's name, None if nothing was logged.

    Args:
        history: `trainer.state.log_history`.
    """
    from matplotlib.figure import Figure  # not pyplot, which looks for a window system

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, key, style in (("training", "loss", ".-"), ("validation", "eval_loss", "o-")):
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
