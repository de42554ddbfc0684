"""Training logs: throughput, memory, one line for each entry, and where they are kept."""

import logging
import resource
import time
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback
from transformers.integrations import TensorBoardCallback
from trl import SFTConfig

from ..errors import UserError

logger = logging.getLogger(__name__)

TRACKERS = ("tensorboard", "wandb", "trackio")


def check_trackers(args: SFTConfig) -> None:
    """Check that the trackers of `report_to` are known and installed.

    Raises:
        UserError: one is not.
    """
    for name in args.report_to:
        if name not in TRACKERS:
            raise UserError(f"`report_to: {name}`: choose from none, {', '.join(TRACKERS)}")
        if find_spec(name) is None:
            raise UserError(f"`report_to: {name}`: it is not installed; `pip install {name}`")


class Throughput(TrainerCallback):
    """Counts trained tokens and the time of training steps, without evaluating and saving."""

    def __init__(self):
        self.tokens, self.seconds, self.begun = 0, 0.0, 0.0

    def begin_step(self, tokens: int) -> None:
        """Start the clock of a step that trains `tokens` tokens, over all processes."""
        self.tokens += tokens
        self.begun = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        self.seconds += time.perf_counter() - self.begun

    def read(self) -> dict[str, float]:
        """Trained tokens per second since the last call."""
        rate = {"trained_tokens_per_second": round(float(self.tokens) / max(self.seconds, 1e-9), 1)}
        self.tokens, self.seconds = 0, 0.0
        return rate


class _LogLines(ProgressCallback):
    """One progress bar for training, none for evaluations, and one line for each log entry instead of a dictionary."""

    def on_prediction_step(self, args, state, control, **kwargs) -> None:
        """Show no second bar."""

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if state.is_world_process_zero and (line := log_line(state.global_step, state.max_steps, logs or {})):
            logger.info(line)


def log_line(step: int, steps: int, logs: dict[str, float]) -> str:
    """What the terminal shows of a log entry, empty for entries without a loss."""
    if "loss" in logs:
        return (
            f"step {step}/{steps}  loss {logs['loss']:.4f}  lr {logs['learning_rate']:.1e}  "
            f"{logs['trained_tokens_per_second']:,.0f} trained tokens/s  {logs['peak_memory_gb']:.1f} GB"
        )
    return f"step {step}/{steps}  validation loss {logs['eval_loss']:.4f}" if "eval_loss" in logs else ""


def log_in_lines(trainer: Trainer) -> None:
    """Replace the Trainer's own output by `log_line`."""
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_LogLines)


def peak_memory(device: torch.device) -> float:
    """The most memory that this process has held, in GB: of the device, on a CPU of the machine."""
    if device.type == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return torch.accelerator.max_memory_allocated(device) / 1e9


def log_into(folder: Path, trainer: Trainer) -> None:
    """Write TensorBoard's files to `folder`, unless the variable TENSORBOARD_LOGGING_DIR names another."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(folder)
