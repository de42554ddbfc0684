"""Rows of a text and entities with offsets or mentions."""

import json

from corpus_forms import entities

from ra_ner.corpora.annotations import WRONG_OFFSETS
from ra_ner.corpora.sources import load_corpus


def test_cluener(write):
    label = {"name": {"叶老桂": [[0, 2], [5, 7]]}, "company": {"浙商": [[3, 4]], "无": [[1, 1]]}}
    source = load_corpus(write([{"text": "叶老桂浙商叶老桂", "label": label}]), "zh")
    assert entities(source.passages[0]) == [
        ("叶老桂", "name", 0, 3),
        ("叶老桂", "name", 5, 8),
        ("浙商", "company", 3, 5),
        ("无", "company", None, None),
    ]
    assert source.counts == {WRONG_OFFSETS: 1}


def test_cmeee_with_inclusive_and_exclusive_ends(write):
    def row(end, **more):
        entity = {"start_idx": 2, "end_idx": end, "type": "sym", "entity": "水肿"}
        return {"text": "合并水肿、", "entities": [entity], **more}

    no_entities = {"text": "无", "entities": []}
    rows = [no_entities, row(3), row(4), row(9)]
    for path in (write(rows), write(json.dumps(rows), "dev.json"), write([{**r, "id": i} for i, r in enumerate(rows)])):
        source = load_corpus(path, "zh")
        spans = [[(e.text, e.start, e.end) for e in p.entities] for p in source.passages]
        assert spans == [[], [("水肿", 2, 4)], [("水肿", 2, 4)], [("水肿", None, None)]]
        assert source.counts == {WRONG_OFFSETS: 1}
