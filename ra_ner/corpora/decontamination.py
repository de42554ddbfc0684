"""Decontamination: training passages that share text with a benchmark's test part are dropped."""

from collections.abc import Iterable, Iterator

from ..passage import Passage

WINDOW = {"en": 13, "zh": 30}  # tokens, characters


def drop_contaminated(passages: list[Passage], tested: Iterable[Passage], language: str) -> list[Passage]:
    """Drop passages that share their text, or a window of 13 tokens (in Chinese 30 characters), with a tested passage.

    Case and white space are ignored.
    """
    seen = {window for passage in tested for window in _windows(passage.text, language)}
    if not seen:
        return passages
    return [passage for passage in passages if seen.isdisjoint(_windows(passage.text, language))]


def _windows(text: str, language: str) -> Iterator[str]:
    words = text.casefold().split()
    units = words if language == "en" else list("".join(words))
    yield " ".join(units)
    for start in range(len(units) - WINDOW[language] + 1):
        yield " ".join(units[start : start + WINDOW[language]])
