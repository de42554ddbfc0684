"""Stopping and resuming: which checkpoint a run goes on from, and a last one when the job is told to stop.

checkpoints/checkpoint-10  checkpoint-20   written by the Trainer; whole where ra_it.json is in it
checkpoints/last                           names the newest whole one of this run, checkpoint-0 before there is one
"""

import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate.utils import gather_object
from huggingface_hub import HfApi, snapshot_download
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from ..atomic_files import write_text
from ..errors import UserError
from ..hub import repos

if TYPE_CHECKING:
    from transformers import Trainer

logger = logging.getLogger(__name__)

# Facts of ra_it.json that a checkpoint and a run that goes on from it share, and what to do where they don't.
MUST_MATCH = {
    "base_revision": "name that one by `model_revision`",
    "dataset_revision": "name that one by `dataset_revision`, or build the same dataset again",
    "effective_batch_size": "change `gradient_accumulation_steps` or the number of processes",
}
# What is fetched of a Hub checkpoint. The optimizer, the schedule and the random states are pickles of torch, which the
# Trainer reads with `weights_only=True` (transformers 5.23): tensors and numbers, no code. Other pickles stay there.
CHECKPOINT_FILES = ["*.json", "*.safetensors", "*.jinja", "optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state*.pth"]
ANSWER_SECONDS = 10  # batch systems and torchrun send SIGKILL 30 s after SIGTERM


def find(args: TrainingArguments, facts: dict) -> str | None:
    """The checkpoint to go on from, None to start afresh.

    `args.resume_from_checkpoint` is `true` or `last` for the newest whole one of `args.output_dir`, if there is any; a
    checkpoint's folder; or a Hub id or id@revision whose repo holds `last-checkpoint` or `checkpoint-N`, written by the
    Trainer's `hub_strategy`. `facts` of this run are compared with the checkpoint's.

    Raises:
        UserError: there is no such checkpoint, it is of another run, or some process can't see it.
    """
    wanted, folder = args.resume_from_checkpoint, Path(args.output_dir)
    if wanted is None or wanted.lower() == "false":
        checkpoint = None
    elif wanted.lower() in ("true", "last"):
        checkpoint = _newest(folder, args.should_save)
    else:
        checkpoint = Path(wanted) if Path(wanted).is_dir() else _fetch(wanted)
    if checkpoint:
        _check(checkpoint, facts)
    if len(set(gather_object([str(checkpoint)]))) > 1:
        raise UserError(f"the processes see different checkpoints: put {folder} on a disk that all machines share")
    return checkpoint and str(checkpoint)


def begin(args: TrainingArguments, checkpoint: str | None) -> None:
    """Point `last` to where the run goes on from: other checkpoints in its folder are of an earlier run."""
    if args.should_save:
        folder = Path(args.output_dir)
        is_here = checkpoint is not None and Path(checkpoint).parent.resolve() == folder.resolve()
        write_text(folder / "last", (Path(checkpoint).name if is_here else f"{PREFIX_CHECKPOINT_DIR}-0") + "\n")


def _check(checkpoint: Path, facts: dict) -> None:
    if not (checkpoint / "trainer_state.json").is_file():
        raise UserError(f"{checkpoint} holds no trainer_state.json, so it is no checkpoint; name a folder checkpoint-N")
    theirs = _facts(checkpoint)
    for key, way_out in MUST_MATCH.items():
        if theirs.get(key, facts[key]) != facts[key]:
            raise UserError(
                f"{checkpoint} was trained with {key} {theirs[key]}, this run has {facts[key]}, so it can't go on from "
                f"there: {way_out}, or start afresh without `resume_from_checkpoint`"
            )


def _step(name: str) -> int:
    return int(name.rpartition("-")[2])


def _last(folder: Path) -> int | None:
    """The step of the newest whole checkpoint of the run that writes to this folder, None before it has begun."""
    file = folder / "last"
    return _step(file.read_text(encoding="utf-8").strip()) if file.is_file() else None


def _newest(folder: Path, say_what_is_skipped: bool) -> Path | None:
    last, whole = _last(folder), []
    for checkpoint in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-[0-9]*"):
        if (checkpoint / "ra_it.json").is_file() and (last is None or _step(checkpoint.name) <= last):
            whole.append(checkpoint)
        elif say_what_is_skipped:
            logger.info(
                f"{checkpoint}: skipped, it was not written to its end or is of an earlier run; name it to use it"
            )
    return max(whole, key=lambda checkpoint: _step(checkpoint.name), default=None)


