"""Leakage: what a benchmark tests is not trained on."""

import random
import time

import pytest
from conftest import passage
from hypothesis import given
from hypothesis import strategies as st

from ra_ner.corpora.decontamination import INSIDE, LENGTHS, NEAR, RUN, SAME, SHARE, describe, find_contaminated

RAW = "In May, when ice breaks, the Rhine (seen from Basel) runs high; Ada's ferry, which is old, stays."
TOKENS = "In May , when ice breaks , the Rhine ( seen from Basel ) runs high ; Ada 's ferry , which is old , stays ."
LONG = "The old bridge of Bern was built by a duke, who came down the river from Thun in the summer of a very dry year."
CHINESE = "莱茵河自图恩湖一侧的群山流出，经过沙夫豪森的瀑布和老城巴塞尔，最后在鹿特丹附近注入北海。"


def rule(text: str, *tested: str, language: str = "en") -> str | None:
    return find_contaminated([passage(text)], [passage(test) for test in tested], language)[0]


@pytest.mark.parametrize(
    "text, tested, language, found",
    [
        ("A  short, Text!", "a short text", "en", SAME),
        ("ＡＢＣ 1", "abc1", "en", SAME),  # width
        (RAW, TOKENS, "en", SAME),
        ("莱茵河流经巴塞尔。", "莱茵河 流经 巴塞尔 .", "zh", SAME),
        # a run: 50 characters, 30 in Chinese
        (f"Yes: {LONG[10:75]} - no", LONG, "en", RUN),
        (f"Yes: {LONG[10:60]} - no", LONG, "en", None),
        (f"甲{CHINESE[3:36]}乙", CHINESE, "zh", RUN),
        (f"甲{CHINESE[3:30]}乙", CHINESE, "zh", None),
        # a short text inside
        ("We met early. The ferry from Basel stays ashore. Then we went home.", "The ferry from Basel .", "en", None),
        ("We met early. The ferry from Basel stays ashore. Then.", "The ferry from Basel stays .", "en", INSIDE),
        ("今天早上阿勒河的水位很高，我们没有过河。", "阿勒河的水位很高，我们", "zh", INSIDE),
        ("今天早上阿勒河的水位很高，我们没有过河。", "阿勒河的水位", "zh", None),
        ("哈哈哈哈哈哈哈哈哈哈哈哈哈", "哈哈哈哈哈哈哈哈哈哈哈", "zh", INSIDE),  # of one n-gram
        ("a short text that goes on", "a short text", "en", None),
        ("a short text", "a short text that goes on", "en", None),
        # a near-duplicate
        (LONG.replace("duke", "count").replace("summer", "spring"), LONG, "en", NEAR),
        (f"Then: {LONG.replace('duke', 'count').replace('summer', 'spring')} And so on.", LONG, "en", NEAR),
        (f"{LONG[:35]}, and {LONG[70:]}", LONG, "en", None),
        (CHINESE.replace("最后", "终于").replace("一侧", "旁边"), CHINESE, "zh", NEAR),
        ("...", "!!!", "en", None),  # nothing to compare
        ("x", "", "en", None),
    ],
)
def test_each_passage_is_found_by_the_first_rule_that_applies(text, tested, language, found):
    assert rule(text, tested, language=language) == found
    filler = [f"Test {i} is about another thing, of number {i * i}." for i in range(50)]
    assert rule(text, *filler, tested, language=language) == found


def test_nothing_tested_nothing_found():
    assert find_contaminated([passage("x")], [], "en") == [None] and find_contaminated([], [passage("x")], "en") == []


def letters(text: str) -> str:
    return "".join(c for c in text.casefold() if c.isalnum())


@given(st.lists(st.text(alphabet="ab 。", max_size=80), max_size=5), st.lists(st.text(alphabet="ab 。", max_size=40)))
def test_the_index_finds_what_a_plain_comparison_finds(texts, tests):
    def plain(text: str) -> str | None:
        lengths, text, kept = LENGTHS["zh"], letters(text), [t for t in map(letters, tests) if t]
        runs = [test[i : i + lengths.run] for test in kept for i in range(len(test) - lengths.run + 1)]
        if text in kept:
            return SAME
        if any(run in text for run in runs):
            return RUN
        kept = [test for test in kept if len(test) >= lengths.shortest]
        if any(test in text for test in kept):
            return INSIDE
        grams = [{test[i : i + lengths.gram] for i in range(len(test) - lengths.gram + 1)} for test in kept]
        return NEAR if any(sum(gram in text for gram in each) >= SHARE * len(each) for each in grams) else None

    found = find_contaminated([passage(text) for text in texts], [passage(test) for test in tests], "zh")
    assert found == [plain(text) for text in texts]


def test_thousands_of_passages_take_seconds_whatever_they_share():
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(2, 8))) for _ in range(500)]
    texts = [" ".join(rng.choices(words, k=25)) for _ in range(4000)]
    texts += [f"Show me film number {i} with the actor of film number {i + 1}" for i in range(1000)]  # a template
    begun = time.monotonic()
    found = find_contaminated([passage(text) for text in texts], [passage(text.upper()) for text in texts[::3]], "en")
    assert found[:4000:3] == [SAME] * 1334 and time.monotonic() - begun < 10


def test_the_rules_in_words_hold_their_figures():
    assert all(figure in describe("en") for figure in ("50 characters", "20 characters", "75%", "6-character"))
    assert all(figure in describe("zh") for figure in ("30 characters", "10 characters", "75%", "3-character"))
