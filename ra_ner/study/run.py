"""Run the cells of a study with the commands `build`, `train` and `evaluate`, some at the same time, and resume them.

outputs/<grid>/recipes/<cell>.yaml   the cell's recipe; the three commands take it as any other recipe
outputs/<grid>/logs/<cell>.log       output of the commands; each run appends to it
outputs/<grid>/cells.json            cell -> stage -> status, digest, seconds, tokens, error
"""

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
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from tqdm.contrib.logging import tqdm_logging_redirect

from .. import __version__, terminal
from ..atomic_files import write_text
from ..errors import UserError
from ..foreign_files import read_json
from ..hub import repos
from ..hub.repos import LocalModel
from ..output_folder import LOCK, claim, is_ours, lock_file, locked
from ..recipe import Recipe
from ..recipe_keys import TOKENIZER_KEYS
from ..tasks import TASKS
from .grid import Cell, Grid

if TYPE_CHECKING:
    from tqdm import tqdm

logger = logging.getLogger(__name__)

STAGES = ("dataset", "train", "evaluate")
# What exists in outputs/<cell> once a stage has finished.
OUTPUTS = {"dataset": "dataset", "train": "adapter", "evaluate": "evaluation/scores.json"}
POLL_SECONDS = 0.1  # between two looks at the running stages
SAVE_SECONDS = 10  # between two updates of cells.json while a stage runs
STOP_SECONDS = 60  # for a stopped stage to save a checkpoint before it is killed

Entry = dict[str, Any]  # what cells.json holds about one stage of one cell


def run(grid: Grid, launch: Sequence[str] = (), jobs: int = 1) -> list[str]:
    """Run the unfinished stages of all cells, then write the report.

    Args:
        launch: options of `accelerate launch` for the trainings.
        jobs: cells that run at the same time.

    Returns:
        Names of the cells that failed. One failed cell does not stop the others.

    Raises:
        UserError: a key of a cell is wrong, a benchmark can't be read, another process runs the study, or something
            else stands in its folder.
    """
    check(grid.recipe(cell) for cell in grid.cells)
    with locked(grid.output_dir / LOCK):
        claim(grid.output_dir, "study")
        return Study(grid, launch, jobs).run()


def check(recipes: Iterable[Recipe]) -> None:
    """Refuse recipes that `build` or `evaluate` would refuse, before any cell runs.

    Raises:
        UserError: a corpus, a setting, a benchmark or an example pool is missing or wrong.
    """
    from ..evaluation.example_pools import ExamplePools

    distinct: dict[tuple, ExamplePools] = {}  # cells that read the same benchmarks and pools need one check
    for recipe in recipes:
        dataset, config = recipe.dataset, recipe.evaluate
        if not dataset.corpus:
            raise UserError(f"{recipe.path}: section dataset has no `corpus`; name a file or a Hub id")
        corpus = (recipe.language, dataset.wording, dataset.corpus, dataset.check_corpus, tuple(dataset.exclude))
        names = (tuple(config.benchmarks), config.words, tuple(config.settings))
        distinct.setdefault((*corpus, *names, config.pool, config.allow_overlap), ExamplePools(recipe, config))
    for pools in distinct.values():
        pools.benchmarks()


