"""Files as rows: JSON, Parquet, tagged text, brat, PubTator and spaCy's DocBin."""

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet
from datasets import Dataset

from ..errors import UserError
from ..foreign_files import DELIMITERS, read_csv
from .annotations import Annotation, Context, Draft, Malformed
from .formats import BRAT, DOCBIN, LINE_FORMS, LOOKED_AT, PUBTATOR, TAGGED, Form, unknown_form
from .hub_datasets import dataset_rows
from .span_forms import is_spacy
from .tagged import find_layout, tagged_rows

# Lists of rows that a JSON file may hold under one key, as the NER Annotator for spaCy writes them.
_ROWS_KEYS = ("annotations", "data", "examples", "rows", "train", "dev", "validation", "test")
_PUBTATOR_TEXT = re.compile(r"([^\t|]+)\|([ta])\|(.*)")
_BRAT_ENTITY = re.compile(r"T\d+\t(\S+) (\d+ \d+(?:;\d+ \d+)*)\t(.*)")


@dataclass(frozen=True)
class Table:
    """The rows of a source.

    Attributes:
        rows: JSON objects, drafts, or what is malformed.
        places: where each row stands, such as `line 3`.
        form: if the kind of file decides it.
        description: what was found out about the form.
        scheme: of tagged text, see `tags.find_scheme`.
        stem: the name of the source, for ids.
    """

    rows: list[object]
    places: list[str]
    stem: str
    form: Form | None = None
    description: str = ""
    scheme: str = ""


def read_files(files: Sequence[Path], context: Context) -> Table:
    """The rows of a file, of several that are the pieces of one, or of brat files.

    Raises:
        UserError: one can't be read, is in no known form, or was not recognised as the same as the first.
    """
    if files[0].suffix == ".ann":
        return _read_brat(files)
    tables = [_read_file(file, context) for file in files]
    if len(files) == 1:
        return tables[0]
    for file, table in zip(files, tables, strict=True):
        if (table.form, table.description) != (tables[0].form, tables[0].description):
            raise UserError(f"{file}: read as {table.description or 'JSON'}, unlike {files[0]}: name one file")
    rows = [row for table in tables for row in table.rows]
    places = [f"{file.name}, {place}" for file, table in zip(files, tables, strict=True) for place in table.places]
    return replace(tables[0], rows=rows, places=places, stem=files[0].parent.name)


def _read_file(path: Path, context: Context) -> Table:
    if path.suffix == ".spacy":
        return _read_docbin(path)
    try:
        if path.suffix == ".parquet":
            return numbered(dataset_rows(Dataset(pyarrow.parquet.read_table(path))), path.stem)
        text = _read_text(path)
    except Exception as error:  # whatever Arrow and datasets say of a broken file
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: can't be read ({reason}); save it as UTF-8 text or Parquet") from None
    if not text.strip():
        return Table([], [], path.stem)
    if (table := _read_json(text, path)) is not None:
        return table
    if context.has_tables and path.suffix.lower() in DELIMITERS:
        return _read_table(text, path)
    lines = _lines(text)
    if _PUBTATOR_TEXT.match(text.lstrip()):
        return _read_pubtator(lines, path)
    if path.with_suffix(".ann").is_file():
        return _read_brat([path.with_suffix(".ann")])
    if not context.columns and (table := _read_lines(lines, path)) is not None:
        return table
    layout = find_layout(lines, path, context.columns, context.tag_names)
    if layout is None:
        raise unknown_form(str(path))
    places, rows = zip(*tagged_rows(lines, layout), strict=True)
    return Table(list(rows), list(places), path.stem, TAGGED, str(layout), layout.scheme)


