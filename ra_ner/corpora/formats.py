"""Forms of corpora: how each is recognised by its rows, and how a row becomes a passage."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..prompting.answers import find_mention, parse_answer

LOOKED_AT = 100  # rows or lines by which a form is recognised
# The datasets of tner have `tags`: numbers, which a separate file names.
TAG_COLUMNS = ("ner_tags", "tags")

SKIPPED = "skipped_malformed"
NOT_FOUND = "mentions_not_in_text"
WRONG_OFFSETS = "mentions_with_wrong_offsets"

Row = dict  # one JSON object
TEXTS = {"text", "sentence", "originalText"}  # columns that hold a text


# A reader returns `text` and `entities` as in our own form, and counts faults.


def _read_own(row: Row, language: str, counts: Counter[str]) -> Row:
    return {"text": row["text"], "entities": row["entities"]}


_TEXT_TURN = re.compile(r"\s*(?:Text|文本)\s*[:：] ?(.*\S.*)", re.DOTALL)  # keeps the text's own white space
_QUESTION = re.compile(
    r"\s*(?:What describes (?P<en>.+) in the text\?|文本中属于[\"“”](?P<zh>.+)[\"“”]的实体有哪些[？?])\s*", re.DOTALL
)


def _read_conversation(row: Row, language: str, counts: Counter[str]) -> Row:
    """Turns: examples if any, the text, an acknowledgement, then a question and an answer for each type."""
    turns = [turn["value"] for turn in row["conversations"]]
    number, text = next(((i, match[1]) for i, turn in enumerate(turns) if (match := _TEXT_TURN.match(turn))), (0, ""))
    if not text:
        raise ValueError("no turn begins with 'Text:' or '文本：'")
    questions, answers = turns[number + 2 :: 2], turns[number + 3 :: 2]
    if len(questions) != len(answers):
        raise ValueError("the last question has no answer")
    entities, asked = [], {}
    for question, raw in zip(questions, answers, strict=True):
        match, answer = _QUESTION.fullmatch(question), parse_answer(raw)
        if match is None:
            raise ValueError(f"not a question about an entity type: {question[:60]!r}")
        if answer.error:
            raise ValueError(f"answer {raw[:60]!r} can't be read: {answer.error}")
        asked[match["en"] or match["zh"]] = None
        for mention in answer.mentions:
            entities += _locate(mention, match["en"] or match["zh"], text, counts)
    return {"text": text, "entities": entities, "asked": list(asked)}


def _locate(mention: str, type_: str, text: str, counts: Counter[str]) -> list[Row]:
    """An entity for each place of a mention."""
    if not mention:
        raise ValueError("an answer holds an empty mention")
    spans = find_mention(mention, text)
    if not spans:
        counts[NOT_FOUND] += 1
        return [_entity(mention, type_)]
    return [_entity(mention, type_, *span) for span in spans]


def _read_tags(row: Row, language: str, counts: Counter[str]) -> Row:
    """Tokens with tags in IOB1, BIO, BIOES, BILOU or BMES: one rule reads them all.

    An entity begins at B, S or U, and at any other tag that does not continue an entity of its type. It ends after E,
    L, S or U.
    """
    tokens, tags = row["tokens"], row[next(column for column in TAG_COLUMNS if column in row)]
    if len(tokens) != len(tags):
        raise ValueError(f"{len(tokens)} tokens, but {len(tags)} tags")
    space = "" if language == "zh" else " "
    text = space.join(tokens)
    spans: list[tuple[int, int, str]] = []
    position, open_type = 0, None
    for token, tag in zip(tokens, tags, strict=True):
        prefix, type_ = _split_tag(tag)
        end = position + len(token)
        if type_ and (prefix in "BSU" or type_ != open_type):
            spans.append((position, end, type_))
        elif type_:
            spans[-1] = (spans[-1][0], end, type_)
        open_type = None if prefix in "ELSU" else type_
        position = end + len(space)
    return {"text": text, "entities": [_entity(text[start:end], type_, start, end) for start, end, type_ in spans]}


_TAG = re.compile(r"O|[BIMELSU]-.+")


def _split_tag(tag: object) -> tuple[str, str | None]:
    """The prefix and the type of a tag; the type of O is None."""
    if isinstance(tag, int):
        raise UserError(f"tag {tag} is a number without a name; tags must be strings, or a ClassLabel with names")
    if tag == "O":
        return "O", None
    if not _TAG.fullmatch(tag):
        raise UserError(f"tag {tag!r} is neither O nor a prefix and a type such as B-person")
    return tag[0], tag[2:]


def _read_cluener(row: Row, language: str, counts: Counter[str]) -> Row:
    text, entities = row["text"], []
    for type_, mentions in row["label"].items():
        # Arrow gives each row the keys of all rows, with None where a row has none.
        for mention, spans in (mentions or {}).items():
            entities += [_check(mention, type_, text, start, [end + 1], counts) for start, end in spans or []]
    return {"text": text, "entities": entities}


def _read_cmeee(row: Row, language: str, counts: Counter[str]) -> Row:
    text = row["text"]
    entities = [
        # The end is inclusive in most releases; the mention decides.
        _check(e["entity"], e["type"], text, e["start_idx"], [e["end_idx"] + 1, e["end_idx"]], counts)
        for e in row["entities"]
    ]
    return {"text": text, "entities": entities}


def _check(mention: str, type_: str, text: str, start: int, ends: list[int], counts: Counter[str]) -> Row:
    """An entity with the first end that matches the mention, without offsets if none does."""
    for end in ends:
        if text[start:end] == mention:
            return _entity(mention, type_, start, end)
    counts[WRONG_OFFSETS] += 1
    return _entity(mention, type_)


def _entity(mention: str, type_: str, start: int | None = None, end: int | None = None) -> Row:
    return {"text": mention, "type": type_, "start": start, "end": end}


# The known forms


@dataclass(frozen=True)
class Format:
    """A form of a corpus: its name, how a row is recognised, and how a row is read."""

    name: str
    recognises: Callable[[Row], bool]
    read: Callable[[Row, str, Counter[str]], Row]


def _has_key(rows: list[object], key: str) -> bool:
    return any(isinstance(row, dict) and key in row for row in rows)


CORPUS = Format("{id, text, entities}", lambda row: {"id", "text", "entities"} <= row.keys(), _read_own)
# CMeEE comes before our own form, because its rows may have an id too.
FORMATS = [
    Format("ShareGPT {conversations}", lambda row: "conversations" in row, _read_conversation),
    Format(
        "{tokens, ner_tags}",
        lambda row: "tokens" in row and any(column in row for column in TAG_COLUMNS),
        _read_tags,
    ),
    Format("CLUENER {text, label}", lambda row: "text" in row and isinstance(row.get("label"), dict), _read_cluener),
    Format(
        "CMeEE {text, entities with start_idx}",
        lambda row: isinstance(row.get("entities"), list) and _has_key(row["entities"], "start_idx"),
        _read_cmeee,
    ),
    CORPUS,
]


def is_tagged(lines: list[str]) -> bool:
    """Whether the lines are tokens with tags."""
    return any(_TAG.fullmatch(_columns(line)[-1]) for line in lines[:LOOKED_AT])


def tagged_rows(lines: list[str], path: Path) -> Iterator[Row]:
    """Sentences of a file with a token first and its tag last on each line, and an empty line between sentences."""
    tokens: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*lines, ""], 1):
        if line.strip() and not line.startswith("-DOCSTART-"):
            columns = _columns(line)
            if len(columns) < 2 or (not columns[0] and any(columns[1:-1])):
                raise UserError(f"{path}: line {number}: a line must be a token, white space, and the token's tag")
            try:
                _split_tag(columns[-1])
            except UserError as error:
                raise UserError(f"{path}: line {number}: {error}") from None
            tokens.append(columns[0] or " ")  # in a line such as "  O" the token is a blank
            tags.append(columns[-1])
        elif tokens:
            yield {"tokens": tokens, "ner_tags": tags}
            tokens, tags = [], []


def _columns(line: str) -> list[str]:
    """The columns of a line. White space other than tabs and blanks may be a token."""
    line = line.rstrip(" \t")
    return line.split("\t" if "\t" in line else " ")


def is_unlabelled(rows: list[object]) -> bool:
    """Whether rows have a text and nothing that could label it."""
    return all(isinstance(row, dict) and row.keys() <= {"id", *TEXTS} and row.keys() & TEXTS for row in rows)


def recognise(rows: list[object], source: str) -> Format:
    first = [row for row in rows[:LOOKED_AT] if isinstance(row, dict)]
    for form in FORMATS:
        if any(form.recognises(row) for row in first):
            return form
    raise unknown_form(source)


def unknown_form(source: str) -> UserError:
    names = "; ".join(form.name for form in FORMATS)
    return UserError(
        f"{source}: unknown form. Known are CoNLL text (a token and its BIO tag on each line), and JSON, JSON Lines or "
        f"Parquet with rows of {names}"
    )
