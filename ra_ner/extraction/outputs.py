"""Results in other forms than JSON Lines: for a terminal, CoNLL and brat. See also `spacy_docs` and `review`.

A result is a row of the command's JSON Lines: `{"text", "entities": [{"text", "type", "start", "end", "score"}], ...}`.
"""

import io
import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from ..output_folder import new_folder
from .entities import Entity, without_overlaps
from .texts import Row

_MARKS = "".join(c for c in map(chr, range(0x2E80)) if unicodedata.category(c).startswith("M"))  # in words, as accents
_TOKEN = re.compile(rf"(?:[^\W\u2e80-\U0010ffff]|[{_MARKS}])+|\S")  # a word; a character where scripts put no space
LONGEST_NAME = 60  # characters: file systems take 255 bytes
_NOT_IN_NAMES = re.compile(r"[^\w.-]|^\.")


def as_table(row: Row, color: bool) -> str:
    """The text with its entities highlighted, and a line for each entity, for a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    styles = ("black on cyan", "black on green", "black on yellow", "black on magenta", "white on blue", "white on red")
    types = list(dict.fromkeys(entity["type"] for entity in row["entities"]))
    style = {type_: styles[i % len(styles)] for i, type_ in enumerate(types)}
    text, table = Text(_printable(row["text"].rstrip())), Table("type", "mention", "start", "end", "score", box=None)
    for entity in row["entities"]:
        text.stylize(style[entity["type"]], entity["start"], entity["end"])
        score = "" if entity["score"] is None else f"{entity['score']:.2f}"
        cells = entity["type"], entity["text"], entity["start"], entity["end"], score
        table.add_row(*(Text(_printable(str(cell).replace("\n", " "))) for cell in cells))
    page = io.StringIO()
    console = Console(file=page, force_terminal=color, no_color=not color, width=None if color else 10_000)
    console.print(text, table, sep="\n") if row["entities"] else console.print(text)
    if "error" in row:
        console.print(Text(_printable(row["error"])))
    return "\n".join(line.rstrip() for line in page.getvalue().split("\n"))


def _printable(text: str) -> str:
    """A text of the same length without characters that control a terminal."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else "\ufffd" for c in text)


def as_conll(row: Row) -> str:
    """A token and its BIO tag on each line, and an empty line at the end. Of entities that overlap one is kept."""
    entities = without_overlaps([Entity(**entity) for entity in row["entities"]])
    borders = {place for entity in entities for place in (entity.start, entity.end)}
    tags = {e.start: f"B-{'_'.join(e.type.split())}" for e in entities}
    inside = {place: f"I-{'_'.join(e.type.split())}" for e in entities for place in range(e.start + 1, e.end)}
    lines = []
    for match in _TOKEN.finditer(row["text"]):
        cuts = [match.start(), *(i for i in range(match.start() + 1, match.end()) if i in borders), match.end()]
        for start, end in pairwise(cuts):
            lines.append(f"{row['text'][start:end]} {tags.get(start) or inside.get(start, 'O')}\n")
    return "".join(lines) + "\n"


def write_brat(rows: Iterable[Row], folder: Path) -> None:
    """A `.txt` and an `.ann` file for each text, named by its `id` where that can be a file name. Scores are notes."""
    with new_folder(folder, "brat files") as new:
        for number, row in enumerate(rows, 1):
            name = "" if row.get("id") is None else str(row["id"])
            if not name or _NOT_IN_NAMES.search(name) or len(name) > LONGEST_NAME or (new / f"{name}.txt").exists():
                name = f"{number:06}"
            while (new / f"{name}.txt").exists():  # an earlier text has this number as its id
                name += "_"
            lines = []
            for i, entity in enumerate(row["entities"], 1):
                # brat wants a fragment for each line of a mention.
                lined = re.finditer(r"[^\r\n]+", entity["text"])
                parts = [(entity["start"] + m.start(), entity["start"] + m.end()) for m in lined]
                places = ";".join(f"{start} {end}" for start, end in parts)
                shown = " ".join(row["text"][start:end] for start, end in parts)
                lines.append(f"T{i}\t{'_'.join(entity['type'].split())} {places}\t{shown}\n")
                if entity["score"] is not None:
                    lines.append(f"#{i}\tAnnotatorNotes T{i}\tscore {entity['score']}\n")
            (new / f"{name}.txt").write_bytes(row["text"].encode("utf-8", "replace"))
            (new / f"{name}.ann").write_bytes("".join(lines).encode("utf-8", "replace"))
