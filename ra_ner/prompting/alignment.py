"""Where a mention stands in a text: verbatim, or up to case, width, Unicode form, white space, quotes and dashes.

Imports only `answers.py` of the library, because copies of both files are published beside the metric on the Hub.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from .answers import Span, cuts_a_word, find_mention, is_mark, occurrences

Alignment = Literal["exact", "normalised"]

_QUOTES = dict.fromkeys("'‘’‚‛“”„‟«»‹›「」『』`´＂＇", '"')
_DASHES = dict.fromkeys("‐‑‒–—―−－﹣﹘", "-")
_SAME = str.maketrans(_QUOTES | _DASHES)


@dataclass(frozen=True)
class AlignedText:
    """A text in which mentions are looked up. What is normalised is normalised once."""

    text: str

    def find(self, mention: str) -> tuple[list[Span], Alignment]:
        """All places of a mention, from left to right, none overlapping the one before.

        Places inside a longer word count only where there are no others. A mention that does not stand in the text
        verbatim is looked for in a normalised form of both. A place takes in the marks of its last character.

        Returns:
            spans, empty if it is not found; and how they were found.
        """
        if spans := find_mention(mention, self.text):
            whole = self._with_marks(spans)
            return whole, "exact" if whole == spans else "normalised"
        for form in (self._normalised, self._without_space):
            if spans := form.find(mention):
                return [span for span in spans if not cuts_a_word(span, self.text)] or spans, "normalised"
        return [], "exact"

    def _with_marks(self, spans: Sequence[Span]) -> list[Span]:
        whole: list[Span] = []
        for start, end in spans:
            if whole and start < whole[-1].end:  # the mention starts with a mark
                continue
            while end < len(self.text) and is_mark(self.text[end]):
                end += 1
            whole.append(Span(start, end))
        return whole

    @cached_property
    def _normalised(self) -> "_Normalised":
        return _Normalised.of(self.text, " ")

    @cached_property
    def _without_space(self) -> "_Normalised":
        return _Normalised.of(self.text, "")


def grounded(mentions: Sequence[str], text: str) -> list[str]:
    """The mentions that can be placed in the text, as they stand there."""
    aligned = AlignedText(text)
    places = [aligned.find(mention)[0] for mention in mentions]
    return list(dict.fromkeys(text[start:end] for spans in places for start, end in spans))


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
        for start, end in occurrences(wanted, self.text):
            first, last = self.starts[start], self.ends[end - 1]
            if first >= 0 and last >= 0:
                spans.append(Span(first, last))
        return spans


def _continues(character: str) -> bool:
    """Whether a character belongs to the one before: a combining mark, a joiner, or invisible."""
    return is_mark(character) or unicodedata.category(character) == "Cf"


def _normalise(cluster: str) -> str:
    visible = "".join(c for c in cluster if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFKC", visible).casefold().translate(_SAME).replace(" ", "")
