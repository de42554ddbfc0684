"""Reading texts: each becomes a row with a field `text`; the other fields of a row are kept."""

import json
import math
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import TextIO

from ..errors import UserError
from ..foreign_files import DELIMITERS, read_csv, read_json

Row = dict  # of one text

STDIN = "-"
LINES = (".jsonl", ".ndjson")  # a JSON object on each line
FILES = (".txt", ".md", ".json", ".parquet", *LINES, *DELIMITERS)  # a missing one is not looked for on the Hub


def read_rows(
    source: str, *, lines: bool = False, column: str = "text", split: str = "train", config: str | None = None
) -> Iterator[Row]:
    """The texts of a source, one after the other.

    Args:
        source: a text file, a file with rows (`.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv`, `.parquet`), `-` for
            standard input, or the id of a Hub dataset.
        lines: each line of a text file is a text; else the file is one.
        column: the field of rows that holds the text.
        split, config: of a Hub dataset.

    Yields:
        rows with a field `text`. A row without a text has none, and says in `error` why. Other fields named so are kept
        as `input_text` and `input_error`.

    Raises:
        UserError: the source can't be read, or its first row has no text.
    """
    rows = _read(source, lines, split, config)
    for number, row in enumerate(rows, 1):
        fields = {key: _finite(value) for key, value in row.items()} if isinstance(row, dict) else {}
        text = fields.pop(column, None)
        if isinstance(text, str):
            yield {"text": text, **_renamed(fields, "text")}
            continue
        error = f"{source}: row {number} is no object with a text in field `{column}`"
        if number == 1:
            there = f"; it has {', '.join(row)}, see --column" if fields else ""
            raise UserError(f"{error}{there}")
        yield {"error": error, **_renamed(fields, "text", "error")}


def _finite(value: object) -> object:
    """None for numbers that JSON does not have, such as the NaN of a missing value."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _renamed(fields: Row, *names: str) -> Row:
    return {f"input_{name}" if name in names else name: value for name, value in fields.items()}


def _read(source: str, lines: bool, split: str, config: str | None) -> Iterator[object]:
    path = Path(source)
    suffix = path.suffix.lower()
    if path.is_dir():
        raise UserError(f"{source} is a folder; name a file with texts")
    if source != STDIN and not path.exists():
        if suffix in FILES or source.count("/") != 1:
            raise UserError(f"{source} does not exist (looked in {Path.cwd()}), nor is it the id of a Hub dataset")
        yield from _read_from_hub(source, split, config)
        return
    try:
        if suffix == ".parquet":
            yield from _read_parquet(path)
        elif suffix in DELIMITERS:
            with _open(path) as stream:
                yield from read_csv(stream, path)
        elif suffix == ".json":
            rows = read_json(path, None, way_out="correct it, or save its rows as JSON Lines (.jsonl)")
            yield from rows if isinstance(rows, list) else [rows]
        else:
            with nullcontext(_stdin()) if source == STDIN else _open(path) as stream:
                first = next(stream, "")
                rest = chain([first], stream)
                if suffix in LINES or (source == STDIN and not lines and first.startswith("{")):
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
