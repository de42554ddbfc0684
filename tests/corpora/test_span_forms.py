"""Rows of a text and entities with offsets or mentions."""

import json

import pytest
from corpus_forms import LABEL_STUDIO, entities

from ra_ner.corpora.annotations import FROM_UTF16, NOT_ANNOTATED, NOT_FOUND, TRIMMED, WRONG_OFFSETS
from ra_ner.corpora.sources import load_corpus
from ra_ner.errors import UserError


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


# --- what annotation tools export


def test_prodigy_says_the_kind_of_a_mark_beside_its_label(write):
    mark = {"text": "Ada", "start": 0, "end": 3, "token_start": 0, "token_end": 0, "type": "span", "label": "PERSON"}
    row = {"text": "Ada met Bob.", "spans": [mark], "relations": [], "answer": "accept"}
    assert entities(load_corpus(write([row]), "en").passages[0]) == [("Ada", "PERSON", 0, 3)]


def test_a_task_of_label_studio_in_which_nothing_was_marked_has_no_entities(write):
    marked = {"text": "Ada ran.", "label": [{"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}], "lead_time": 2.5}
    rows = [marked, {"text": "Nobody ran.", "annotation_id": 7, "lead_time": 1.5}]
    passages = load_corpus(write(rows), "en").passages
    assert [len(passage.entities) for passage in passages] == [1, 0]


def test_an_exact_mention_in_utf_16_units_comes_before_words_at_offsets_in_characters(write):
    text = "\U0001f600\U0001f600 no no no, Ada!"
    rows = [{"text": text, "spans": [{"text": "no", "start": 5, "end": 7, "label": "word"}]}]
    source = load_corpus(write(rows), "en")
    assert entities(source.passages[0]) == [("no", "word", 3, 5)] and source.counts == {FROM_UTF16: 1}


def test_a_single_task_of_label_studio_is_a_row(write):
    for content in (json.dumps(LABEL_STUDIO), json.dumps([LABEL_STUDIO])):
        assert len(load_corpus(write(content, "export.json"), "en").passages) == 1


TEXT = "IL-2 receptor binds IL-2"
NESTED = [("IL-2", "a", 0, 4), ("IL-2 receptor", "a", 0, 13), ("IL-2 receptor", "b", 0, 13), ("IL-2", "a", 20, 24)]
SPANS = [[start, end, type_] for _, type_, start, end in NESTED]


@pytest.mark.parametrize(
    "row",
    [
        {"text": TEXT, "label": SPANS},
        {"data": TEXT, "labels": SPANS},
        {"text": TEXT, "entities": SPANS},
        [TEXT, {"entities": SPANS}],
        {"text": TEXT, "entities": [{"label": t, "start_offset": s, "end_offset": e, "id": 1} for s, e, t in SPANS]},
        {"text": TEXT, "spans": [{"start": s, "end": e, "label": t} for s, e, t in SPANS], "answer": "accept"},
        {"text": TEXT, "entity_list": [{"entity": TEXT[s:e], "entity_type": t, "offset": [s, e]} for s, e, t in SPANS]},
        {"sentence": TEXT, "entities": [{"name": TEXT[s:e], "type": t, "pos": [s, e]} for s, e, t in SPANS]},
        {"text": TEXT, "label": [{"start": s, "end": e, "text": TEXT[s:e], "labels": [t]} for s, e, t in SPANS]},
        {"text": TEXT, "tokens": TEXT.split(), "annotation": [{"label": t, "start": s, "end": e} for s, e, t in SPANS]},
    ],
)
def test_nested_and_repeated_mentions_come_through(write, row):
    corpus = load_corpus(write([row]), "en")
    assert entities(corpus.passages[0]) == NESTED and not corpus.counts


def test_points_of_dataturks_have_an_inclusive_end(write):
    points = [{"start": 8, "end": 11, "text": "Oslo"}]
    marks = [{"label": ["city", "capital"], "points": points}, {"label": [], "points": points}]
    rows = [{"content": "Ada in: Oslo", "annotation": marks, "extras": None}, {"content": "Nobody", "annotation": None}]
    corpus = load_corpus(write(rows), "en")
    assert list(map(entities, corpus.passages)) == [[("Oslo", "city", 8, 12), ("Oslo", "capital", 8, 12)], []]
    assert not corpus.counts


def test_light_tag_calls_types_tags(write):
    marks = [{"start": 0, "end": 3, "tag": "person", "value": "Ada", "annotated_by": []}]
    export = {"examples": [{"example_id": "x", "content": "Ada ran", "annotations": marks}], "relations": []}
    assert entities(load_corpus(write(json.dumps(export)), "en").passages[0]) == [("Ada", "person", 0, 3)]


def test_mentions_without_offsets_are_found_at_every_place(write):
    row = {
        "text": TEXT,
        "entity_list": [{"entity": "IL-2", "entity_type": "a"}, {"entity": "IL-7", "entity_type": "a"}],
    }
    corpus = load_corpus(write([row]), "en")
    assert entities(corpus.passages[0]) == [("IL-2", "a", 0, 4), ("IL-2", "a", 20, 24), ("IL-7", "a", None, None)]
    assert corpus.counts == {NOT_FOUND: 1}


def test_offsets_have_names_in_any_order(write):
    entity = {"entity": "ran", "entity_type": "x", "entity_index": {"end": 7, "begin": 4}}
    corpus = load_corpus(write([{"text": "Ada ran", "entity_list": [entity]}]), "en")
    assert entities(corpus.passages[0]) == [("ran", "x", 4, 7)] and not corpus.counts


def test_rejected_and_unfinished_rows_are_counted(write):
    rows = [
        {"text": "Ada", "spans": [{"start": 0, "end": 3, "label": "x"}], "answer": "accept"},
        {"text": "Ada", "spans": [{"start": 0, "end": 3, "label": "y"}], "answer": "ignore"},
    ]
    corpus = load_corpus(write(rows), "en")
    assert ([p.types for p in corpus.passages], corpus.counts) == ([["x"]], {NOT_ANNOTATED: 1})
    value = {"start": 0, "end": 3, "text": "Ada", "labels": ["x", "y"]}
    tasks = [
        {"data": {"text": "Ada"}, "annotations": [{"result": [{"value": value}]}]},
        {"data": {"text": "Ada"}, "annotations": []},
        {"data": {"text": "Ada"}, "annotations": [{"was_cancelled": True, "result": [{"value": value}]}]},
    ]
    corpus = load_corpus(write(json.dumps(tasks), "export.json"), "en")
    assert ([p.types for p in corpus.passages], corpus.counts) == ([["x", "y"]], {NOT_ANNOTATED: 2})


def test_numbers_of_labels_need_names(write):
    path = write([{"text": "Ada", "annotations": [{"label": 2, "start_offset": 0, "end_offset": 3}]}])
    with pytest.raises(UserError, match="2 is not the name of a type: name it with `tag_names`"):
        load_corpus(path, "en")
    assert load_corpus(path, "en", tag_names={2: "person"}).passages[0].types == ["person"]


# --- offsets


def test_outer_white_space_is_cut_off_and_counted(write):
    rows = [{"text": "In Oslo .\u3000Ada", "label": [[3, 8, "city"], [9, 13, "person"]]}]
    corpus = load_corpus(write(rows), "en")
    assert entities(corpus.passages[0]) == [("Oslo", "city", 3, 7), ("Ada", "person", 10, 13)]
    assert corpus.counts == {TRIMMED: 2}


SMILE = "\U0001f600"


@pytest.mark.parametrize(
    "row, language",
    [
        ({"text": f"{SMILE} in Oslo now", "label": [[6, 10, "x"]]}, "en"),
        ([f"{SMILE} in Oslo now", {"entities": [[6, 10, "x"]]}], "en"),
        ({"text": f"{SMILE} in Oslo", "label": [[6, 10, "x"]]}, "en"),
        ({"text": f"{SMILE}，在Oslo。", "label": [[4, 8, "x"]]}, "zh"),
        ({"text": f"{SMILE}在Oslo", "label": {"x": {"Oslo": [[3, 6]]}}}, "zh"),
        ({"text": f"{SMILE} Oslo", "entities": [{"text": "Oslo", "type": "x", "start": 3, "end": 7}]}, "en"),
        ({"sentence": f"{SMILE} Oslo", "entities": [{"name": "Oslo", "type": "x", "pos": [3, 7]}]}, "en"),
    ],
)
def test_utf16_units_are_converted_and_a_line_says_so(write, row, language, capsys):
    corpus = load_corpus(write([row]), language)
    (passage,) = corpus.passages
    place = passage.text.index("Oslo")
    assert entities(passage) == [("Oslo", "x", place, place + 4)]
    assert corpus.counts == {FROM_UTF16: 1}
    assert "1 offsets count UTF-16 units; they were converted" in capsys.readouterr().out


def test_characters_stay_characters_beside_emoji(write):
    rows = [{"text": f"{SMILE} in Oslo now", "label": [[5, 9, "x"]]}, {"text": "Oslo is", "label": [[0, 5, "x"]]}]
    corpus = load_corpus(write(rows), "en")
    assert [p.pairs for p in corpus.passages] == [[("Oslo", "x")]] * 2
    assert corpus.counts == {TRIMMED: 1}


def test_one_odd_offset_does_not_hide_utf16_units(write):
    rows = [{"text": f"{SMILE} in Oslo now", "label": [[6, 10, "x"]]}] * 5 + [
        {"text": f"{SMILE} Rome", "label": [[3, 5, "x"]]}
    ]
    assert load_corpus(write(rows), "en").passages[0].pairs == [("Oslo", "x")]


@pytest.mark.parametrize(
    "text, spans", [("Oslo and Rome", [[0, 3, "x"], [9, 12, "x"]]), ("é é é Oslo now", [[9, 13, "x"]])]
)
def test_offsets_that_cut_words_are_refused(write, text, spans):
    path = write([{"text": text, "label": spans}])
    with pytest.raises(UserError, match="cut a word, such as '(Osl|lo n)?.*`check_corpus: false`"):
        load_corpus(path, "en")
    assert load_corpus(path, "en", check=False).passages[0].entities


def test_offsets_outside_of_the_text_make_a_row_malformed(write):
    rows = [{"text": "Ada ran", "label": [[0, 3, "x"]]}] * 20
    bad = [{"text": "Ada", "label": [[start, end, "x"]]} for start, end in ((0, 9), (-3, 3), (3, 0), (1, 1), ("0", 3))]
    corpus = load_corpus(write(rows + bad), "en")
    assert len(corpus.passages) == 20 and corpus.counts == {"skipped_malformed": 5}


def test_a_prompt_of_uie_about_a_relation_names_no_type(write):
    row = {"content": "林娜住在上海。", "result_list": [{"text": "上海", "start": 4, "end": 6}], "prompt": "林娜的住处"}
    with pytest.raises(UserError, match="'林娜的住处' asks about a relation of '林娜', not about a type"):
        load_corpus(write([row]), "zh")
