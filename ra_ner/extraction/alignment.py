"""Where a mention stands in a text: verbatim, or up to case, width, Unicode form, white space, quotes and dashes."""

import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

Alignment = Literal["exact", "normalised"]

_QUOTES = dict.fromkeys("'‘’‚‛“”„‟«»‹›「」『』`´＂＇", '"')
_DASHES = dict.fromkeys("‐‑‒–—―−－﹣﹘", "-")
_SAME = str.maketrans(_QUOTES | _DASHES)
_EAST_ASIAN = "\u2e80"  # from here on scripts put no space between words


class Span(NamedTuple):
    """A place in a text: Python character offsets, end exclusive."""

    start: int
    end: int


@dataclass(frozen=True)
class AlignedText:
    """A text in which mentions are looked up. What is normalised is normalised once."""

    text: str

    def find(self, mention: str) -> tuple[list[Span], Alignment]:
        """All places of a mention, from left to right, none overlapping the one before.

        Places inside a longer word count only where there are no others. A mention that does not stand in the text
        verbatim is looked for in a normalised form of both.

        Returns:
            spans, empty if it is not found; and how they were found.
        """
        if spans := _whole_words(self.text, _occurrences(self.text, mention)):
            return spans, "exact"
        for form in (self._normalised, self._without_space):
            if spans := _whole_words(self.text, form.find(mention)):
                return spans, "normalised"
        return [], "exact"

    @cached_property
    def _normalised(self) -> "_Normalised":
        return _Normalised.of(self.text, " ")

    @cached_property
    def _without_space(self) -> "_Normalised":
        return _Normalised.of(self.text, "")


@dataclass(frozen=True)
class _Normalised:
    """A normalised text. `starts` and `ends` hold for each of its characters where the original one starts and ends;
    they are -1 inside of what one original character became, where no mention may start or end."""

    text: str
    starts: list[int]
    ends: list[int]
    space: str

    @staticmethod
    def of(text: str, space: str) -> "_Normalised":
        """Normalise a text cluster by cluster: a character with the marks that combine with it, or a run of space."""
        parts: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        start = 0
        while start < len(text):
            end = start + 1
            if text[start].isspace():
                while end < len(text) and text[end].isspace():
                    end += 1
                part = space
            else:
                while end < len(text) and _continues(text[end]):
                    end += 1
                part = _normalise(text[start:end])
            if part:
                parts.append(part)
                starts += [start] + [-1] * (len(part) - 1)
                ends += [-1] * (len(part) - 1) + [end]
            start = end
        return _Normalised("".join(parts), starts, ends, space)

    def find(self, mention: str) -> list[Span]:
        wanted = _Normalised.of(mention, self.space).text.strip()
        spans = []
        for start, end in _occurrences(self.text, wanted):
            first, last = self.starts[start], self.ends[end - 1]
            if first >= 0 and last >= 0:
                spans.append(Span(first, last))
        return spans


def _continues(character: str) -> bool:
    """Whether a character belongs to the one before: a combining mark, a joiner, or invisible."""
    return unicodedata.combining(character) != 0 or unicodedata.category(character) in ("Cf", "Mn", "Me")


def _normalise(cluster: str) -> str:
    visible = "".join(c for c in cluster if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFKC", visible).casefold().translate(_SAME).replace(" ", "")


def _occurrences(text: str, mention: str) -> list[Span]:
    spans = []
    start = text.find(mention) if mention else -1
    while start >= 0:
        spans.append(Span(start, start + len(mention)))
        start = text.find(mention, start + len(mention))
    return spans


def _whole_words(text: str, spans: list[Span]) -> list[Span]:
    """The spans that cut no word, or all if every one does."""
    return [span for span in spans if not _cuts(text, span.start) and not _cuts(text, span.end)] or spans


def _cuts(text: str, place: int) -> bool:
    return 0 < place < len(text) and all(c.isalnum() and c < _EAST_ASIAN for c in text[place - 1 : place + 1])
