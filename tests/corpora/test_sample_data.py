"""The sample corpus holds what its license page promises."""

from collections import Counter

import pytest
from conftest import REPO

from ra_ner.corpora.sources import load_corpus

DATA = REPO / "data" / "sample"


@pytest.mark.parametrize("language, train, test, types", [("en", 160, 40, 80), ("zh", 80, 20, 50)])
def test_sample_corpus(language, train, test, types):
    loaded = {part: load_corpus(str(DATA / f"{language}{part}.jsonl"), language) for part in ("", "_test")}
    assert not any(corpus.counts for corpus in loaded.values())
    parts = {part: corpus.passages for part, corpus in loaded.items()}
    passages = [passage for part in parts.values() for passage in part]
    frequency = Counter(entity.type for passage in passages for entity in passage.entities)
    print(f"\n{language}: {len(frequency)} types:", ", ".join(f"{t} {n}" for t, n in frequency.most_common()))

    assert len(parts[""]) >= train and len(parts["_test"]) == test
    assert len(frequency) >= types
    assert all(type_ == type_.lower() for type_ in frequency)
    assert len({passage.id for passage in passages}) == len(passages)
    folded = ["".join(char for char in passage.text.casefold() if char.isalnum()) for passage in passages]
    assert len(set(folded)) == len(folded), "two passages are the same but for case and punctuation"
    assert all(len(passage.types) >= 2 for passage in passages)
    assert all(None not in (entity.start, entity.end) for passage in passages for entity in passage.entities)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_hard_cases_are_in_the_sample(language):
    passages = load_corpus(str(DATA / f"{language}.jsonl"), "en").passages
    entities = [(passage, entity) for passage in passages for entity in passage.entities]

    def count(condition) -> int:
        return sum(condition(passage, entity) for passage, entity in entities)

    assert count(lambda p, e: p.text.count(e.text) > 1) > 10, "repeated mentions"
    assert count(lambda p, e: any(e.text != o.text and e.text in o.text for o in p.entities)) > 10, "nested mentions"
    for characters in ('"“”', "()[]（）", ",，、"):
        assert count(lambda p, e, c=characters: any(char in e.text for char in c)), f"mentions with one of {characters}"
    assert count(lambda p, e: any(ord(char) > 0x1F000 for char in e.text)), "emoji"
    assert count(lambda p, e: any(c.isascii() and c.isalpha() for c in e.text) and not e.text.isascii()), "mixed script"
