"""Runs the cells of a study one after the other, by the commands build, train and evaluate. A stopped study resumes.

outputs/<grid>/recipes/<cell>.yaml   the recipe of each cell, which also runs alone
outputs/<grid>/logs/<cell>.log       output of the commands, appended
outputs/<grid>/cells.json            cell -> stage -> status, digest, seconds, tokens, error
"""

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import mean
from typing import Any, TextIO

from tqdm import tqdm

from .. import __version__
from ..atomic_files import write_text
from ..errors import UserError
from ..recipe import TOKENIZER_KEYS, EvaluateConfig, OutputConfig, PushScoresConfig, Recipe, RecipeParser
from .grid import Cell, Grid

logger = logging.getLogger(__name__)

STAGES = ("dataset", "train", "evaluate")
# What a stage writes to outputs/<cell>; the last entry exists once it has finished. The journal of answers is not
# listed: an answer is kept under all that it depends on, so it never becomes wrong.
OUTPUTS = {
    "dataset": ["dataset"],
    "train": ["checkpoints", "logs", "adapter"],
    "evaluate": [
        f"evaluation/{name}" for name in ("texts.json", "predictions.jsonl", "report.md", "report.html", "scores.json")
    ],
}
SAVE_SECONDS = 10  # between writes of cells.json while a stage runs
STOP_SECONDS = 60  # for a stage to save a checkpoint after it was told to stop


def run(grid: Grid, launch: Sequence[str] = ()) -> list[str]:
    """Run the unfinished stages of each cell, then write the report.

    Args:
        launch: options of `accelerate launch` for training.

    Returns:
        the names of the cells that failed.

    Raises:
        UserError: a key of a cell is wrong, a benchmark can't be read, or the study is already running.
    """
    check(grid.recipe(cell) for cell in grid.cells)
    with _alone(grid.output_dir):
        return Study(grid, launch).run()


def check(recipes: Iterable[Recipe]) -> None:
    """Check, before anything runs, what `build` and `evaluate` would refuse in every cell.

    Raises:
        UserError: a check fails.
    """
    from ..corpora.benchmarks import load_benchmark
    from ..evaluation.example_pools import ExamplePools, check_settings

    parser = RecipeParser("evaluate", EvaluateConfig, PushScoresConfig, OutputConfig)
    asked = {}
    for recipe in recipes:
        if not recipe.dataset.corpus:
            raise UserError(f"{recipe.path}: section dataset has no `corpus`; name a file or a Hub id")
        config = parser.parse_section(recipe)[0]
        check_settings(config.settings)
        key = (recipe.language, tuple(config.benchmarks), tuple(config.settings), config.pool, config.allow_overlap)
        asked.setdefault(key, ExamplePools(recipe, config))
    for pools in asked.values():
        for name in pools.config.benchmarks:
            benchmark = load_benchmark(name, pools.recipe.language)
            for setting in pools.config.settings:
                pools.examples(setting, benchmark, [])  # raises if there is no pool, or if it contains test passages


