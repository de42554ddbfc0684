"""Tagged text: a token and its tag on each line, and an empty line between sentences.

Which columns hold the tokens and the tags is found by what stands in them. A recipe can say it with `columns`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

from ..errors import UserError
from .annotations import Malformed
from .tags import ENOUGH, find_scheme, is_untyped, numbers_without_names, prefixes_without_type, read_tag, scheme_name

LOOKED_AT = 20_000  # lines by which the columns are found
DOCUMENT = "-DOCSTART-"  # stands between documents, as if it were a token

_INDEX = re.compile(r"\d+(?:[-.]\d+)?")
_RANGE = re.compile(r"\d+[-.]\d+")
_CHARACTER_AT = re.compile(r"(.+)(\d)", re.DOTALL)  # Weibo writes 科0 技1: a character and its place in the word
_LANGUAGE = re.compile(r"[a-z-]{2,12}:")  # WikiANN writes en:Ada en:ran
# Types of chunks, which stand in a column of their own before the entities (CoNLL-2003, English and German).
_CHUNKS = {"NP", "VP", "PP", "ADVP", "ADJP", "SBAR", "PRT", "INTJ", "CONJP", "LST", "UCP", "NC", "VC", "PC", "CLS"}
_SYNTAX = _CHUNKS | {"TOP", "S", "V"}  # of sentences and verbs in CoNLL-2012, in brackets like the entities'
_HEADERS = {"token", "tokens", "word", "words", "form", "text"}

Cells = list[str]


@dataclass(frozen=True)
class Layout:
    """Where tokens and tags stand in the lines of a file.

    Attributes:
        token, tags: columns from 0, or from -1 at the end of a line. Several hold the layers of nested entities.
        index: a column that numbers the tokens.
        width: how many columns most lines have.
        scheme: see `find_scheme`.
        name: what tags follow, as the field calls it.
        known: the tags seen.
        tag_names: what the values of the tag column stand for, if the user says it.
        place_digits: whether each token ends in the place of a character in its word.
        language: what each token begins with, such as `en:`; may be empty.
    """

    token: int
    tags: tuple[int, ...]
    index: int | None
    width: int
    scheme: str
    name: str
    known: frozenset[str]
    tag_names: Mapping[str, str]
    place_digits: bool
    language: str

    def __str__(self) -> str:
        tags = " and ".join(map(_ordinal, self.tags))
        extra = ", without the digit after each character" if self.place_digits else ""
        extra += f", without {self.language} before each token" if self.language else ""
        return f"tagged text, tokens in {_ordinal(self.token)}, tags in {tags} ({self.name}){extra}"

    def holds_tag(self, cells: Cells) -> bool:
        """Whether a tag stands where it should. Types without a prefix could be any words, so they must be known."""
        tag = self._tag(cells, self.tags[0])
        return tag is not None and (tag in self.known if self.scheme == "type" else self.reads(tag))

    def reads(self, tag: str) -> bool:
        return read_tag(tag, self.scheme) is not None

    def is_comment(self, line: str, cells: Cells) -> bool:
        """Whether a line that begins with # is no token."""
        return line.startswith("#") and not (len(cells) == self.width and self.holds_tag(cells))

    def is_no_token(self, cells: Cells) -> bool:
        """Whether a line is one that CoNLL-U adds to the tokens: a range such as 1-2, or an empty word such as 8.1."""
        return self.index is not None and self.index < len(cells) and bool(_RANGE.fullmatch(cells[self.index]))

    def _tag(self, cells: Cells, column: int) -> str | None:
        cell = _at(cells, column)
        return self.tag_names.get(cell, cell) if cell is not None else None

    def read(self, cells: Cells) -> tuple[str, list[str]]:
        """The token and its tags.

        Raises:
            ValueError: the line has none.
        """
        tags, token = [self._tag(cells, column) for column in self.tags], _at(cells, self.token)
        if None in tags or token is None or len(cells) < 2:
            raise ValueError("a line must hold a token and its tag")
        for tag in tags:
            if not self.reads(tag):
                raise ValueError(f"tag {tag!r} is neither O nor like the other tags ({self.name})")
        if self.width == 2 < len(cells) and self.tags[0] in (0, -1):  # a blank inside of a token
            token = " ".join(cells[:-1] if self.tags[0] else cells[1:])
        if self.place_digits and (match := _CHARACTER_AT.fullmatch(token)):
            token = match[1]
        return token.removeprefix(self.language) or " ", tags


