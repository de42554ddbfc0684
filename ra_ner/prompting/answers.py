"""Reading answers: the mentions that they list, and where a mention stands in a text.

Imports nothing of the library, because a copy of this file is published beside the metric on the Hub.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Answer:
    """A parsed answer.

    Attributes:
        mentions: distinct, in the order of the answer.
        strict: the whole answer is a JSON list of strings, and each of them is a mention.
        error: why the answer could not be parsed; there are no mentions then.
        dropped: items that are no mentions: null, numbers, `...`, empty strings, half characters.
    """

    mentions: tuple[str, ...]
    strict: bool = False
    error: str | None = None
    dropped: int = 0


MAY_BE_SEVERAL = "quotes inside an item, which may be several items"
CUT_OFF = "list cut off before its first item ended"

# Marks around what a reasoning model thinks.
_THOUGHTS = re.compile(r"(?i:</?(?:\w{1,9}:)?(?:think|thinking|thought|reasoning)>)|\[/?THINK\]")
_OPENING, _CLOSING = "[［【〔〖", "]］】〕〗"
_CHINESE_SEPARATORS = "，､、﹐﹑；﹔"
_SEPARATORS = ",;" + _CHINESE_SEPARATORS
_LIST = re.compile(f"[{re.escape(_OPENING)}]")
# Quotation marks of a family open and close each other: models also write ”so” and “so“.
_FAMILIES = ('"', "＂", "'", "＇", "`", "“”„‟", "‘’‚‛", "「」｢｣", "『』", "«»", "‹›", "〝〞〟")
_QUOTES = {mark: re.compile(rf"\\.|[{family}]", re.DOTALL) for family in _FAMILIES for mark in family}
_ANY_QUOTE = f"[{''.join(_QUOTES)}]"
_END = rf"\s*(?:[{re.escape(_CLOSING)}{_SEPARATORS}]|\Z)"
# Words between two items, and after the last one.
_AND = rf"(?:(?:and|or|[/／|｜&＆+＋]|和|与|及|以及|或|或者|并|跟|还有)(?=\s*{_ANY_QUOTE})|(?:等等?|etc\.?)(?={_END}))"
_CONJUNCTION = re.compile(_AND)
_AFTER_STRING = re.compile(rf"{_END}|\s+{_ANY_QUOTE}|\s*{_AND}")
_NO_STRING = re.compile(
    rf"(?:(?P<nothing>null|none|n/a|[无無]|[没沒]有)|-?\d+(?:\.\d+)?(?:e[-+]?\d+)?|true|false|nan|\.\.+|…+)(?={_END})",
    re.IGNORECASE,
)
# One item made of several: a whole list, or a quotation ends in it that did not begin there, and another begins.
_A_LIST = rf"\s*[{re.escape(_OPENING)}]\s*{_ANY_QUOTE}.*{_ANY_QUOTE}\s*[{re.escape(_CLOSING)}]\s*\Z"
_JOINED = [
    rf"[^{marks}]*[{marks}]\s*[{separators}]\s*[{marks}]"
    for marks, separators in [
        *((marks, _SEPARATORS) for marks in ('"＂', "“”„‟", "‘’‚‛", "「」｢｣『』«»‹›", "〝〞〟")),
        ("'＇", _CHINESE_SEPARATORS),  # a comma may follow an apostrophe
    ]
]
_SEVERAL = re.compile("|".join([_A_LIST, *_JOINED]), re.DOTALL)
_NOTHING = re.compile(
    r"[\W_]*(?:none|null|n/a|nothing|none found|not mentioned|no entit(?:y|ies)(?: found)?"
    r"|[无無]|[没沒]有|暂无|不存在|(?:未|没有?)(?:提及|提到|找到|发现|出现)|(?:无|没有)(?:相关|任何)?实体)[\W_]*",
    re.IGNORECASE,
)


# What no item may hold: half a character, and what would make it read as several items.
_NEVER_IN_AN_ITEM = re.compile(
    f"[\ud800-\udfff]|(?<={_ANY_QUOTE})\\s*[{_SEPARATORS}]\\s*(?={_ANY_QUOTE})|[{re.escape(_OPENING)}]\\s*(?={_ANY_QUOTE})"
)


def copyable_parts(text: str) -> list[str]:
    """The parts of a text of which any substring can be read as one item of an answer; mostly the whole text."""
    return _NEVER_IN_AN_ITEM.split(text)


def parse_answer(raw: str) -> Answer:
    """Parse an answer, strictly if possible, tolerantly otherwise. Never raises, in time linear in its length.

    Strict: the whole answer is a JSON list of strings. Tolerant: the last list of strings in the answer, outside of
    what a reasoning model thinks. Its items may have any quotation marks and separators, also Chinese ones, and be in
    nested lists. Quotes inside an item may be unescaped (`["a "b" c"]`, as in the released Chinese data), but where
    they might end the item, the list can't be read: no mention is ever made of several. If the end is cut off, the
    complete items before it count. `[]`, `[""]`, `[null]` and a single item that says so, such as `["None"]` or
    `["无"]`, name nothing.

    Example:
        >>> parse_answer('The cities are ["Rome", "Paris"].').mentions
        ('Rome', 'Paris')
    """
    try:
        items = json.loads(raw)
    except (ValueError, RecursionError):
        items = None
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return _answer(items, strict=True)
    start, end = outside_thoughts(raw)
    text = raw[start:end]
    answer, error, position = None, "no list" if text.strip() else "empty answer", 0
    while opening := _LIST.search(text, position):
        read, position = _read_list(text, opening.start())
        if read.error:
            error = read.error
        else:
            answer = read
    if answer:
        return answer
    return Answer((), error="thinking that does not end, so no answer" if end < len(raw) else error)


def outside_thoughts(raw: str) -> "Span":
    """The place of what follows the thoughts of a reasoning model. It ends where thoughts begin that do not end."""
    start, end = 0, len(raw)
    for mark in _THOUGHTS.finditer(raw):
        if "/" in mark[0]:
            start, end = mark.end(), len(raw)
        elif end == len(raw):
            end = mark.start()
    return Span(start, end)


def _read_list(text: str, start: int) -> tuple[Answer, int]:
    """Read the list that starts at `start`, up to its closing bracket or the end of a cut-off answer.

    Returns:
        The answer, and where to look for the next list.
    """
    items: list[str] = []
    depth = no_strings = nothings = separators = 0
    position = start
    while position < len(text):
        char = text[position]
        if char in _OPENING:
            depth += 1
        elif char in _CLOSING:
            depth -= 1
            if depth == 0:
                if items or nothings or not (separators or no_strings):
                    return _answer(items, dropped=no_strings), position + 1
                return Answer((), error="not a list of strings"), position + 1
        elif char in _SEPARATORS:
            separators += 1
        elif char in _QUOTES:
            item, position = _read_string(text, position)
            if item is None and position < len(text):
                return Answer((), error=MAY_BE_SEVERAL), position
            if item is None and items:  # the answer was cut off
                break
            if item is None:
                return Answer((), error=CUT_OFF), start + 1
            items.append(item)
            continue
        elif match := _NO_STRING.match(text, position):
            no_strings += 1
            nothings += match["nothing"] is not None
            position = match.end()
            continue
        elif match := _CONJUNCTION.match(text, position):
            position = match.end()
            continue
        elif not char.isspace():
            return Answer((), error="not a list of strings"), position
        position += 1
    if items:
        return _answer(items, dropped=no_strings), position
    return Answer((), error=CUT_OFF), position


def _read_string(text: str, start: int) -> tuple[str | None, int]:
    """Read the item whose opening quote is at `start`.

    Returns:
        The item and where it ends. None if it does not end (the place is then that of the text's end), or may be
        several items (the place is then where another list may begin).
    """
    inner, position, marks = [], start + 1, _QUOTES[text[start]]
    while match := marks.search(text, position):
        place, position = match.start(), match.end()
        if match[0][0] == "\\":
            continue
        if _AFTER_STRING.match(text, position):
            if not _are_quotations(text, inner):
                return None, position
            return _unescape(text[start + 1 : place]), position
        before = place - 1
        while text[before].isspace():
            before -= 1
        if before > start and text[before] in _OPENING + _SEPARATORS:
            return None, before  # another item begins before this one ends
        if not _is_apostrophe(text, place):
            inner.append(place)
    return None, len(text)


def _are_quotations(text: str, quotes: Sequence[int]) -> bool:
    """Whether unescaped quotes inside an item are pairs around something, not the ends of items."""
    pieces = [text[start + 1 : end] for start, end in zip(quotes[::2], quotes[1::2], strict=False)]
    return len(quotes) % 2 == 0 and all(
        piece.strip() == piece and piece[:1] not in "(（" and any(map(str.isalnum, piece)) for piece in pieces
    )


def _is_apostrophe(text: str, place: int) -> bool:
    around = text[place - 1] + text[place + 1 : place + 2]
    return text[place] in "'’＇`" and all(c.isalnum() and c < _EAST_ASIAN for c in around)


_ESCAPE = re.compile(
    r"\\(?:(u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|u[\da-fA-F]{4})|(.))", re.DOTALL | re.ASCII
)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", **{mark: mark for mark in "\"'\\/"}}


def _unescape(body: str) -> str:
    """Read the escapes of JSON, and that of the single quote in Python. Others stay as they are."""

    def read(match: re.Match) -> str:
        if match[1]:
            return json.loads(f'"{match[0]}"')
        return _ESCAPED.get(match[2], match[0])

    return _ESCAPE.sub(read, body)


HALF_CHARACTER = re.compile("[\ud800-\udfff]")  # of a surrogate pair, which UTF-8 can't hold


def _answer(items: Sequence[str], strict: bool = False, dropped: int = 0) -> Answer:
    """The answer with these items, as far as they are mentions."""
    if any(_SEVERAL.match(item) for item in items):
        return Answer((), error=MAY_BE_SEVERAL)
    if len(items) == 1 and (not items[0].strip() or _NOTHING.fullmatch(items[0])):
        return Answer((), strict and not dropped, dropped=dropped)
    mentions = [item for item in items if item.strip().strip(".…") and not HALF_CHARACTER.search(item)]
    dropped += len(items) - len(mentions)
    return Answer(tuple(dict.fromkeys(mentions)), strict and not dropped, dropped=dropped)


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
    """Whether a span starts or ends between two letters or digits of a script that separates words, or before a mark
    that combines with the character before it."""
    return any(
        0 < place < len(text)
        and (is_mark(text[place]) or all(_is_in_a_word(c) and c < _EAST_ASIAN for c in text[place - 1 : place + 1]))
        for place in span
    )


def is_mark(character: str) -> bool:
    """Whether a character combines with the one before, such as an accent or a vowel sign."""
    return unicodedata.category(character).startswith("M")


def _is_in_a_word(character: str) -> bool:
    return character.isalnum() or is_mark(character)
