"""Windows cover a text, overlap, and own each character once."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ra_ner.extraction.windows import Window, split_into_windows


def by_characters(text: str) -> list[int]:
    """A tokeniser that takes each character for a token."""
    return list(range(1, len(text) + 1))


def cut(text: str, size: int, overlap: int = 0) -> list[str]:
    return [text[w.start : w.end] for w in split_into_windows(text, by_characters(text), size, overlap)]


def test_a_text_that_fits_is_one_window():
    assert split_into_windows("Ada met Bob.", by_characters("Ada met Bob."), 12, 3) == [Window(0, 12, 0, 12)]
    assert split_into_windows("", [], 12, 3) == []


def test_windows_end_at_sentences_then_at_spaces_then_anywhere():
    assert cut("Ada left. Bob stayed. Cy came.", 24) == ["Ada left. Bob stayed. ", "Cy came."]
    assert cut("one two three four five", 10) == ["one two ", "three ", "four five"]
    assert cut("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert cut("他来了。她走了。它睡了。", 9) == ["他来了。她走了。", "它睡了。"]


def test_an_overlap_is_owned_half_by_each():
    first, second = split_into_windows("abcdefghij", by_characters("abcdefghij"), 8, 3)
    assert (first.start, first.end, second.start, second.end) == (0, 8, 5, 10)
    assert first.last == second.first == 7


@given(st.text(st.sampled_from("ab .。\n中"), max_size=200), st.integers(2, 30), st.data())
def test_windows_cover_the_text_within_their_size(text, size, data):
    overlap = data.draw(st.integers(0, (size - 1) // 2))
    windows = split_into_windows(text, by_characters(text), size, overlap)
    assert all(0 < window.end - window.start <= size for window in windows)
    assert [w.first for w in windows[:1]] == [0][: len(windows)] and (not windows or windows[-1].last == len(text))
    for one, other in itertools.pairwise(windows):
        assert one.start < other.start <= one.end < other.end + 1, "no gap, and each goes on"
        assert one.last == other.first and other.start <= other.first <= one.end
