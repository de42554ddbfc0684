"""Find entities of given types in texts. Writes one JSON object for each text, in order."""

import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain, islice, tee
from pathlib import Path

from ..atomic_files import complete_lines
from ..errors import UserError
from . import CommandParser

logger = logging.getLogger(__name__)


def make_parser() -> CommandParser:
    parser = CommandParser("extract", __doc__)
    parser.add_argument("input", help="text file, .jsonl file with a field `text`, or - for standard input")
    parser.add_argument("--model", required=True, help="adapter, merged model or instruct model: a folder or a Hub id")
    parser.add_argument("--types", help="entity types, separated by commas")
    parser.add_argument("--types_file", type=Path, help="JSON file: a list of types, or a mapping to definitions")
    parser.add_argument("--examples", help="corpus that in-context examples are taken from")
    parser.add_argument("--encoder", help="sentence-transformers model that finds examples; default: the adapter's")
    parser.add_argument("--strategy", default="on_demand", help="how examples are chosen (default: on_demand)")
    parser.add_argument("--k", type=int, default=2, help="examples for each text (default: 2)")
    parser.add_argument("--language", choices=["en", "zh"], default="en", help="of models that do not know their own")
    parser.add_argument("--lines", action="store_true", help="each line of the input is a text")
    parser.add_argument("--threshold", type=float, default=0.0, help="leave out entities with a lower score")
    parser.add_argument("--first", action="store_true", help="only the first place of each mention")
    parser.add_argument("--flat", action="store_true", help="leave out entities that overlap one with a higher score")
    parser.add_argument(
        "--output", type=Path, help="file to write; a second run continues it (default: standard output)"
    )
    parser.add_argument("--batch_size", type=int, default=4, help="texts asked about at once (default: 4)")
    parser.add_argument("--dry_run", action="store_true", help="check the input and the types; load and write nothing")
    return parser


def main(arguments: list[str]) -> None:
    options = make_parser().parse_args(arguments)
    types = read_types(options.types, options.types_file)
    rows = read_rows(options.input, options.lines)
    if options.dry_run:
        print(f"{sum(1 for _ in rows)} texts, types {', '.join(types)}\n\nA dry run: nothing was loaded or written")
        return
    from tqdm import tqdm

    from ..extractor import Extractor

    done = _continue(options.output) if options.output else 0
    extractor = Extractor.from_pretrained(
        options.model,
        options.examples or (),
        language=options.language,
        encoder=options.encoder,
        strategy=options.strategy,
        k=options.k,
        batch_size=options.batch_size,
    )
    if done:
        logger.info("%s: continued after %d texts", options.output, done)
    rows, asked = tee(islice(rows, done, None))
    texts, occurrences = (row["text"] for row in asked), "first" if options.first else "all"
    found = extractor.stream(texts, types, options.threshold, occurrences, options.flat)
    with options.output.open("a", encoding="utf-8") if options.output else nullcontext(sys.stdout) as file:
        for row, extraction in tqdm(zip(rows, found, strict=True), unit="text", disable=not options.output):
            file.write(_line({**row, **extraction.to_dict()}) + "\n")
            file.flush()


def _line(row: dict) -> str:
    """A row as JSON. Half a surrogate pair can't be written as UTF-8, but as an escape."""
    line = json.dumps(row, ensure_ascii=False)
    return json.dumps(row) if re.search("[\ud800-\udfff]", line) else line


def _continue(output: Path) -> int:
    """Cut off a line that a kill has torn, and return the number of complete lines."""
    output.parent.mkdir(parents=True, exist_ok=True)
    if not output.exists():
        return 0
    whole = complete_lines(output)
    os.truncate(output, len(whole))
    return whole.count(b"\n")


def read_types(words: str | None, file: Path | None) -> list[str] | dict[str, str]:
    """The types of the command line or of a file.

    Raises:
        UserError: there are none, or the file has another form.
    """
    if file:
        try:
            types = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{file}: can't be read as JSON ({error})") from None
        if isinstance(types, dict) and types and all(isinstance(value, str) for value in types.values()):
            return types
        if isinstance(types, list) and types and all(isinstance(value, str) for value in types):
            return types
        raise UserError(f'{file}: a list of types is needed, or a mapping to definitions such as {{"city": "a town"}}')
    types = [word.strip() for word in (words or "").split(",") if word.strip()]
    if not types:
        raise UserError("name the entity types with --types person,city or with --types_file")
    return types


def read_rows(source: str, lines: bool) -> Iterator[dict]:
    """The texts of the input as rows with a field `text`; other fields of JSON Lines are passed through.

    Raises:
        UserError: the file can't be read, or a row has no text.
    """
    try:
        with nullcontext(sys.stdin) if source == "-" else Path(source).open(encoding="utf-8") as stream:
            first = next(stream, "")
            rest = chain([first], stream)
            if source.endswith(".jsonl") or (source == "-" and not lines and first.startswith("{")):
                for number, line in enumerate(rest, 1):
                    if line.strip():
                        yield _json_row(line, f"{source}: line {number}")
            elif lines:
                yield from ({"text": line.rstrip("\n")} for line in rest)
            else:
                yield {"text": "".join(rest)}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: can't be read ({error}); save it as UTF-8 text") from None


def _json_row(line: str, where: str) -> dict:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise UserError(f"{where}: each line needs a JSON object with a field `text`")
    return row
