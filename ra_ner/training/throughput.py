"""What the logs tell of speed and memory, and where they go."""

import resource
import time
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import Trainer, TrainerCallback
from transformers.integrations import TensorBoardCallback
from trl import SFTConfig

from ..errors import UserError

TRACKERS = ("tensorboard", "wandb", "trackio")


def check_trackers(args: SFTConfig) -> None:
    """Refuse a tracker of `report_to` that is unknown or not installed, before anything is loaded.

    Raises:
        UserError: see above.
    """
    for name in args.report_to:
        if name not in TRACKERS:
            raise UserError(f"`report_to: {name}`: choose among none, {', '.join(TRACKERS)}")
        if find_spec(name) is None:
            raise UserError(f"`report_to: {name}`: it is not installed; `pip install {name}`")


class Throughput(TrainerCallback):
    """Counts the tokens that are trained and the time spent in training steps, evaluation and saving left out."""

    def __init__(self):
        self.tokens, self.seconds, self.begun = 0, 0.0, 0.0

    def begin_step(self, tokens: int) -> None:
        """`tokens`: how many tokens the step trains, over all processes."""
        self.tokens += tokens
        self.begun = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        self.seconds += time.perf_counter() - self.begun

    def read(self) -> dict[str, float]:
        """Trained tokens in a second since the last reading."""
        rate = {"trained_tokens_per_second": round(float(self.tokens) / max(self.seconds, 1e-9), 1)}
        self.tokens, self.seconds = 0, 0.0
        return rate


def peak_memory(device: torch.device) -> float:
    """GB that this process has held at most: of the device's memory where it has its own, else of the machine's."""
    if device.type == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return torch.accelerator.max_memory_allocated(device) / 1e9


def log_into(folder: Path, trainer: Trainer) -> None:
    """Have TensorBoard's files written to `folder`, unless the variable TENSORBOARD_LOGGING_DIR names another."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(folder)