def _fetch(wanted: str) -> Path:
    repo_id, _, revision = wanted.partition("@")
    with repos.hub_errors(f"resume_from_checkpoint: {wanted!r} can't be fetched"):
        repo = HfApi().model_info(repo_id, revision=revision or None)
        files = {sibling.rfilename for sibling in repo.siblings or []}
        folders = {file.partition("/")[0] for file in files if file.endswith("/trainer_state.json")}
        numbered = [name for name in folders if re.fullmatch(rf"{PREFIX_CHECKPOINT_DIR}-\d+", name)]
        name = "last-checkpoint" if "last-checkpoint" in folders else max(numbered, key=_step, default=None)
        if name is None:
            raise UserError(
                f"{wanted} holds no checkpoint (last-checkpoint/ or checkpoint-N/); an adapter alone can't be resumed, "
                "as its optimizer was not kept"
            )
        if not {f"{name}/adapter_model.safetensors", f"{name}/optimizer.pt", f"{name}/scheduler.pt"} <= files:
            raise UserError(
                f"{wanted}: {name} can't be resumed from the Hub, for it was written under FSDP or ZeRO, with "
                "`save_only_model`, or as pickles: copy the folder to this machine if you trust it, and name that"
            )
        patterns = [f"{name}/{pattern}" for pattern in CHECKPOINT_FILES]
        return Path(snapshot_download(repo_id, revision=repo.sha, allow_patterns=patterns)) / name


def _facts(checkpoint: Path) -> dict:
    """What a checkpoint tells of the run that wrote it; one that is not of this project, the base's commit at most."""
    file = checkpoint / "ra_it.json"
    if file.is_file():
        return json.loads(file.read_text(encoding="utf-8"))
    file = checkpoint / "adapter_config.json"
    revision = json.loads(file.read_text(encoding="utf-8")).get("revision") if file.is_file() else None
    return {"base_revision": revision} if re.fullmatch(r"[0-9a-f]{40}", revision or "") else {}


def mark_last(trainer: "Trainer", facts: dict) -> None:
    """Called by every process once it has written its part of a checkpoint: it is whole now, and older ones can go."""
    trainer.accelerator.wait_for_everyone()
    args = trainer.args
    if args.should_save:
        folder = Path(args.output_dir)
        name = f"{PREFIX_CHECKPOINT_DIR}-{trainer.state.global_step}"
        write_text(folder / name / "ra_it.json", json.dumps(facts, indent=2) + "\n")
        write_text(folder / "last", name + "\n")
        best = trainer.state.best_model_checkpoint
        rotate_checkpoints(args.output_dir, args.save_total_limit, best_model_checkpoint=best, use_mtime=True)


class _StopOnSigterm(TrainerCallback):
    """After the micro-batch in which any process was told to stop, all save a checkpoint and exit with status 143.

    `enable_jit_checkpoint` of transformers 5.23 can't do it: it waits three seconds before it looks, lets each process
    stop by itself, so that the others wait for it for ever, and returns as if all had been trained.
    """

    def __init__(self, trainer: "Trainer"):
        self.trainer = trainer
        self.told = False
        self.answered = threading.Event()
        self.saved_step = 0

    def watch(self, signals: int) -> None:
        """Wait in a thread of its own for SIGTERM, one of the bytes that come out of the pipe `signals`."""
        with os.fdopen(signals, "rb", buffering=0) as pipe:
            while (number := pipe.read(1)) != bytes([signal.SIGTERM]):
                if not number:
                    return
        self.told = True
        if not self.answered.wait(ANSWER_SECONDS):
            logger.info(f"SIGTERM: no answer in {ANSWER_SECONDS} s, so no checkpoint is saved")
            os._exit(128 + signal.SIGTERM)

    def _anyone_told(self) -> bool:
        accelerator = self.trainer.accelerator
        told = torch.tensor(float(self.told), device=accelerator.device)
        if accelerator.reduce(told, reduction="sum").item():
            self.answered.set()
        return self.answered.is_set()

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.saved_step = state.global_step

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if self._anyone_told():
            control.should_save = True  # by the Trainer, after it has logged the step

    def on_save(self, args, state, control, **kwargs) -> None:
        self.saved_step = state.global_step
        if self.answered.is_set():
            logger.info(f"\nSIGTERM: stopped after step {state.global_step}; go on by `--resume_from_checkpoint last`")
            sys.exit(128 + signal.SIGTERM)

    def _save_if_told(self, args, state, control, **kwargs) -> None:
        if self._anyone_told():
            if self.saved_step != state.global_step:
                self.trainer._save_checkpoint(self.trainer.model, trial=None)
            self.on_save(args, state, control)

    on_substep_end = on_prediction_step = _save_if_told


@contextmanager
def saved_on_sigterm(trainer: "Trainer") -> Iterator[None]:
    """Within this context SIGTERM to any process saves a checkpoint and ends all of them with status 143.

    If they don't come to the end of a micro-batch together within ten seconds, they exit without one.
    """
    callback = _StopOnSigterm(trainer)
    trainer.add_callback(callback)
    # A handler in Python would not run while this process waits for another that hangs; the pipe is written to at once.
    out, into = os.pipe()
    os.set_blocking(into, False)
    threading.Thread(target=callback.watch, args=(out,), daemon=True).start()
    pipe_before = signal.set_wakeup_fd(into, warn_on_full_buffer=False)
    handler_before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler_before)
        signal.set_wakeup_fd(pipe_before)
        os.close(into)  # ends the thread
        trainer.remove_callback(callback)
