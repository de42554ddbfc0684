"""Windows of a long text: cut at the ends of sentences, overlapping, so that nothing is lost at a border."""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from ..corpora.long_texts import SENTENCE_END


@dataclass(frozen=True)
class Window:
    """A piece of a text, in characters. It owns the entities that start from `first` up to `last`, exclusive.

    Neighbours overlap, and each owns its half of the overlap, so that an entity near a border is counted once, by the
    window that shows more of what is around it.
    """

    start: int
    end: int
    first: int
    last: int


def split_into_windows(text: str, token_ends: Sequence[int], size: int, overlap: int) -> list[Window]:
    """Cut a text into windows of at most `size` tokens.

    A window ends at the last end of a sentence in its second half, else at the last white space there, else after a
    token. The next one starts at most `overlap` tokens earlier, chosen in the same way.

    Args:
        token_ends: for each token of the text, the character at which it ends.
        size: tokens, at least 2.
        overlap: tokens, less than half of `size`.

    Returns:
        windows in order; one if the text fits, none if it is empty.
    """
    if not text:
        return []
    sentences = [match.end() for match in SENTENCE_END.finditer(text)]
    spaces = [place for place, character in enumerate(text, 1) if character.isspace()]
    pieces: list[tuple[int, int]] = []
    start = 0
    while True:
        first_token = bisect_right(token_ends, start)
        if first_token + size >= len(token_ends):
            pieces.append((start, len(text)))
            break
        # A token may have no character of its own, so that ends repeat: at least one character is taken.
        least, most = token_ends[first_token + size // 2], token_ends[first_token + size - 1]
        end = _last(sentences, least, most) or _last(spaces, least, most) or max(most, start + 1)
        pieces.append((start, end))
        earliest = token_ends[max(bisect_left(token_ends, end) - overlap, first_token + 1)] if overlap else end
        start = _first(sentences, earliest, end) or _first(spaces, earliest, end) or min(earliest, end)
    borders = [0, *((a_end + b_start + 1) // 2 for (_, a_end), (b_start, _) in itertools.pairwise(pieces))]
    owned = [*borders, len(text)]
    return [Window(*piece, owned[i], owned[i + 1]) for i, piece in enumerate(pieces)]


def _last(places: Sequence[int], least: int, most: int) -> int | None:
    """The last of sorted places from `least` to `most`."""
    i = bisect_right(places, most)
    return places[i - 1] if i and places[i - 1] >= least else None


def _first(places: Sequence[int], least: int, below: int) -> int | None:
    """The first of sorted places from `least` on and below `below`."""
    i = bisect_left(places, least)
    return places[i] if i < len(places) and places[i] < below else None