def _at(cells: Cells, column: int) -> str | None:
    return cells[column] if -len(cells) <= column < len(cells) else None


def _ordinal(column: int) -> str:
    return f"column {column + 1}" if column >= 0 else "the last column" if column == -1 else f"column {column}"


def _cells(line: str) -> Cells:
    """The columns of a line, without padding. A blank or other white space may be a token."""
    if "\t" in line:
        cells = line.rstrip("\t ").split("\t")
    else:
        cells = line.strip(" ").split(" ")
        cells = [cell for cell in cells if cell] or [""]
        if len(cells) == 1 and "\u00a0" in cells[0].strip("\u00a0"):
            cells = cells[0].strip("\u00a0").split("\u00a0")
        elif len(cells) == 1 and line.startswith(" "):
            cells = [" ", *cells]
    return [cell.strip(" \r\u00a0") or cell for cell in cells]


def find_layout(
    lines: Sequence[str], path: Path, columns: Mapping[str, int], tag_names: Mapping[str, str]
) -> Layout | None:
    """Find the columns of tokens and tags; None if the lines are not tagged text.

    Args:
        columns: `token` and `tag`, from 1, or from -1 at the end of a line; empty if they are to be found.
        tag_names: what the values of the tag column stand for.

    Raises:
        UserError: a column is one of tags, but the tags can't be read.
    """
    sentences = _sentences(lines[:LOOKED_AT])
    rows = [cells for sentence in sentences for cells in sentence]
    if not rows:
        return None
    width = Counter(map(len, rows)).most_common(1)[0][0]
    if columns and not all(isinstance(number, int) and number for number in columns.values()):
        raise UserError(f"{path}: `columns` of tagged text are numbers from 1, such as {{token: 1, tag: 3}}")
    tag_columns = [_from_user(columns, "tag")] if columns else _find_tag_columns(sentences, width, tag_names, path)
    if not tag_columns:
        return None
    tags = Counter(tag for column in tag_columns for tag in _column(rows, column, tag_names))
    scheme = find_scheme(tags, are_tags=bool(columns or tag_names)) if tags else None
    if scheme is None:
        shown = ", ".join(map(repr, list(tags)[:3])) or "nothing"
        raise UserError(
            f"{path}: {_ordinal(tag_columns[0])} holds no tags ({shown}, ...); columns are separated by tabs or spaces"
        )
    known = frozenset(tag for tag in tags if read_tag(tag, scheme) is not None)
    others = [column for column in range(width) if column not in {c % width for c in tag_columns}]
    index = next((column for column in others if _is_index(sentences, column)), None)
    if columns:
        token = _from_user(columns, "token")
    else:
        token = _find_tokens(sentences, [column for column in others if column != index])
    if token is None:
        raise UserError(
            f"{path}: tags stand in {_ordinal(tag_columns[0])}, but no other column holds words: say which one does, "
            "such as `columns: {token: 1, tag: 3}` in section dataset"
        )
    name, place_digits = scheme_name(known, scheme), _has_place_digits(sentences, token)
    language = _language_of(_column(rows, token))
    return Layout(token, tuple(tag_columns), index, width, scheme, name, known, tag_names, place_digits, language)


