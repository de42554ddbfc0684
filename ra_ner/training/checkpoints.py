"""Stopping and resuming: which checkpoint a run resumes from, and a last checkpoint when the job is told to stop.

checkpoints/checkpoint-10  checkpoint-20   written by the Trainer; complete if it contains ra_it.json
checkpoints/last                           names the newest complete one of this run; checkpoint-0 before the first
"""

import json
import logging
import os
import re
import shutil
import signal
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate.utils import gather_object
from huggingface_hub import HfApi, snapshot_download
from safetensors import SafetensorError, safe_open
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..atomic_files import write_text
from ..errors import UserError
from ..foreign_files import read_json
from ..hub import repos
from ..output_folder import check_place
from .run_record import changed_settings

if TYPE_CHECKING:
    from transformers import Trainer

logger = logging.getLogger(__name__)

# Facts that must be equal in a checkpoint and a run that resumes from it, and what to do if they differ.
MUST_MATCH = {
    "base_revision": "name that revision with `model_revision`",
    "dataset_revision": "name that revision with `dataset_revision`, or build the same dataset again",
    "chat_template": "name its chat_template.jinja with `chat_template_path`",
    "effective_batch_size": "change `gradient_accumulation_steps` or the number of processes",
}
# Files that are fetched of a Hub checkpoint. Optimizer, schedule and random states are pickles of torch, which the
# Trainer reads with `weights_only=True` (transformers 5.23): tensors and numbers, no code. Other pickles are left.
CHECKPOINT_FILES = ["*.json", "*.safetensors", "*.jinja", "optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state*.pth"]
# What a checkpoint holds besides weights, by file; DeepSpeed keeps the first two in a folder. The Trainer (transformers
# 5.23) silently goes on without what is missing.
STATES = {
    "optimizer": ["optimizer.pt", "optimizer.bin", "optimizer_*", "global_step*"],
    "learning rate": ["scheduler.pt", "global_step*"],
    "random numbers": ["rng_state*.pth"],
}
_OR_AFRESH = "start afresh without `resume_from_checkpoint`"
ANSWER_SECONDS = 10  # batch systems and torchrun send SIGKILL 30 s after SIGTERM


