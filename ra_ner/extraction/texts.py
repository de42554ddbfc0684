"""Reading texts: each becomes a row with a field `text`; the other fields of a row are kept."""

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import TextIO

from ..errors import UserError

Row = dict  # of one text

STDIN = "-"


def read_rows(
    source: str, *, lines: bool = False, column: str = "text", split: str = "train", config: str | None = None
) -> Iterator[Row]:
    """The texts of a source, one after the other.

    Args:
        source: a text file, a `.jsonl` or `.parquet` file, `-` for standard input, or the id of a Hub dataset.
        lines: each line of a text file is a text; else the file is one.
        column: the field of JSON Lines, Parquet and datasets that holds the text.
        split, config: of a Hub dataset.

    Yields:
        rows with a field `text`. A row that has none has a field `error` instead.

    Raises:
        UserError: the source can't be read, or its first row has no text.
    """
    rows = _read(source, lines, split, config)
    for number, row in enumerate(rows, 1):
        if isinstance(row, dict) and isinstance(row.get(column), str):
            yield row if column == "text" else {"text": row.pop(column), **row}
            continue
        error = f"{source}: row {number} is no object with a text in field `{column}`"
        if number == 1:
            there = f"; it has {', '.join(row)}, see --column" if isinstance(row, dict) and row else ""
            raise UserError(f"{error}{there}")
        yield {"error": error}


def _read(source: str, lines: bool, split: str, config: str | None) -> Iterator[object]:
    path = Path(source)
    if source != STDIN and not path.exists():
        if path.suffix or source.count("/") != 1:
            raise UserError(f"{source} does not exist (looked in {Path.cwd()}), nor is it the id of a Hub dataset")
        yield from _read_from_hub(source, split, config)
        return
    try:
        if path.suffix == ".parquet":
            yield from _read_parquet(path)
        else:
            with nullcontext(_stdin()) if source == STDIN else _open(path) as stream:
                first = next(stream, "")
                rest = chain([first], stream)
                if path.suffix == ".jsonl" or (source == STDIN and not lines and first.startswith("{")):
                    yield from (_parse(line) for line in rest if line.strip())
                elif lines:
                    yield from ({"text": line.rstrip("\r\n")} for line in rest)
                else:
                    yield {"text": "".join(rest)}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: can't be read ({error}); save it as UTF-8 text") from None


# Without translation of line ends, so that offsets are those of the file.


def _open(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", newline="\n")


def _stdin() -> TextIO:
    sys.stdin.reconfigure(encoding="utf-8-sig", newline="\n")
    return sys.stdin


def _parse(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(1000):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: can't be read as Parquet ({error})") from None


def _read_from_hub(source: str, split: str, config: str | None) -> Iterator[Row]:
    from huggingface_hub import HfApi

    from ..corpora.hub_datasets import load_split
    from ..hub.repos import hub_errors

    with hub_errors(f"{source!r} is no file in {Path.cwd()}, and as a Hub dataset it can't be read"):
        commit = HfApi().dataset_info(source).sha
    yield from load_split(source, split, commit, config)