def _sentences(lines: Sequence[str]) -> list[list[Cells]]:
    """The cells of lines that are tokens. A line that begins with # is more often a comment."""
    comments_only = not any(line.strip() and not line.startswith("#") for line in lines)
    sentences: list[list[Cells]] = [[]]
    for line in lines:
        if not line.strip() or DOCUMENT in line:
            sentences.append([])
        elif comments_only or not line.startswith("#"):
            sentences[-1].append(_cells(line))
    if sentences[0] and _is_header(sentences[0][0]):
        del sentences[0][0]
    return [sentence for sentence in sentences if sentence]


def _is_header(cells: Cells) -> bool:
    return any(cell.lower() in _HEADERS for cell in cells)


def _from_user(columns: Mapping[str, int], key: str) -> int:
    number = columns[key]
    return number - 1 if number > 0 else number


def _column(rows: Sequence[Cells], column: int, tag_names: Mapping[str, str] | None = None) -> list[str]:
    """What stands in a column of those lines that have it."""
    cells = [cell for row in rows if (cell := _at(row, column)) is not None]
    return [tag_names.get(cell, cell) for cell in cells] if tag_names else cells


def _find_tokens(sentences: Sequence[Sequence[Cells]], columns: list[int]) -> int | None:
    """The first column of words. A column with far fewer values than another is one of classes, such as parts of
    speech."""
    rows = [cells for sentence in sentences for cells in sentence]
    values = {column: _column(rows, column) for column in columns if not _is_constant(sentences, column)}
    words = [
        column
        for column, cells in values.items()
        if sum(map(_has_digit, cells)) < ENOUGH * len(cells) or _has_place_digits(sentences, column)
    ]
    distinct = {column: len(set(values[column])) for column in words or values}
    most = max(distinct.values(), default=0)
    return next((column for column, number in distinct.items() if number > most / 2), None)


def _has_digit(cell: str) -> bool:
    return any(map(str.isdigit, cell))


def _find_tag_columns(
    sentences: Sequence[Sequence[Cells]], width: int, tag_names: Mapping[str, str], path: Path
) -> list[int]:
    rows = [cells for sentence in sentences for cells in sentence]
    uneven = any(len(row) != width for row in rows)
    found: dict[str, list[tuple[float, int]]] = {}
    for column in [*range(width), *(range(-width, 0) if uneven else ())]:
        cells = _column(rows, column)
        named = any(cell in tag_names for cell in cells)
        if named and _is_index(sentences, column):
            continue
        tags = Counter(tag_names.get(cell, cell) for cell in cells)
        if tags.total() < ENOUGH * len(rows) or not (scheme := find_scheme(tags, are_tags=named)):
            continue
        share = sum(n for tag, n in tags.items() if read_tag(tag, scheme) is not None) / len(rows)
        marks = any(read_tag(tag, scheme) for tag in tags)
        found.setdefault(scheme if marks else "none", []).append((share, column))
    for scheme in ("prefix", "brackets", "suffix", "type", "none"):
        if candidates := found.get(scheme):
            break
    else:
        _refuse_unreadable_tags(rows, width, path)
        return []
    # In an uneven file, columns are counted from the end that fits more lines, and where entities are, not chunks.
    entities = {column for _, column in candidates if not _types(rows, column, tag_names, scheme) <= _CHUNKS}
    from_end = max(candidates, key=lambda found: (found[0], found[1] in entities, found[1] >= 0))[1] < 0
    columns = [column for _, column in candidates if (column < 0) == from_end]
    if scheme == "none":
        return columns[-1:]
    if scheme == "brackets":  # the arguments of verbs stand in the columns after the entities
        return [column for column in columns if not _types(rows, column, tag_names, scheme) & _SYNTAX][:1]
    layers = [column for column in columns if column in entities] or columns[-1:]
    return _check_layers(rows, layers, tag_names, scheme, path)


def _types(rows: Sequence[Cells], column: int, tag_names: Mapping[str, str], scheme: str) -> set[str]:
    tags = set(_column(rows, column, tag_names))
    return {type_ for tag in tags for _, type_ in read_tag(tag, scheme) or () if type_}


