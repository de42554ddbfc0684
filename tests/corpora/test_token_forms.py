"""Rows of tokens, with tags or with entities over token positions."""

import pytest
from corpus_forms import CLASS_LABELS, CLASS_ROWS, entities
from datasets import ClassLabel, Dataset, Features, List, Value

from ra_ner.corpora.annotations import DISCONTINUOUS
from ra_ner.corpora.sources import SKIPPED, load_corpus
from ra_ner.errors import UserError


def test_tokens_with_class_labels_and_with_strings(write, tmp_path):
    Dataset.from_dict(CLASS_ROWS, CLASS_LABELS).to_parquet(tmp_path / "a.parquet")
    rows = [
        {"tokens": ["Ada", "Lovelace", "wrote"], "tags": ["B-PER", "I-PER", "O"]},
        {"tokens": ["Yes"], "tags": ["O"]},
    ]
    expected = load_corpus(write(rows, "a.json"), "en").passages
    assert entities(expected[0]) == [("Ada Lovelace", "PER", 0, 12)] and expected[1].entities == ()
    assert load_corpus(str(tmp_path / "a.parquet"), "en").passages == expected


def test_offsets_that_fit_the_text_count_its_characters_though_there_are_tokens(write):
    text = "On May 5 Ada met people in Rome"
    row = {"text": text, "tokens": text.split(), "entities": [{"type": "person", "text": "Ada", "start": 9, "end": 12}]}
    assert entities(load_corpus(write([row]), "en").passages[0]) == [("Ada", "person", 9, 12)]
    row["entities"] = [{"type": "person", "start": 3, "end": 4}]
    assert entities(load_corpus(write([row]), "en").passages[0])[0][:2] == ("Ada", "person")


def test_a_row_with_too_few_tags_is_skipped(write):
    rows = [*[{"tokens": ["Ada"], "tags": ["B-PER"]}] * 4, {"tokens": ["Ada", "ran"], "tags": ["B-PER"]}]
    assert load_corpus(write(rows), "en").counts == {SKIPPED: 1}


def test_numbers_without_names_are_refused(tmp_path):
    numbers = Features({"tokens": List(Value("string")), "tags": List(Value("int32"))})
    Dataset.from_dict({"tokens": [["Ada"]], "tags": [[3]]}, numbers).to_parquet(tmp_path / "a.parquet")
    unlabelled = {"tokens": [["Ada"]], "ner_tags": [[-1]]}
    Dataset.from_dict(unlabelled, CLASS_LABELS).to_parquet(tmp_path / "b.parquet")
    for name, tag in (("a", 3), ("b", -1)):
        with pytest.raises(UserError, match=f"the tags are numbers without a name .{tag}, .*`tag_names: FILE`"):
            load_corpus(str(tmp_path / f"{name}.parquet"), "en")


# --- tags


def test_types_without_a_prefix_are_runs(write, tmp_path):
    tags = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "person"]))})
    Dataset.from_dict({"tokens": [["Ada", "Lovelace", "ran"]], "ner_tags": [[1, 1, 0]]}, tags).to_parquet(
        tmp_path / "a.parquet"
    )
    row = {"tokens": ["Ada", "Lovelace", "ran"], "ner_tags": ["person", "person", "O"]}
    for path in (str(tmp_path / "a.parquet"), write([row])):
        assert entities(load_corpus(path, "en").passages[0]) == [("Ada Lovelace", "person", 0, 12)]


def test_numbers_with_names(write):
    rows = [{"tokens": ["Ada", "Lovelace", "ran"], "ner_tags": [5, 6, 0]}] * 5
    for names in ({"0": "O", "5": "B-x", "6": "I-x"}, {0: "O", 5: "x", 6: "x"}):
        corpus = load_corpus(write(rows), "en", tag_names=names)
        assert entities(corpus.passages[0]) == [("Ada Lovelace", "x", 0, 12)]
    corpus = load_corpus(write([*rows, {"tokens": ["Bo"], "ner_tags": [9]}]), "en", tag_names=names)
    assert corpus.counts == {SKIPPED: 1}


def test_tag_names_name_types_too(write):
    for path in (write([{"tokens": ["Ada", "ran"], "ner_tags": ["B-PER", "O"]}]), write("Ada B-PER\nran O\n", "a.txt")):
        assert load_corpus(path, "en", tag_names={"PER": "person"}).passages[0].types == ["person"]


def test_keys_that_the_user_names(write):
    path = write([{"w": ["Ada", "ran"], "coarse": ["B-x", "O"], "fine": ["B-y", "O"]}])
    with pytest.raises(UserError, match="unknown form"):
        load_corpus(path, "en")
    assert load_corpus(path, "en", columns={"token": "w", "tag": "fine"}).passages[0].types == ["y"]
    with pytest.raises(UserError, match="no row has tags under ner"):
        load_corpus(path, "en", columns={"token": "w", "tag": "ner"})
    with pytest.raises(UserError, match="are keys, such as"):
        load_corpus(path, "en", columns={"token": 1, "tag": 2})


