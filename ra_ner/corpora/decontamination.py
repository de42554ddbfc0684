"""Decontamination: training passages that share text with a benchmark's test part are found, to be dropped.

Only letters and digits are compared, without case, width, punctuation and white space: a tokenised benchmark so meets
the raw text that it was made from.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..passage import Passage

# A passage is counted by the first rule that applies.
SAME, RUN, INSIDE, NEAR = RULES = (
    "contaminated_same_text",
    "contaminated_shared_run",
    "contaminated_text_inside",
    "contaminated_near_duplicate",
)
SHARE = 0.75  # of the n-grams of a tested text
BATCH = 1 << 20  # characters compared at a time, which bounds memory
HITS = 3  # rare n-grams that a near-duplicate is recognised by, before all are compared


@dataclass(frozen=True)
class Lengths:
    """Lengths in letters and digits.

    Attributes:
        run: so long a part of a tested text may not be in a passage.
        gram: of n-grams.
        shortest: shorter tested texts are not looked for inside passages, which hold them by chance.
    """

    run: int
    gram: int
    shortest: int


LENGTHS = {"en": Lengths(run=50, gram=6, shortest=20), "zh": Lengths(run=30, gram=3, shortest=10)}


def describe(language: str) -> str:
    """The rules in words, for a card."""
    lengths = LENGTHS[language]
    return f"""A passage is dropped if it has the same text as a test passage, shares {lengths.run} characters in a row
with one, holds a whole test text of at least {lengths.shortest} characters, or is a near-duplicate: it holds at least
{SHARE:.0%} of the {lengths.gram}-character n-grams of such a text. Only letters and digits count, without case, width,
punctuation and white space."""


def find_contaminated(passages: Sequence[Passage], tested: Iterable[Passage], language: str) -> list[str | None]:
    """The rule by which each passage is contaminated, None if it is clean.

    Args:
        tested: the passages of test parts.
    """
    lengths = LENGTHS[language]
    tests = list(dict.fromkeys(filter(None, (_letters(passage.text) for passage in tested))))
    found: list[str | None] = [None] * len(passages)
    if not tests:
        return found
    same, runs, index = set(tests), _distinct_runs(tests, lengths.run), _RareGrams(tests, lengths)
    for start, texts in _batches([_letters(passage.text) for passage in passages]):
        rules: dict[int, str] = dict.fromkeys(_holding(texts, runs, lengths.run), RUN)
        rules |= {number: SAME for number, text in enumerate(texts) if text in same}
        # Texts that are found need no further comparison.
        others = ["" if number in rules else text for number, text in enumerate(texts)]
        for number, test in index.candidates(others):
            if rules.get(number) == INSIDE:
                continue
            if test in texts[number]:
                rules[number] = INSIDE
            elif _share(test, texts[number], lengths.gram) >= SHARE:
                rules[number] = NEAR
        for number, rule in rules.items():
            found[start + number] = rule
    return found


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


def _batches(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Texts in batches of about `BATCH` characters, with the number of the first."""
    start = size = 0
    for number, text in enumerate(texts):
        size += len(text)
        if size > BATCH:
            yield start, texts[start : number + 1]
            start, size = number + 1, 0
    yield start, texts[start:]


def _share(test: str, text: str, n: int) -> float:
    """The share of the distinct n-grams of `test` that are in `text`."""
    grams = {test[start : start + n] for start in range(len(test) - n + 1)}
    return sum(gram in text for gram in grams) / len(grams)


def _grams(texts: Sequence[str], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes (uint64) of all n-grams of the texts, and the number of each one's text (int64)."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32).astype(np.uint64)
    owners = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    count = max(0, len(codes) - n + 1)
    hashes = np.zeros(count, np.uint64)
    for offset in range(n):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + codes[offset : offset + count]
    whole = owners[:count] == owners[n - 1 :]
    return hashes[whole], owners[:count][whole]


def _distinct_runs(tests: Sequence[str], length: int) -> np.ndarray:
    return np.unique(np.concatenate([np.unique(_grams(texts, length)[0]) for _, texts in _batches(tests)]))


def _holding(texts: Sequence[str], runs: np.ndarray, length: int) -> list[int]:
    """The numbers of the texts that hold one of the runs."""
    hashes, owners = _grams(texts, length)
    return np.unique(owners[_places(runs, hashes)[1] > 0]).tolist()


def _places(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the values of `wanted` begin in sorted `keys`, and how often each is there."""
    starts = np.searchsorted(keys, wanted)
    return starts, np.searchsorted(keys, wanted, side="right") - starts


class _RareGrams:
    """The rarest n-grams of each tested text.

    A passage with at least `SHARE` of the n-grams of a text lacks so few that it holds `HITS` of these, whichever they
    are. They are rare, so hardly any other passage does: only such pairs are compared in full.
    """

    def __init__(self, tests: Sequence[str], lengths: Lengths):
        self.n = lengths.gram
        self.tests = [test for test in tests if len(test) >= lengths.shortest]
        hashes, owners = _distinct_grams(self.tests, self.n)
        _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        order = np.lexsort((counts[inverse], owners))
        hashes, owners = hashes[order], owners[order]
        sizes = np.bincount(owners, minlength=len(self.tests))
        needed = np.ceil(SHARE * sizes).astype(np.int64)
        self.hits = np.minimum(needed, HITS)
        rank = np.arange(len(owners)) - (np.cumsum(sizes) - sizes)[owners]
        kept = rank < (sizes - needed + self.hits)[owners]
        order = np.argsort(hashes[kept], kind="stable")
        self.keys, self.owners = hashes[kept][order], owners[kept][order]

    def candidates(self, texts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Pairs of a text's number and a tested text that it may hold."""
        hashes, numbers = _distinct_grams(texts, self.n)
        starts, counts = _places(self.keys, hashes)
        hit = counts > 0
        starts, counts, numbers = starts[hit], counts[hit], numbers[hit]
        # All places of all hits: each start repeated, plus 0, 1, ... within its repetitions.
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        owners = self.owners[np.repeat(starts, counts) + within]
        pairs, hits = np.unique(np.repeat(numbers, counts) * len(self.tests) + owners, return_counts=True)
        owners = pairs % max(1, len(self.tests))
        enough = hits >= self.hits[owners]
        for number, owner in zip(pairs[enough] // len(self.tests), owners[enough], strict=True):
            yield int(number), self.tests[owner]


def _distinct_grams(texts: Sequence[str], n: int) -> tuple[np.ndarray, np.ndarray]:
    """As `_grams`, but each n-gram of a text once."""
    hashes, owners = _grams(texts, n)
    order = np.lexsort((hashes, owners))
    hashes, owners = hashes[order], owners[order]
    new = np.ones(len(hashes), bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    return hashes[new], owners[new]