def _check_layers(
    rows: Sequence[Cells], columns: list[int], tag_names: Mapping[str, str], scheme: str, path: Path
) -> list[int]:
    """Several columns are layers of nested entities, unless they mark the same tokens: then one must be chosen."""
    for first, second in combinations(columns, 2):
        marked = [
            {n for n, row in enumerate(rows) if read_tag(tag_names.get(cell := _at(row, c) or "O", cell), scheme)}
            for c in (first, second)
        ]
        if len(marked[0] & marked[1]) > ENOUGH * len(marked[0] | marked[1]):
            raise UserError(
                f"{path}: {_ordinal(first)} and {_ordinal(second)} both hold tags, of the same tokens: choose one, "
                f"such as `columns: {{token: 1, tag: {second + 1}}}` in section dataset"
            )
    return columns


def _refuse_unreadable_tags(rows: Sequence[Cells], width: int, path: Path) -> None:
    """Name what is missing where a column looks like tags that need help."""
    if width < 2:
        return
    for column in (width - 1, 0):
        tags = set(_column(rows, column))
        if is_untyped(tags):
            raise prefixes_without_type(f"{path}: the tags in {_ordinal(column)}", tags)
        if column and "0" in tags and all(tag.lstrip("-").isdecimal() for tag in tags):
            raise numbers_without_names(f"{path}: the tags in {_ordinal(column)}", map(int, tags))


def _is_index(sentences: Sequence[Sequence[Cells]], column: int) -> bool:
    """Whether a column numbers the tokens."""
    steps = right = 0
    for sentence in sentences:
        cells = _column(sentence, column)
        if not all(map(_INDEX.fullmatch, cells)):
            return False
        numbers = [int(cell) for cell in cells if cell.isdecimal()]
        steps += len(numbers) - 1
        right += sum(second == first + 1 for first, second in pairwise(numbers))
    return 0 < 0.9 * steps <= right


def _is_constant(sentences: Sequence[Sequence[Cells]], column: int) -> bool:
    """Whether a column says the same of all tokens of a sentence, such as its document."""
    long = [set(_column(sentence, column)) for sentence in sentences if len(sentence) > 2]
    return bool(long) and sum(len(cells) <= 1 for cells in long) > 0.9 * len(long)


def _has_place_digits(sentences: Sequence[Sequence[Cells]], column: int) -> bool:
    total = right = later = 0
    for sentence in sentences:
        previous = -1
        for token in _column(sentence, column):
            match = _CHARACTER_AT.fullmatch(token)
            place = int(match[2]) if match else -1
            total += 1
            right += match is not None and place in (0, previous + 1)
            later += place > 0
            previous = place
    return later > 0 and right >= 0.99 * total


def _language_of(tokens: Sequence[str]) -> str:
    match = _LANGUAGE.match(tokens[0]) if tokens else None
    return match[0] if match and all(token.startswith(match[0]) for token in tokens) else ""


def tagged_rows(lines: Sequence[str], layout: Layout) -> Iterator[tuple[str, dict | Malformed]]:
    """The sentences: the place of each in the file, and its tokens and layers of tags, or why it is malformed."""
    tokens: list[str] = []
    tags: list[list[str]] = []
    first, fault, is_new_file = 0, None, True
    for number, line in enumerate([*lines, ""], 1):
        if not line.strip() or DOCUMENT in line:
            if tokens or fault:
                yield f"line {first}", fault or {"tokens": tokens, "layers": list(map(list, zip(*tags, strict=True)))}
            tokens, tags, fault = [], [], None
            continue
        cells = _cells(line)
        if layout.is_comment(line, cells) or layout.is_no_token(cells):
            continue
        if is_new_file and _is_header(cells) and not layout.holds_tag(cells):
            continue
        is_new_file = False
        first = first if tokens or fault else number
        try:
            token, token_tags = layout.read(cells)
        except ValueError as error:
            fault = fault or Malformed(f"line {number}: {error}")
        else:
            tokens.append(token)
            tags.append(token_tags)
