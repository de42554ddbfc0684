"""Entity-level precision, recall and F1 as plain functions. Imports nothing but the answer parser's plain types.

Two scores, micro-averaged over (text, type) queries:

- `legacy`: UniversalNER's (arXiv 2308.03279), as the RA-IT release computes it, flaws included, for comparison.
- `span`: on gold spans; repeats count, answers that can't be read are wrong, and nothing is normalised.
"""

import json
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

from .corpus import Entity


@dataclass(frozen=True)
class Counts:
    """True positives, false positives and false negatives; they add up over queries."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float:
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0

    @property
    def recall(self) -> float:
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn) if self.tp else 0.0


_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(mention: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single spaces (UniversalNER)."""
    text = mention.lower().translate(_PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def legacy_items(answer: str) -> list[str | tuple[str, ...]]:
    """The normalised distinct items of an answer, read as the RA-IT release reads it.

    The first `[...]` without a newline, wherever it stands, is parsed as JSON. Where there is none, or anything fails,
    the answer counts as the empty list.
    """
    match = re.search(r"\[(.*?)\]", answer)
    try:
        items = json.loads(match[0]) if match else []
        return list(dict.fromkeys(tuple(map(normalise, i)) if isinstance(i, list) else normalise(i) for i in items))
    except (ValueError, RecursionError, AttributeError, TypeError):  # not JSON, or an item that is no string
        return []


def legacy_counts(gold_answer: str, answer: str) -> Counts:
    """Compare two answers as sets of normalised mentions."""
    gold, predicted = legacy_items(gold_answer), legacy_items(answer)
    tp = len(set(gold) & set(predicted))
    return Counts(tp, len(predicted) - tp, len(gold) - tp)


def span_counts(gold: Sequence[Entity], mentions: Sequence[str], unparsed: bool) -> Counts:
    """Compare predicted mentions with the gold entities of one type.

    A predicted mention takes all gold entities with that text, or is one false positive. An answer that could not be
    read is one false positive and finds nothing.
    """
    found = set() if unparsed else set(mentions)
    tp = sum(entity.text in found for entity in gold)
    fp = 1 if unparsed else len(found - {entity.text for entity in gold})
    return Counts(tp, fp, len(gold) - tp)