class Study:
    """The cells of a grid, and their progress as in cells.json."""

    def __init__(self, grid: Grid, launch: Sequence[str] = ()):
        self.grid, self.launch = grid, launch
        self.path = grid.output_dir / "cells.json"
        self.state: dict[str, dict[str, dict[str, Any]]] = (
            json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
        )

    def run(self) -> list[str]:
        self.grid.write_recipes()
        self._stop_orphans()
        plan = [(cell, stage) for cell in self.grid.cells for stage in self._stages(cell)]
        failed: list[str] = []
        shown = "{desc}: {n_fmt}/{total_fmt} stages [{elapsed}{postfix}]"
        with tqdm(total=len(plan), desc=self.grid.name, bar_format=shown) as progress:
            for number, (cell, stage) in enumerate(plan):
                entry = self.state.setdefault(cell.name, {}).setdefault(stage, {})
                if cell.name not in failed and not self._is_finished(cell, stage):
                    progress.set_postfix_str(f"{cell.name}: {stage}{self._time_left(plan[number:])}")
                    self._run_stage(cell, stage, entry)
                    if entry["status"] == "failed":
                        failed.append(cell.name)
                        progress.write(f"{cell.name}: {stage} failed: {entry['error']}")
                    else:
                        progress.write(f"{cell.name}: {stage} done in {entry['seconds']:.0f} s")
                progress.update()
        self._report()
        for name in failed:
            logger.info(f"failed: {name}; see {self._log(name)}")
        return failed

    def _stages(self, cell: Cell) -> Sequence[str]:
        """A cell that evaluates another cell's adapter has nothing to build or train."""
        return STAGES if self.grid.adapters[cell.name] == cell.name else STAGES[2:]

    def _log(self, name: str) -> Path:
        return self.grid.output_dir / "logs" / f"{name}.log"

    def _save(self) -> None:
        write_text(self.path, json.dumps(self.state, indent=1, ensure_ascii=False) + "\n")

    def digest(self, cell: Cell, stage: str) -> str:
        """A digest of everything that a stage's outcome depends on. If it changes, the stage runs again."""
        recipe = self.grid.recipe(cell)
        sections = recipe.sections
        parts: list[object] = [recipe.language, sections["dataset"]]
        parts += [{key: sections["train"].get(key) for key in TOKENIZER_KEYS}]
        if stage != "dataset":
            parts += [sections["train"]]
        if stage == "evaluate":
            parts += [sections["evaluate"], __version__]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def _is_finished(self, cell: Cell, stage: str) -> bool:
        entry = self.state.get(cell.name, {}).get(stage, {})
        is_there = (cell.output_dir / OUTPUTS[stage][-1]).exists()
        return is_there and entry.get("status") == "done" and entry["digest"] == self.digest(cell, stage)

    def _run_stage(self, cell: Cell, stage: str, entry: dict[str, Any]) -> None:
        """Run a command to its end and record the result. An interrupted stage with the same digest resumes."""
        digest = self.digest(cell, stage)
        if entry.get("digest") != digest or entry.get("status") == "done":
            for later in self._stages(cell)[self._stages(cell).index(stage) :]:
                _remove(cell.output_dir / name for name in OUTPUTS[later])
                self.state[cell.name].get(later, {}).clear()
        entry |= {"status": "begun", "digest": digest, "error": None}
        before, begun = entry.get("seconds", 0), time.monotonic()

        def save() -> None:
            entry["seconds"] = round(before + time.monotonic() - begun, 1)
            self._save()

        log = self._log(cell.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        start = log.stat().st_size if log.exists() else 0
        with log.open("a", encoding="utf-8") as file:
            _lock(file)  # held until the last process that writes to it ends
            process = subprocess.Popen(self._command(cell, stage), stdout=file, stderr=file, process_group=0)
        entry["process_group"] = process.pid
        try:
            while process.returncode is None:
                save()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(SAVE_SECONDS)
        except BaseException:
            _stop(process.pid, log)
            process.wait()
            save()
            raise
        del entry["process_group"]
        entry["status"] = "failed" if process.returncode else "done"
        if process.returncode:
            entry["error"] = _last_words(log, start) or f"exit status {process.returncode}"
        elif stage == "train":
            facts = json.loads((cell.output_dir / "adapter" / "ra_it.json").read_text(encoding="utf-8"))
            entry["tokens"] = facts["counts"]["train_tokens"]
            shutil.rmtree(cell.output_dir / "checkpoints", ignore_errors=True)
        save()

    def _command(self, cell: Cell, stage: str) -> list[str]:
        recipe = str(self.grid.recipe_path(cell))
        if stage != "train":
            return [sys.executable, "-m", "ra_ner", "build" if stage == "dataset" else "evaluate", recipe]
        # `--quiet` makes the command's own error the last line of the log.
        launcher = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", *self.launch]
        return [*launcher, "-m", "ra_ner", "train", recipe, "--resume_from_checkpoint", "true"]

    def _stop_orphans(self) -> None:
        """Stop the stage that a killed run left behind, which is still writing."""
        for name, stages in self.state.items():
            for entry in stages.values():
                if group := entry.pop("process_group", None):
                    _stop(group, self._log(name))

    def _time_left(self, plan: Sequence[tuple[Cell, str]]) -> str:
        """Estimate the time of a plan from finished stages: of the same group if there are any, else of all."""
        group = {cell.name: cell.group for cell in self.grid.cells}
        took: dict[object, list[float]] = {}
        for name, stages in self.state.items():
            for stage, entry in stages.items():
                if entry.get("status") == "done" and name in group:
                    took.setdefault(stage, []).append(entry["seconds"])
                    took.setdefault((stage, group[name]), []).append(entry["seconds"])
        seconds = 0.0
        for cell, stage in plan:
            if self._is_finished(cell, stage):
                continue
            alike = took.get((stage, cell.group)) or took.get(stage)
            if not alike:
                return ""  # unknown before the first cell is finished
            spent = self.state.get(cell.name, {}).get(stage, {}).get("seconds", 0)
            seconds += max(mean(alike) - spent, 0)
        return f", about {seconds / 60:.0f} min left"

    def _report(self) -> None:
        from .report import write  # imports more than a refused grid should wait for

        known = {
            "train_tokens": ("train", "tokens"),
            "build_seconds": ("dataset", "seconds"),
            "train_seconds": ("train", "seconds"),
            "evaluate_seconds": ("evaluate", "seconds"),
        }
        costs = {}
        for cell in self.grid.cells:
            stages = self.state.get(cell.name, {})
            costs[cell.name] = {
                cost: stages[stage][key] for cost, (stage, key) in known.items() if key in stages.get(stage, {})
            }
        write(self.grid.output_dir, self.grid.cells, costs, self.grid.axes)
        logger.info(
            f"report: {self.grid.output_dir}/report.html (for a browser); report.md, results.csv and figures beside it"
        )


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the study for this process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        if not _lock(file):
            raise UserError(f"{folder}: another process is running this study; wait for it or stop it")
        yield


def _lock(file: TextIO) -> bool:
    """Lock an open file for this process and its children. Returns False if another process holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stop(process_group: int, log: Path) -> None:
    """Stop the processes of a group, and wait for them. Training saves a checkpoint first.

    `accelerate launch` ends before the training that it launched, so the lock on the log shows when all have ended.
    """
    with log.open("a", encoding="utf-8") as file:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if _lock(file):
                return
            with suppress(ProcessLookupError):
                os.killpg(process_group, number)
            deadline = time.monotonic() + STOP_SECONDS
            while time.monotonic() < deadline and not _lock(file):
                time.sleep(0.1)


def _last_words(log: Path, start: int) -> str:
    """Why a command ended: its last error line, else its last line, of what it wrote from `start` on."""
    with log.open("rb") as file:
        file.seek(start)
        text = file.read().decode("utf-8", errors="replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    return next((line for line in reversed(lines) if "ra-ner: error: " in line), lines[-1] if lines else "")
