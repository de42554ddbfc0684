"""Find entities in texts: of types that you name, or, with an instruct model, of any type."""

import logging
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..atomic_files import complete_file
from ..errors import UserError
from ..foreign_files import read_json
from . import CommandParser
from .extractor_flags import add_flags, check_examples, load_extractor

if TYPE_CHECKING:
    from ..extractor import Extractor, Types

logger = logging.getLogger(__name__)


def make_parser() -> CommandParser:
    parser = CommandParser("extract", __doc__)
    parser.add_argument(
        "input",
        help="text file, .jsonl, .json, .csv, .tsv or .parquet file, id of a Hub dataset, or - (standard input)",
    )
    parser.add_argument("--types", help="entity types, separated by commas; default: any, for instruct models only")
    parser.add_argument("--types_file", type=Path, help="JSON file: a list of types, or a mapping to definitions")
    add_flags(parser)
    texts = parser.add_argument_group("input")
    texts.add_argument("--lines", action="store_true", help="each line of a text file is a text")
    texts.add_argument("--column", default="text", help="field with the text (default: text)")
    texts.add_argument("--split", default="train", help="split of a Hub dataset (default: train)")
    texts.add_argument("--config", help="config of a Hub dataset")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--format",
        choices=["jsonl", "table", "conll", "brat", "spacy", "html"],
        default="jsonl",
        help="(default: jsonl)",
    )
    output.add_argument(
        "--output",
        type=Path,
        help="file, or folder for brat; run the same command again to continue a run that was stopped",
    )
    output.add_argument("--threshold", type=float, default=0.0, help="leave out entities with a lower score")
    output.add_argument(
        "--occurrences",
        choices=["all", "first"],
        default="all",
        help="all places of a repeated mention, or the first (default: all)",
    )
    output.add_argument("--flat", action="store_true", help="leave out entities that overlap one with a higher score")
    parser.add_argument("--dry_run", action="store_true", help="check the input and the types; load and write nothing")
    return parser


def main(arguments: list[str]) -> None:
    options = make_parser().parse_args(arguments)
    types = read_types(options.types, options.types_file)
    check_examples(options)
    _check_output(options)
    from ..extraction.texts import STDIN, read_rows

    keys = ("lines", "column", "split", "config")
    rows = read_rows(options.input, **{key: getattr(options, key) for key in keys})
    rows = chain(list(islice(rows, 1)), rows)  # an input that can't be read ends here
    if options.dry_run:
        print(f"{sum(1 for _ in rows)} texts, types {', '.join(types or ['any'])}")
        print("\nA dry run: nothing was loaded or written")
        return
    from ..bulk import extract_to_file, results
    from ..distributed import distributed_state

    state = distributed_state()
    if state.num_processes > 1 and (options.input == STDIN or not options.output):
        raise UserError("several processes need a file as input, and --output")
    extractor = load_extractor(options)
    found = {key: getattr(options, key) for key in ("threshold", "occurrences", "flat")}
    if options.output:
        keys = ("language", "encoder", "engine", "dtype", "load_in_4bit", "copy_only", "lines", "column")
        keys += ("server_model", "server_api", "server_thinking_tokens")
        settings = {key: getattr(options, key) for key in keys}
        file = extract_to_file(extractor, rows, types, _journal(options), settings, **found)
        if state.is_main_process:
            _write(options, file, types, extractor)
        return
    if options.format != "table":
        sys.stdout.reconfigure(encoding="utf-8")  # of data, whatever the terminal shows
    render = _renderer(options.format, sys.stdout.isatty())
    for row in _counted(results(extractor, rows, types, **found)):
        sys.stdout.write(render(row))
        sys.stdout.flush()


def _check_output(options: Namespace) -> None:
    """
    Raises:
        UserError: the format needs a file, or there is one already.
    """
    if options.format in ("brat", "spacy", "html") and not options.output:
        raise UserError(f"--format {options.format} needs --output")
    if options.output and options.output.is_dir() and (options.format != "brat" or not options.output.name):
        raise UserError(f"{options.output} is a folder; name a file in it")
    if options.format != "jsonl" and options.output and options.output.exists():
        raise UserError(
            f"{options.output} exists; name another output, or delete it to have it made again from {_journal(options)}"
        )


def _journal(options: Namespace) -> Path:
    """The JSON Lines that results are appended to; other forms are made of them at the end."""
    output = options.output
    return output if options.format == "jsonl" else output.with_name(f"{output.name}.jsonl")


def _write(options: Namespace, results: Iterable[dict], types: "Types | None", extractor: "Extractor") -> None:
    """Make the other forms of the output from the JSON Lines, and say how many texts failed."""
    from ..extraction.outputs import write_brat
    from ..extraction.review import write_review
    from ..extraction.spacy_docs import write_spacy

    texts = sum(1 for _ in _counted(results))
    if options.format == "brat":
        write_brat(results, options.output)
    elif options.format == "spacy":
        write_spacy(results, options.output, extractor.model.language)
    elif options.format == "html":
        write_review(results, options.output, extractor.pool, _facts(options, types, extractor))
    elif options.format != "jsonl":
        with complete_file(options.output) as new, new.open("w", encoding="utf-8", errors="replace") as file:
            file.writelines(map(_renderer(options.format, color=False), results))
    logger.info(f"{texts} texts: {options.output}")


def _counted(results: Iterable[dict]) -> Iterator[dict]:
    """The results, and after the last one a warning if texts failed."""
    texts, errors = 0, []
    for row in results:
        texts += 1
        errors += [row["error"]] if "error" in row else []
        yield row
    if errors:
        logger.warning(f"{len(errors)} of {texts} texts failed, see their field `error`; the first: {errors[0]}")


def _facts(options: Namespace, types: "Types | None", extractor: "Extractor") -> dict[str, object]:
    """What a reader of the results should know about the run."""
    defined = [f"{name} ({types[name]})" for name in types] if isinstance(types, dict) else types
    examples = f"{options.k} from {options.examples} ({options.strategy})" if options.examples else "none"
    return {
        "model": options.model,
        "texts": Path(options.input).name if Path(options.input).is_file() else options.input,
        "types": ", ".join(defined or ["any"]),
        "examples for each text": examples,
        "scores": "calibrated" if extractor.calibration else "not calibrated",
        "lowest score": options.threshold,
        "ra_ner": __version__,
    }


def _renderer(form: str, color: bool) -> Callable[[dict], str]:
    """The function that turns a result into text."""
    from ..bulk import to_json
    from ..extraction.outputs import as_conll, as_table

    if form == "jsonl":
        return lambda row: f"{to_json(row)}\n"
    return as_conll if form == "conll" else lambda row: as_table(row, color)


def read_types(words: str | None, file: Path | None) -> list[str] | dict[str, str] | None:
    """The types of the command line or of a file; None if none are named.

    Raises:
        UserError: the file has another form.
    """
    if file and words is not None:
        raise UserError("--types and --types_file both name types; leave one out")
    if file:
        types = read_json(file, None)
        if isinstance(types, dict) and types and all(isinstance(value, str) for value in types.values()):
            return types
        if isinstance(types, list) and types and all(isinstance(value, str) for value in types):
            return types
        raise UserError(f'{file}: a list of types is needed, or a mapping to definitions such as {{"city": "a town"}}')
    types = [word.strip() for word in re.split("[,，、]", words or "") if word.strip()]
    if words is not None and not types:
        raise UserError("--types names no type; separate them by commas, such as person,city")
    return types or None
