"""JSON, CSV and YAML that others wrote: bounded in size, and of a known form, or refused in one line."""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
LARGEST_JSON = 64 << 20  # bytes; the index of a model with thousands of experts has about ten million
LARGEST_FIELD = 100_000_000  # characters of a CSV field; the csv module's own limit is 131,072
LARGEST_YAML = 1 << 19  # characters; PyYAML reads about 100,000 in a second
MOST_VALUES = 100_000  # of a YAML document, aliases written out

_FORMS = {dict: "a mapping", list: "a list", str: "a text", int: "a whole number", float: "a number with a point"}


def read_json(
    file: Path, form: type | None = dict, *, way_out: str = "correct it, or get it again", **fields: type
) -> Any:
    """Read a JSON file.

    Args:
        form: of the content; None takes any.
        way_out: what to do about a file that is refused.
        fields: the form of each key that a mapping must have.

    Raises:
        UserError: it can't be read, is too large, or has another form.
    """
    try:
        if file.stat().st_size > LARGEST_JSON:
            raise ValueError(f"more than {LARGEST_JSON >> 20} MB")
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: can't be read as JSON ({error}); {way_out}") from None
    if form and not isinstance(content, form):
        raise UserError(f"{file}: {_FORMS[form]} is needed; {way_out}")
    for key, its_form in fields.items():
        if not isinstance(content.get(key), its_form):
            raise UserError(f"{file}: `{key}` must be {_FORMS[its_form]}; {way_out}")
    return content


def read_csv(lines: Iterable[str], path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file, or of a TSV file, as its name says.

    Raises:
        UserError: a quote is not closed, so that what follows would be read as one field.
    """
    csv.field_size_limit(LARGEST_FIELD)
    delimiter = DELIMITERS[path.suffix.lower()]
    rows = csv.DictReader(lines, restkey="further_fields", delimiter=delimiter, strict=True)
    try:
        yield from rows
    except csv.Error as error:
        raise UserError(
            f"{path}: line {rows.reader.line_num} can't be read ({error}): close all quotes, and double those inside a "
            "field, or save it as JSON Lines"
        ) from None


def use_booleans_of_yaml_1_2(loader: type[yaml.SafeLoader], *left_out: str) -> None:
    """Give a loader the booleans of YAML 1.2, `true` and `false` alone. Values of the kinds left out become texts."""
    loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("bool", *left_out)]
        for first, resolvers in loader.yaml_implicit_resolvers.items()
    }
    loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


def parse_yaml(text: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """Parse YAML. A few aliases can stand for more values than fit into memory, so they are counted first.

    Raises:
        yaml.YAMLError: it is not valid YAML, is too long, or has too many values.
    """
    if len(text) > LARGEST_YAML:
        raise yaml.YAMLError(f"more than {LARGEST_YAML:,} characters")
    try:
        reader = loader(text)
        node = reader.get_single_node()
        if node is None:
            return None
        if _count(node, {}) > MOST_VALUES:
            raise yaml.YAMLError(f"more than {MOST_VALUES:,} values")
        return reader.construct_document(node)
    except yaml.YAMLError:
        raise
    except RecursionError:
        raise yaml.YAMLError("nested too deeply") from None
    except Exception as error:  # constructors of PyYAML raise what int() and datetime() raise, and more
        raise yaml.YAMLError(str(error)) from None


def _count(node: yaml.Node, counts: dict[int, int]) -> int:
    """The number of values in a node, with aliases written out. `counts` holds those of nodes that were counted."""
    if id(node) not in counts:
        counts[id(node)] = MOST_VALUES + 1  # a node within itself has no end
        parts = [] if isinstance(node, yaml.ScalarNode) else node.value
        inner = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
        counts[id(node)] = 1 + sum(_count(part, counts) for part in inner)
    return counts[id(node)]