def _read_text(path: Path) -> str:
    """The text of a file, with its own line ends: offsets count them."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # The first edition of Weibo encodes the two halves of an emoji each on its own, as Java does (CESU-8).
        halves = content.decode("utf-8-sig", "surrogatepass")
        return halves.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _read_table(text: str, path: Path) -> Table:
    return numbered(list(read_csv(io.StringIO(text, newline=""), path)), path.stem)


def _lines(text: str) -> list[str]:
    return re.split("\r\n?|\n", text)  # not splitlines: a text may hold U+2028 and form feeds


def _read_lines(lines: list[str], path: Path) -> Table | None:
    """The lines of a file with a passage on each, None if it has no such form."""
    filled = {f"line {number}": line.rstrip("\r") for number, line in enumerate(lines, 1) if line.strip()}
    first = list(filled.values())[:LOOKED_AT]
    for form in LINE_FORMS:
        if sum(map(form.recognises, first)) > len(first) / 2:
            return Table(list(filled.values()), list(filled), path.stem, form)
    return None


def numbered(rows: list[object], stem: str) -> Table:
    return Table(rows, [f"row {number}" for number in range(1, len(rows) + 1)], stem)


# JSON


def _read_json(text: str, path: Path) -> Table | None:
    """The rows of a JSON document or of JSON Lines, None if the text is neither."""
    if text.lstrip()[0] not in "[{":
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        failure = error
    else:
        return numbered(_rows_of(document, path), path.stem)
    # A tagged file may begin with a bracket as well: as a token.
    if not re.match(r"\s*(?:\[\s*){0,2}(?:\{\s*[\"}]|\[\s*\"|\[\s*\])", text):
        return None
    rows: list[object] = []
    places = []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: a string may hold U+2028
        if line.strip():
            places.append(f"line {number}")
            rows.append(_parse_line(line))
    if all(isinstance(row, Malformed) for row in rows) or not isinstance(rows[0], dict | list | Malformed):
        line, reason = getattr(failure, "lineno", 1), getattr(failure, "msg", failure)
        raise UserError(f"{path}: line {line}: not JSON ({reason}); a JSON array or an object a line is needed")
    return Table(rows, places, path.stem)


def _parse_line(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return Malformed(f"not JSON ({getattr(error, 'msg', error)})")


def _rows_of(document: object, path: Path) -> list[object]:
    if isinstance(document, dict):
        keys = [key for key in _ROWS_KEYS if isinstance(document.get(key), list)]
        is_row = {"text", "tokens"} & document.keys() or isinstance(document.get("data"), dict)  # of Label Studio
        if is_row or not keys:
            return [document]
        if len(keys) > 1:
            raise UserError(f"{path} holds {' and '.join(keys)}: save the rows that are meant in a file of their own")
        document = document[keys[0]]
    return [document] if is_spacy(document) else [row for row in document if row is not None]


# brat, PubTator, DocBin


def _read_brat(files: Sequence[Path]) -> Table:
    """A passage for each .ann file, whose text stands in the .txt file beside it."""
    rows = [_read_brat_file(file) for file in files]
    return Table(rows, [file.name for file in files], files[0].parent.name if len(files) > 1 else files[0].stem, BRAT)


def _read_brat_file(path: Path) -> Draft | Malformed:
    try:
        text, lines = _read_text(path.with_suffix(".txt")), _lines(_read_text(path))
    except (OSError, UnicodeDecodeError) as error:
        return Malformed(f"can't be read ({error})")
    annotations = []
    for number, line in enumerate(lines, 1):
        if not line.startswith("T"):
            continue  # relations, events, attributes and notes
        match = _BRAT_ENTITY.fullmatch(line)
        if match is None:
            return Malformed(f"line {number}: not `T1, type, start, end, mention`")
        type_, offsets, mention = match.groups()
        parts = [tuple(map(int, part.split())) for part in offsets.split(";")]
        gaps = [text[end:start] for (_, end), (start, _) in pairwise(parts)]
        if any(gap.strip() for gap in gaps):
            annotations.append(Annotation(type_, mention, is_discontinuous=True))
        else:
            annotations.append(Annotation(type_, mention, parts[0][0], parts[-1][1]))
    return Draft(text, annotations, path.stem)


def _read_pubtator(lines: list[str], path: Path) -> Table:
    """A passage for each document: title and abstract, whose offsets count one character between them."""
    rows: list[object] = []
    places = []
    block: list[str] = []
    for number, line in enumerate([*lines, ""], 1):
        text = _PUBTATOR_TEXT.fullmatch(line)
        if block and (not line.strip() or (text and text[2] == "t")):
            places.append(f"line {number - len(block)}")
            rows.append(_read_document(block))
            block = []
        if line.strip():
            block.append(line)
    return Table(rows, places, path.stem, PUBTATOR)


def _read_document(block: list[str]) -> Draft | Malformed:
    parts = {match[2]: match for line in block if (match := _PUBTATOR_TEXT.fullmatch(line))}
    if "t" not in parts:
        return Malformed("no line is `number|t|title`")
    text = parts["t"][3] + (" " + parts["a"][3] if "a" in parts else "")
    annotations = []
    for line in block:
        cells = line.split("\t")
        if len(cells) > 4 and cells[1].isdecimal() and cells[2].isdecimal():
            annotations.append(Annotation(cells[4], cells[3], int(cells[1]), int(cells[2])))
        elif not _PUBTATOR_TEXT.fullmatch(line) and len(cells) < 4:
            return Malformed(f"not `number, start, end, mention, type`: {line[:60]!r}")
    return Draft(text, annotations, parts["t"][1])


def _read_docbin(path: Path) -> Table:
    try:
        import spacy
        from spacy.tokens import DocBin
    except ImportError:
        help = "pip install '.[spacy]' in a clone of RA-NER, or save it as JSON Lines"
        raise UserError(f"{path}: a DocBin is read with spaCy: {help}") from None
    try:
        docs = DocBin().from_disk(path).get_docs(spacy.blank("xx").vocab)
        rows = [
            Draft(
                doc.text, [Annotation(span.label_, span.text, span.start_char, span.end_char) for span in _spans(doc)]
            )
            for doc in docs
        ]
    except Exception as error:  # whatever spaCy, msgpack and zlib say of a broken file
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: can't be read as a DocBin of spaCy ({reason})") from None
    return Table(rows, [f"document {number}" for number in range(1, len(rows) + 1)], path.stem, DOCBIN)


def _spans(doc: "spacy.tokens.Doc") -> Iterator["spacy.tokens.Span"]:  # noqa: F821
    """The entities of a document, and its groups of spans, which may overlap."""
    yield from doc.ents
    for group in doc.spans.values():
        yield from (span for span in group if span.label_)  # coreference, for example, gives its spans no labels
