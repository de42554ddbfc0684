"""Leakage: what a benchmark tests is not trained on."""

import pytest
from conftest import passage

from ra_ner.corpora.decontamination import drop_contaminated

LONG = " ".join(f"w{i}" for i in range(40))


def kept(text: str, tested: str, language: str = "en") -> bool:
    return bool(drop_contaminated([passage(text)], [passage(tested)], language))


@pytest.mark.parametrize(
    "text, tested, language, stays",
    [
        ("A  short Text", "a short text", "en", False),
        ("a short text", "a short text that goes on", "en", True),
        ("before " + " ".join(LONG.split()[5:18]) + " after", LONG, "en", False),
        ("before " + " ".join(LONG.split()[5:17]) + " after", LONG, "en", True),
        ("莱茵河流经巴塞尔。", "莱茵河流经 巴塞尔。", "zh", False),
        ("前" + "一二三四五六七八九十" * 3 + "后", "甲" + "一二三四五六七八九十" * 3 + "乙", "zh", False),
        ("前" + ("一二三四五六七八九十" * 3)[:29] + "后", "甲" + ("一二三四五六七八九十" * 3)[:29] + "乙", "zh", True),
    ],
)
def test_shared_texts_and_windows(text, tested, language, stays):
    assert kept(text, tested, language) == stays


def test_nothing_tested_nothing_dropped():
    assert drop_contaminated([passage("x")], [], "en") == [passage("x")]
