"""Extraction from many texts into a file: in order, resumable, by several processes if there are."""

import json
import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from accelerate.utils import gather_object
from tqdm import tqdm

from .distributed import distributed_state
from .extraction.entities import Extraction
from .extraction.result_file import ResultFile
from .extraction.texts import Row
from .extractor import Extractor, Types
from .passage import fingerprint
from .prompting.answers import HALF_CHARACTER

logger = logging.getLogger(__name__)


def results(extractor: Extractor, rows: Iterable[Row], types: Types | None, **options) -> Iterator[Row]:
    """The rows of texts with what was found in them, see `Extraction.to_dict`.

    A field of a row whose name is one of the results' is kept as `input_<name>`. A row without a text has a field
    `error`, and is not asked about.

    Args:
        options: of `Extractor.extract`.
    """
    rows = iter(rows)
    while batch := list(islice(rows, extractor.batch_size)):
        found = extractor.stream([row["text"] for row in batch if "text" in row], types, **options)
        for row in batch:
            if "text" in row:
                result, own = next(found).to_dict(), {"text"}
            else:
                result, own = Extraction("", error=row["error"]).to_dict(), {"error"}
            kept = {}
            for name, value in row.items():
                while name not in own and (name in result or name in kept or name == "error"):
                    name = f"input_{name}"
                kept[name] = value
            yield kept | result


def extract_to_file(
    extractor: Extractor, rows: Iterator[Row], types: Types | None, path: Path, settings: dict, **options
) -> ResultFile:
    """Append the results of rows to a file, after those that it holds from an earlier run.

    Each process of a distributed launch asks about its share, the main one writes.

    Args:
        settings: what the results depend on besides the model, the types and the examples.
        options: of `Extractor.extract`.

    Raises:
        UserError: the file has results of other settings or of other texts.
    """
    state, size = distributed_state(), extractor.batch_size
    settings = {
        "model": extractor.model.local.revision,
        "types": types,
        "labels": extractor.labels,
        "examples": fingerprint(extractor.pool) if extractor.pool else None,
        "strategy": extractor.strategy if extractor.pool else None,
        "k": extractor.k if extractor.pool else None,
        "max_new_tokens": extractor.max_new_tokens,
        "calibration": extractor.calibration and vars(extractor.calibration),
        "on_demand": extractor.on_demand and vars(extractor.on_demand),
        **options,
        **settings,
    }
    with state.main_process_first():  # the main process makes the file
        file = ResultFile(path, settings, size)
        done, rows = file.skip_done(rows)
    if done:
        logger.info(f"{path}: continued after {done} texts")
    with tqdm(initial=done, unit="text", disable=not state.is_main_process) as progress:
        while group := list(islice(rows, size * state.num_processes)):
            start = size * state.process_index
            lines = [to_json(row) for row in results(extractor, group[start : start + size], types, **options)]
            if state.num_processes > 1:
                lines = gather_object(lines)
            if state.is_main_process:
                file.append(lines)
            progress.update(len(group))
    return file


def to_json(row: Row) -> str:
    """A row as a line of JSON. Half a surrogate pair can't be written as UTF-8, but as an escape."""
    line = json.dumps(row, ensure_ascii=False, default=str)
    return json.dumps(row, default=str) if HALF_CHARACTER.search(line) else line
