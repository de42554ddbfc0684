"""Reading answers: the mentions that they list, and where a mention stands in a text.

Imports nothing of the library, because a copy of this file is published beside the metric on the Hub.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Answer:
    """A parsed answer. `error` says why it could not be parsed; `mentions` is then empty."""

    mentions: tuple[str, ...]
    strict: bool = False
    error: str | None = None


_ITEM = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')  # a JSON or a Python string
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<mark>[\[\],])
    )""",
    re.VERBOSE | re.DOTALL,
)


def parse_answer(raw: str) -> Answer:
    """Parse an answer, strictly if possible, tolerantly otherwise. Never raises.

    Strict: the whole answer is a JSON list of strings. Tolerant: the first list anywhere in the answer. Its items may
    be in single quotes, be numbers, or be in nested lists. Quotes inside an item may be unescaped (`["a "b" c"]`, as
    in the released Chinese data). If the end is cut off, the complete items before it count.

    Example:
        >>> parse_answer('The cities are ["Rome", "Paris"].').mentions
        ('Rome', 'Paris')
    """
    try:
        items = json.loads(raw)
    except (ValueError, RecursionError):
        items = None
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return Answer(_distinct(items), strict=True)
    start = raw.find("[")
    if start < 0:
        return Answer((), error="no list")
    answer = _read_items(raw, start)
    line = raw[start:].split("\n", 1)[0].rstrip()
    if answer.error and len(line) > 4 and line.startswith('["') and line.endswith('"]'):
        return Answer(_distinct(line[2:-2].split('", "')))
    return answer


def _read_items(raw: str, start: int) -> Answer:
    """Read the items of the list that starts at `start`, up to its closing bracket or the end of a cut-off answer."""
    items, depth, position = [], 0, start
    while match := _ITEM.match(raw, position):
        position = match.end()
        if mark := match["mark"]:
            depth += {"[": 1, "]": -1, ",": 0}[mark]
            if depth == 0:
                return Answer(_distinct(items))
        else:
            items.append(match["number"] or _unquote(match["string"]))
    if raw[position:].lstrip()[:1] in ("", '"', "'"):  # nothing or an unfinished string: the answer was cut off
        return Answer(_distinct(items)) if items else Answer((), error="list cut off before its first item ended")
    return Answer((), error="not a list of strings")


def _unquote(literal: str) -> str:
    body = literal[1:-1]
    if literal[0] == "'":
        body = body.replace("\\'", "'").replace('"', '\\"')
    try:
        return json.loads(f'"{body}"', strict=False)
    except ValueError:  # an escape that JSON does not have
        return literal[1:-1]


def _distinct(items: Sequence[str]) -> tuple[str, ...]:
    # A JSON escape can be half a surrogate pair, which UTF-8 files can't hold.
    return tuple(dict.fromkeys(item.encode("utf-8", "replace").decode() for item in items))


_EAST_ASIAN = "\u2e80"  # from here on scripts put no space between words


class Span(NamedTuple):
    """A place in a text: Python character offsets, end exclusive."""

    start: int
    end: int


def find_mention(mention: str, text: str) -> list[Span]:
    """Where a mention stands in a text. Places inside a longer word count only if there are no others.

    Example:
        >>> find_mention("art", "Bart's art")
        [Span(start=7, end=10)]
    """
    return occurrences(mention, text, whole_words=True) or occurrences(mention, text)


def occurrences(mention: str, text: str, whole_words: bool = False) -> list[Span]:
    """All places of a mention, or those that cut no word, from left to right without overlaps."""
    spans = []
    start = text.find(mention) if mention else -1
    while start >= 0:
        span = Span(start, start + len(mention))
        if whole_words and cuts_a_word(span, text):
            start = text.find(mention, start + 1)
        else:
            spans.append(span)
            start = text.find(mention, span.end)
    return spans


def cuts_a_word(span: Span, text: str) -> bool:
    """Whether a span starts or ends between two letters or digits of a script that separates words."""
    return any(
        0 < place < len(text) and all(c.isalnum() and c < _EAST_ASIAN for c in text[place - 1 : place + 1])
        for place in span
    )