class Study:
    """The cells of a grid and their progress, which cells.json keeps between runs."""

    def __init__(self, grid: Grid, launch: Sequence[str] = (), jobs: int = 1):
        self.grid, self.launch, self.jobs = grid, launch, jobs
        self.path = grid.output_dir / "cells.json"
        self.state = _read_state(self.path)
        self.running: dict[str, str] = {}  # cell -> stage
        self.failed: list[str] = []  # names of cells

    def run(self) -> list[str]:
        """Run what is unfinished, write the report and return the names of the failed cells."""
        self.grid.write_recipes()
        self._stop_stages()  # of an earlier run that was killed by SIGKILL
        with tqdm_logging_redirect(
            total=sum(len(self._stages(cell)) for cell in self.grid.cells),
            desc=self.grid.name,
            bar_format="{desc}: {n_fmt}/{total_fmt} stages [{elapsed}{postfix}]",
            loggers=[terminal.logger],
        ) as progress:
            waiting = deque(self._run_cells(cells, progress) for cells in self._cells_by_adapter())
            jobs: list[Iterator[bool]] = []
            try:
                while waiting or jobs:
                    jobs = [job for job in jobs if next(job, False)]
                    while waiting and len(jobs) < self.jobs:
                        if next(job := waiting.popleft(), False):
                            jobs.append(job)
                    if jobs:
                        time.sleep(POLL_SECONDS)
            except BaseException:  # Ctrl-C and SIGTERM too
                self._stop_stages()
                for job in jobs:
                    job.close()  # records its seconds
                raise
        self._write_report()
        self._say_where_everything_is()
        return self.failed

    def _cells_by_adapter(self) -> Iterable[list[Cell]]:
        """The cells that share an adapter, first the one that trains it."""
        groups: dict[str, list[Cell]] = {}
        for cell in self.grid.cells:
            groups.setdefault(self.grid.adapters[cell.name], []).append(cell)
        return groups.values()

    def _run_cells(self, cells: Sequence[Cell], progress: "tqdm") -> Iterator[bool]:
        """Run the unfinished stages of cells one after the other. Yields True again and again while one is running."""
        for cell in cells:
            trainer = self.grid.adapters[cell.name]
            if trainer != cell.name and self.state.get(trainer, {}).get("train", {}).get("status") != "done":
                self.failed.append(cell.name)  # there may be an adapter of other settings
                logger.error("%s: not evaluated, because the training of %s failed", cell.name, trainer)
                continue
            for stage in self._stages(cell):
                entry = self.state.setdefault(cell.name, {}).setdefault(stage, {})
                if cell.name not in self.failed and not self._is_finished(cell, stage):
                    self.running[cell.name] = stage
                    progress.set_postfix_str(self._running_stages() + self._time_left())
                    yield from self._run_stage(cell, stage, entry)
                    del self.running[cell.name]
                    if entry["status"] == "failed":
                        self.failed.append(cell.name)
                        logger.error("%s: %s failed: %s", cell.name, stage, entry["error"])
                    elif "seconds" in entry:
                        logger.info("%s: %s done in %.0f s", cell.name, stage, entry["seconds"])
                progress.update()

    def _running_stages(self) -> str:
        if len(self.running) == 1:
            return ": ".join(*self.running.items())
        return ", ".join(f"{count} x {stage}" for stage, count in Counter(self.running.values()).items())

    def digest(self, cell: Cell, stage: str) -> str:
        """Digest of everything that the result of a stage depends on. When it changes, the stage runs again."""
        recipe = self.grid.recipe(cell)
        sections = recipe.sections
        parts: list[object] = [recipe.language, sections["dataset"]]
        parts += [{key: sections["train"].get(key) for key in TOKENIZER_KEYS}]
        if stage != "dataset":
            parts += [sections["train"]]
        if stage == "evaluate":
            parts += [sections["evaluate"], __version__]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def _stages(self, cell: Cell) -> Sequence[str]:
        return STAGES if self.grid.trains(cell) else ("evaluate",)

    def _log(self, name: str) -> Path:
        return self.grid.output_dir / "logs" / f"{name}.log"

    def _save(self) -> None:
        write_text(self.path, json.dumps(self.state, indent=1, ensure_ascii=False) + "\n")

    def _recorded(self, cell: Cell, stage: str) -> Entry:
        return self.state.get(cell.name, {}).get(stage, {})

    def _is_finished(self, cell: Cell, stage: str) -> bool:
        entry = self._recorded(cell, stage)
        exists = (cell.output_dir / OUTPUTS[stage]).exists()
        return exists and entry.get("status") == "done" and entry["digest"] == self.digest(cell, stage)

    def _resumes(self, cell: Cell, stage: str) -> bool:
        """Whether an unfinished stage goes on from an interrupted or failed attempt, whose outputs are still valid."""
        entry = self._recorded(cell, stage)
        return entry.get("digest") == self.digest(cell, stage) and entry["status"] != "done"

    def _run_stage(self, cell: Cell, stage: str, entry: Entry) -> Iterator[bool]:
        """Run one stage to its end, and record in `entry` how it ended. Yields True while its process runs."""
        resumes = self._resumes(cell, stage)
        if not resumes:
            self._discard(cell, stage)
        entry |= {"status": "begun", "digest": self.digest(cell, stage), "error": None}
        if stage == "train" and not resumes and (tokens := self._tokens_trained(cell)) is not None:
            entry |= {"status": "done", "tokens": tokens}
            logger.info("%s: the adapter of this recipe was there", cell.name)
            self._save()
            return
        log = self._log(cell.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        log_start = log.stat().st_size if log.exists() else 0
        exit_status = yield from self._run_process(self._command(cell, stage, resumes), log, entry)
        if exit_status:
            entry["status"] = "failed"
            entry["error"] = _last_error(log, log_start) or f"exit status {exit_status}"
        else:
            entry["status"] = "done"
            if stage == "train":
                entry["tokens"] = LocalModel(cell.output_dir / "adapter", "").facts["counts"]["train_tokens"]
                shutil.rmtree(cell.output_dir / "checkpoints", ignore_errors=True)
        self._save()

    def _discard(self, cell: Cell, stage: str) -> None:
        """Forget what is recorded of a stage and of those after it, and remove their scores, which the report reads.

        The journal of answers is kept, so a new evaluation reuses it: each answer is stored under everything that it
        depends on. Dataset and adapter are kept until their stage replaces them.
        """
        stages = self._stages(cell)
        for discarded in stages[stages.index(stage) :]:
            self.state[cell.name].get(discarded, {}).clear()
        others = [other for other in self.grid.cells if self.grid.adapters[other.name] == cell.name]
        for scored in [cell] if stage == "evaluate" else others:  # other cells may share the adapter
            self.state.get(scored.name, {}).get("evaluate", {}).clear()
            if is_ours(scored.output_dir / "evaluation", "evaluation"):
                (scored.output_dir / OUTPUTS["evaluate"]).unlink(missing_ok=True)

    def _tokens_trained(self, cell: Cell) -> int | None:
        """The tokens that a finished adapter of this very recipe and dataset was trained on; None if there is none.

        cells.json may be lost, and adapters are what takes days.
        """
        adapter = cell.output_dir / "adapter"
        if not is_ours(adapter, "adapter"):
            return None
        from ..training.run_record import settings_of  # slow to import

        recipe, facts = self.grid.recipe(cell), LocalModel(adapter, "").facts
        dataset = repos.fetch_dataset_facts(str(cell.output_dir / "dataset"), recipe.name, None, "")[1]
        is_same = (facts["config"], facts["dataset_revision"]) == (settings_of(recipe), dataset)
        return facts["counts"]["train_tokens"] if is_same else None

    def _command(self, cell: Cell, stage: str, resumes: bool) -> list[str]:
        recipe, script = str(self.grid.recipe_path(cell)), TASKS[self.grid.recipe(cell).task].script
        program = [script] if script else ["-m", "ra_ner"]
        if stage != "train":
            return [sys.executable, *program, "build" if stage == "dataset" else stage, recipe]
        # Without `--quiet` accelerate would print its own traceback after the error message of the training.
        launcher = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", *self.launch]
        return [*launcher, *program, "train", recipe, *(["--resume_from_checkpoint", "last"] if resumes else [])]

    def _run_process(self, command: Sequence[str], log: Path, entry: Entry) -> Generator[bool, None, int]:
        """Run a command that appends to `log`, add up its seconds in `entry`, and return its exit status."""
        seconds_before, start, next_save = entry.get("seconds", 0), time.monotonic(), 0.0

        def save_seconds() -> None:
            entry["seconds"] = round(seconds_before + time.monotonic() - start, 1)
            self._save()

        with log.open("a", encoding="utf-8") as file:
            lock_file(file)  # the processes inherit the lock and hold it until the last of them ends; see `_stop`
            process = subprocess.Popen(command, stdout=file, stderr=file, process_group=0)
        entry["process_group"] = process.pid
        try:
            while process.poll() is None:
                if time.monotonic() >= next_save:
                    save_seconds()
                    next_save = time.monotonic() + SAVE_SECONDS
                yield True
        except BaseException:  # Ctrl-C, SIGTERM and `close` too
            _stop(process.pid, log)
            process.wait()
            save_seconds()
            raise
        save_seconds()
        del entry["process_group"]
        return process.returncode

    def _stop_stages(self) -> None:
        """Stop all stages that are running, at the same time."""
        running = [
            (entry.pop("process_group"), self._log(name))
            for name, entries in self.state.items()
            for entry in entries.values()
            if "process_group" in entry
        ]
        with ThreadPoolExecutor(max_workers=len(running) or 1) as pool:
            list(pool.map(lambda stage: _stop(*stage), running))

    def _time_left(self) -> str:
        """The expected time of all unfinished stages as text; empty while nothing comparable has finished.

        A stage is expected to take the mean time of that stage in its group, or in all groups if none has finished.
        """
        finished = [
            (cell.group, stage, entry["seconds"])
            for cell in self.grid.cells
            for stage, entry in self.state.get(cell.name, {}).items()
            if entry.get("status") == "done" and "seconds" in entry
        ]
        seconds = 0.0
        unfinished = [
            (cell, stage)
            for cell in self.grid.cells
            if cell.name not in self.failed
            for stage in self._stages(cell)
            if not self._is_finished(cell, stage)
        ]
        for cell, stage in unfinished:
            same_stage = [(group, its_seconds) for group, its_stage, its_seconds in finished if its_stage == stage]
            same_group = [its_seconds for group, its_seconds in same_stage if group == cell.group]
            comparable = same_group or [its_seconds for _, its_seconds in same_stage]
            if not comparable:
                return ""
            spent = self.state[cell.name][stage]["seconds"] if self._resumes(cell, stage) else 0
            seconds += max(mean(comparable) - spent, 0)
        return f", about {seconds / self.jobs / 60:.0f} min left"

    def _write_report(self) -> None:
        from .report import write  # slow to import; a wrong grid should be refused at once
        from .results import COSTS

        costs = {
            cell.name: {
                name: entry[key]
                for name, (stage, key) in COSTS.items()
                if key in (entry := self._recorded(cell, stage))
            }
            for cell in self.grid.cells
        }
        write(self.grid.output_dir, self.grid.cells, costs, self.grid.axes)

    def _say_where_everything_is(self) -> None:
        folder, count = self.grid.output_dir, len(self.grid.cells)
        logger.info("%d of %d cells are finished", count - len(self.failed), count)
        logger.info("report:   %s, report.md, results.csv and figures beside it", folder / "report.html")
        logger.info("runs:     outputs/<cell> has the dataset, adapter and evaluation of each cell")
        logger.info("recipes:  %s", folder / "recipes")
        logger.info("logs:     %s", folder / "logs")
        for name in self.failed:
            logger.error("failed: %s; see %s", name, self._log(name))
        if self.failed:
            logger.info("Run the same command again to repeat the failed cells; finished ones are kept")


def _read_state(path: Path) -> dict[str, dict[str, Entry]]:
    try:
        state = read_json(path) if path.exists() else {}
        if all(isinstance(entry, dict) for entries in state.values() for entry in entries.values()):
            return state
    except (UserError, AttributeError):
        pass
    logger.warning("%s can't be read, so stages run again; finished adapters and answers are kept", path)
    return {}


def _stop(process_group: int, log: Path) -> None:
    """Stop the processes of a stage and wait until they have ended; training saves a checkpoint first.

    `accelerate launch` ends before the training that it launched, so waiting for it is not enough. The lock on the log
    is free when the last process has ended, or if they ended long ago and the number belongs to another group now.
    """
    with log.open("a", encoding="utf-8") as file:
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            if lock_file(file):
                return
            with suppress(ProcessLookupError):
                os.killpg(process_group, signal_number)
            deadline = time.monotonic() + STOP_SECONDS
            while time.monotonic() < deadline and not lock_file(file):
                time.sleep(0.1)


def _last_error(log: Path, start: int) -> str:
    """The last error message that a command wrote to its log after byte `start`, or else its last line."""
    with log.open("rb") as file:
        file.seek(start)
        text = file.read().decode("utf-8", errors="replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    return next((line for line in reversed(lines) if "ra-ner: error: " in line), lines[-1] if lines else "")