def test_a_row_with_a_bad_tag_is_skipped(write):
    rows = [{"tokens": ["Ada", "ran"], "ner_tags": ["B-x", "O"]}] * 9
    bad = {"tokens": ["Ada", "ran"], "ner_tags": ["B-x", "O-x"]}
    assert load_corpus(write([*rows, bad]), "en").counts == {SKIPPED: 1}


def test_the_halves_of_an_emoji_in_two_tokens_are_one(write):
    path = write('{"tokens": ["Ada", "\\ud83d", "\\ude00"], "ner_tags": ["B-x", "O", "O"]}')
    assert load_corpus(path, "en").passages[0].text == "Ada \U0001f600"


def test_tags_win_over_an_empty_list_of_entities(write):
    row = {"tokens": ["Ada", "ran"], "ner_tags": ["B-x", "O"], "entities": []}
    assert load_corpus(write([row]), "en").passages[0].types == ["x"]


# --- entities over tokens

VENTRICLES = {"sentence": ["left", "and", "right", "ventricle"]}


def test_discontinuous_mentions_keep_no_offsets_and_are_counted(write):
    row = {**VENTRICLES, "ner": [{"index": [0, 3], "type": "part"}, {"index": [2, 3], "type": "part"}]}
    corpus = load_corpus(write([row]), "en")
    assert entities(corpus.passages[0]) == [("right ventricle", "part", 9, 24), ("left ventricle", "part", None, None)]
    assert corpus.counts == {DISCONTINUOUS: 1}


def test_nested_and_repeated_spans(write):
    row = {"tokenized_text": ["IL-2", "receptor", "IL-2"], "ner": [[0, 0, "a"], [0, 1, "a"], [0, 1, "b"], [2, 2, "a"]]}
    assert entities(load_corpus(write([{**row, "label": ["a", "b", "c"]}]), "en").passages[0]) == [
        ("IL-2", "a", 0, 4),
        ("IL-2 receptor", "a", 0, 13),
        ("IL-2 receptor", "b", 0, 13),
        ("IL-2", "a", 14, 18),
    ]


def test_the_sentences_of_dygie_are_a_document_and_count_on(write):
    row = {"doc_key": "x", "sentences": [["Ada", "ran", "."], ["Bo", "too", "."]], "relations": [[], []]}
    corpus = load_corpus(
        write([{**row, "ner": [[[0, 0, "Person"]], [[3, 3, "Person"]]]}, {**row, "ner": [[], []]}]), "en"
    )
    assert [p.text for p in corpus.passages] == ["Ada ran . Bo too ."] * 2
    assert [entities(p) for p in corpus.passages] == [[("Ada", "Person", 0, 3), ("Bo", "Person", 10, 12)], []]


def test_token_numbers_that_begin_again_in_each_sentence_are_refused(write):
    row = {"sentences": [["Ada", "ran", "."], ["Bo", "too", "."]], "ner": [[[0, 0, "x"]], [[0, 0, "x"]]]}
    with pytest.raises(UserError, match=r"are not in their sentence, tokens 3 to 5 of the document"):
        load_corpus(write([row]), "en")


def test_spans_outside_of_the_tokens_make_a_row_malformed(write):
    good = {"tokenized_text": ["Ada", "ran"], "ner": [[0, 0, "x"]]}
    corpus = load_corpus(write([good] * 8 + [{**good, "ner": [[1, 2, "x"]]}, {**good, "ner": [[-1, 0, "x"]]}]), "en")
    assert corpus.counts == {SKIPPED: 2}


def test_mrc_over_characters_with_blanks_between(write):
    row = {"context": "林 娜 在 上 海", "entity_label": "PER", "span_position": ["0;1"], "query": "人"}
    (passage,) = load_corpus(write([row]), "zh").passages
    assert (passage.text, entities(passage)) == ("林娜在上海", [("林娜", "PER", 0, 2)])


def test_a_label_that_is_no_name_makes_a_row_malformed(write):
    row = {"context": "Ada ran", "entity_label": "PER", "span_position": ["0;0"]}
    assert load_corpus(write([row] * 9 + [{**row, "entity_label": {"PER": 1}}]), "en").counts == {SKIPPED: 1}


def test_the_keys_that_were_taken_are_named(write):
    row = {"words": ["Ada", "ran"], "ner_tags": ["B-person", "O"], "fine_ner_tags": ["B-artist", "O"]}
    corpus = load_corpus(write([row]), "en")
    assert corpus.form == "{tokens, ner_tags}, tokens in `words`, tags in `ner_tags` (BIO)"
    corpus = load_corpus(write([row]), "en", columns={"token": "words", "tag": "fine_ner_tags"})
    assert corpus.form == "{tokens, ner_tags}, tokens in `words`, tags in `fine_ner_tags` (BIO)"