def find(args: TrainingArguments, facts: dict) -> str | None:
    """The checkpoint to resume from, None to start afresh.

    Args:
        args: `resume_from_checkpoint` is `true` or `last` for the newest complete checkpoint of `output_dir`, if there
            is one; a folder; or a Hub id or id@revision with `last-checkpoint` or `checkpoint-N`, as the Trainer's
            `hub_strategy` pushes them.
        facts: facts about this run, which are compared with the checkpoint's.

    Raises:
        UserError: there is no such checkpoint, it lacks a state, it belongs to another run or to another recipe, or
            some process can't see it.
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


def check_folder(folder: Path) -> None:
    """Check that a run may write checkpoints to a folder, and remove older ones.

    Raises:
        UserError: something in it is neither a complete checkpoint of this project nor beside the file `last`.
    """
    check_place(folder)
    if not folder.is_dir() or (folder / "last").is_file():
        return
    for path in folder.iterdir():
        if not (path / "ra_it.json").is_file():
            raise UserError(
                f"{folder} holds {path.name}, which is no complete checkpoint of ra-ner: move it away, or name another "
                "folder with --output_dir"
            )


def begin(args: TrainingArguments, checkpoint: str | None) -> None:
    """Point `last` to where the run starts: other checkpoints in its folder belong to an earlier run."""
    if args.should_save:
        folder = Path(args.output_dir)
        is_here = checkpoint is not None and Path(checkpoint).parent.resolve() == folder.resolve()
        write_text(folder / "last", (Path(checkpoint).name if is_here else f"{PREFIX_CHECKPOINT_DIR}-0") + "\n")


def _check(checkpoint: Path, facts: dict) -> None:
    if not (checkpoint / "trainer_state.json").is_file():
        raise UserError(
            f"{checkpoint} has no trainer_state.json, so it is not a checkpoint; name a folder checkpoint-N"
        )
    for state, names in STATES.items():
        if not any(path for name in names for path in checkpoint.glob(name)):
            raise UserError(
                f"{checkpoint} has no state of the {state} ({names[0]}), so a resumed run would differ: name another "
                f"checkpoint, or {_OR_AFRESH}"
            )
    _check_whole(checkpoint)
    theirs = _facts(checkpoint)
    for key, hint in MUST_MATCH.items():
        if theirs.get(key, facts[key]) != facts[key]:
            raise UserError(
                f"{checkpoint} was trained with {key} {theirs[key]} and this run has {facts[key]}, so it can't be "
                f"resumed: {hint}, or {_OR_AFRESH}"
            )
    if changed := changed_settings(theirs["config"], facts["config"]) if isinstance(theirs.get("config"), dict) else {}:
        listed = ", ".join(f"{key} {before} (this run: {now})" for key, (before, now) in changed.items())
        raise UserError(f"{checkpoint} was trained with {listed}, so it can't be resumed: set it back, or {_OR_AFRESH}")


def _check_whole(checkpoint: Path) -> None:
    """Check that no file of a checkpoint is torn."""
    read_json(checkpoint / "trainer_state.json", global_step=int)
    for file in checkpoint.iterdir():
        # torch writes zip files, whose directory stands at their end.
        if file.suffix in (".pt", ".pth", ".bin") and not zipfile.is_zipfile(file):
            raise UserError(f"{file} is torn or no file of torch: name another checkpoint, or {_OR_AFRESH}")
        if file.suffix == ".safetensors":
            try:
                with safe_open(file, "pt"):
                    pass
            except (OSError, SafetensorError) as error:
                raise UserError(f"{file} is torn ({error}): name another checkpoint, or {_OR_AFRESH}") from None


def _step(name: str) -> int:
    return int(name.rpartition("-")[2])


def last_step(folder: Path) -> int | None:
    """The step of the newest complete checkpoint of the run in this folder, None before it has begun."""
    file = folder / "last"
    if not file.is_file():
        return None
    named = re.fullmatch(rf"{PREFIX_CHECKPOINT_DIR}-(\d{{1,9}})\s*", file.read_text(encoding="utf-8", errors="replace"))
    if not named:
        raise UserError(f"{file} does not name a checkpoint; write the name of the newest whole one into it")
    return int(named[1])


def _checkpoints(folder: Path) -> list[Path]:
    found = folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*")
    return [path for path in found if re.fullmatch(rf"{PREFIX_CHECKPOINT_DIR}-\d+", path.name)]


def _newest(folder: Path, say_what_is_skipped: bool) -> Path | None:
    last, whole = last_step(folder), []
    for checkpoint in _checkpoints(folder):
        if (checkpoint / "ra_it.json").is_file() and (last is None or _step(checkpoint.name) <= last):
            whole.append(checkpoint)
        elif say_what_is_skipped:
            logger.info(
                f"{checkpoint}: skipped, because it is incomplete or belongs to an earlier run; name it to use it"
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
                f"{wanted} has no checkpoint (last-checkpoint/ or checkpoint-N/); an adapter alone can't be resumed, "
                "because its optimizer state is missing"
            )
        if not {f"{name}/adapter_model.safetensors", f"{name}/optimizer.pt", f"{name}/scheduler.pt"} <= files:
            raise UserError(
                f"{wanted}: {name} can't be resumed from the Hub: it was written under FSDP or ZeRO, with "
                "`save_only_model`, or as pickles. If you trust it, copy the folder to this machine and name that"
            )
        patterns = [f"{name}/{pattern}" for pattern in CHECKPOINT_FILES]
        return Path(snapshot_download(repo_id, revision=repo.sha, allow_patterns=patterns)) / name


def _facts(checkpoint: Path) -> dict:
    """Facts about the run that wrote a checkpoint. Of other projects only the commit of the base model is known."""
    file = checkpoint / "ra_it.json"
    if file.is_file():
        return read_json(file)
    file = checkpoint / "adapter_config.json"
    revision = read_json(file).get("revision") if file.is_file() else None
    return {"base_revision": revision} if re.fullmatch(r"[0-9a-f]{40}", str(revision)) else {}


def find_best(resumed: Path) -> str | None:
    """The best checkpoint of the run that a checkpoint is resumed from.

    transformers 5.23 looks for it at the path that it was written to, so it forgets that of a run that was moved.
    """
    known = read_json(resumed / "trainer_state.json").get("best_model_checkpoint")
    if known and (best := resumed.with_name(Path(known).name)).is_dir():
        return str(best)
    if known:
        logger.info(f"the best checkpoint so far, {known}, is gone: the best one from now on is kept, or the last")
    return None


def mark_last(trainer: "Trainer", facts: dict, limit: int | None) -> None:
    """Mark a checkpoint as complete, and remove older ones until at most `limit` are left, or the best and the last.

    Every process calls this after writing its part.
    """
    trainer.accelerator.wait_for_everyone()
    args = trainer.args
    if args.should_save:
        folder = Path(args.output_dir)
        name = f"{PREFIX_CHECKPOINT_DIR}-{trainer.state.global_step}"
        write_text(folder / name / "ra_it.json", json.dumps(facts, indent=2) + "\n")
        write_text(folder / "last", name + "\n")
        if limit:
            _rotate(folder, limit, {name, Path(trainer.state.best_model_checkpoint or name).name})


def _rotate(folder: Path, limit: int, kept: set[str]) -> None:
    """Remove the oldest checkpoints, but for those to be kept, until at most `limit` are left.

    `rotate_checkpoints` of transformers (5.23) would remove a copy such as checkpoint-100-mine too.
    """
    oldest_first = sorted(_checkpoints(folder), key=lambda path: (path.stat().st_mtime, _step(path.name)))
    removable = [checkpoint for checkpoint in oldest_first if checkpoint.name not in kept]
    for checkpoint in removable[: max(0, len(oldest_first) - limit)]:
        shutil.rmtree(checkpoint, ignore_errors=True)


class _StopOnSigterm(TrainerCallback):
    """When any process is told to stop, all save a checkpoint after their micro-batch and exit with status 143.

    `enable_jit_checkpoint` of transformers 5.23 is not enough: it waits three seconds before it reacts, stops each
    process on its own, so that the others wait forever, and returns as if training had finished.
    """

    def __init__(self, trainer: "Trainer"):
        self.trainer = trainer
        self.told = False
        self.answered = threading.Event()
        self.saved_step = 0

    def watch(self, signals: int) -> None:
        """Wait for SIGTERM in a thread. Signal numbers arrive as bytes from the pipe `signals`."""
        with os.fdopen(signals, "rb", buffering=0) as pipe:
            while (number := pipe.read(1)) != bytes([signal.SIGTERM]):
                if not number:
                    return
        self.told = True
        if not self.answered.wait(ANSWER_SECONDS):
            logger.info(f"SIGTERM: no micro-batch ended within {ANSWER_SECONDS} s, so no checkpoint is saved")
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
            control.should_save = True  # the Trainer saves after it has logged the step

    def on_save(self, args, state, control, **kwargs) -> None:
        self.saved_step = state.global_step
        if self.answered.is_set():
            logger.info(f"SIGTERM: stopped after step {state.global_step}; resume with `--resume_from_checkpoint last`")
            sys.exit(128 + signal.SIGTERM)

    def _save_if_told(self, args, state, control, **kwargs) -> None:
        if self._anyone_told():
            if self.saved_step != state.global_step:
                self.trainer._save_checkpoint(self.trainer.model, trial=None)
            self.on_save(args, state, control)

    on_substep_end = on_prediction_step = _save_if_told


@contextmanager
def saved_on_sigterm(trainer: "Trainer") -> Iterator[None]:
    """Within this context SIGTERM to any process saves a checkpoint and ends all processes with status 143.

    If they don't finish a micro-batch within ten seconds, they exit without a checkpoint.
    """
    callback = _StopOnSigterm(trainer)
    trainer.add_callback(callback)
    # A Python handler would not run while this process waits for another one; the pipe is written to at once.
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
