"""Text classification: rows, the label set in the question, answers, scores, and the vote of the examples."""

import json

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given
from hypothesis import strategies as st

from ra_ner.corpora.benchmarks import load_benchmark
from ra_ner.corpora.sources import load_corpus, load_recipe_corpus
from ra_ner.dataset.build import PassageSplits
from ra_ner.errors import UserError
from ra_ner.passage import Entity, Passage
from ra_ner.prompting.conversation import training_conversation
from ra_ner.recipe_keys import DatasetConfig
from ra_ner.tasks import find_wording
from ra_ner.tasks.classification import CLASSIFICATION, UNPARSED, read_answer, vote
from ra_ner.tasks.scoring import score

READING = CLASSIFICATION.reading
ROWS = [{"id": "a", "text": "Where is Basel?", "label": "place"}, {"id": "b", "text": "Who is Ada?", "label": "person"}]
LABELS = '["person", "place"]'


def read(source: str, **keys) -> list[Passage]:
    passages = load_corpus(source, "en", reading=READING, **keys).passages
    return READING.finished(passages, passages)


def test_each_passage_has_its_label_as_the_answer_and_all_labels_as_the_question(write):
    assert read(write(ROWS)) == [
        Passage("a", "Where is Basel?", (Entity("place", LABELS),)),
        Passage("b", "Who is Ada?", (Entity("person", LABELS),)),
    ]


@pytest.mark.parametrize(
    "content, name",
    [
        ('text,label\n"Where is Basel, and why?",place\nWho is Ada?,person\n', "rows.csv"),
        ("text\tlabel\nWhere is Basel, and why?\tplace\nWho is Ada?\tperson\n", "rows.tsv"),
        (
            [{"input": "Where is Basel, and why?", "output": "place"}, {"question": "Who is Ada?", "class": "person"}],
            "r",
        ),
        (  # of SetFit
            [
                {"text": "Where is Basel, and why?", "label": 0, "label_text": "place"},
                {"text": "Who is Ada?", "label": 1, "label_text": "person"},
            ],
            "r",
        ),
    ],
)
def test_other_files_with_a_text_and_a_label(write, content, name):
    passages = read(write(content, name))
    assert [(p.text, p.entities[0].text) for p in passages] == [
        ("Where is Basel, and why?", "place"),
        ("Who is Ada?", "person"),
    ]


def test_class_labels_of_a_dataset_are_names(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["place", "person"])})
    dataset = Dataset.from_list([{"text": "Where?", "label": 0}, {"text": "Who?", "label": 1}], features=features)
    dataset.to_parquet(tmp_path / "train.parquet")
    assert [p.entities[0].text for p in read(str(tmp_path / "train.parquet"))] == ["place", "person"]


def test_numbers_are_named_by_tag_names(write):
    rows = [{"text": "Where?", "label": 0}, {"text": "Who?", "label": 1}]
    assert [p.entities[0].text for p in read(write(rows), tag_names={"0": "place", "1": "person"})] == [
        "place",
        "person",
    ]
    with pytest.raises(UserError, match="name it with `tag_names`"):
        read(write(rows))


def test_a_table_that_ends_within_quotes_is_one_line(write):
    rows = 'text,label\nCan I renew?,loans\n"Where is it?,rooms\nAre you open?,hours\n'
    with pytest.raises(UserError, match=r"rows.csv: line 4 can't be read \(unexpected end of data\): close all quotes"):
        read(write(rows, "rows.csv"))


def test_a_test_part_is_asked_for_the_labels_of_all_parts(write, tmp_path):
    write(ROWS, "train.jsonl")
    write(ROWS[:1], "test.jsonl")
    write([{"text": "What is rye?", "label": "thing"}], "dev.jsonl")
    (tmp_path / "labels.json").write_text(json.dumps({"place": "a place", "person": "a person", "thing": "a thing"}))
    benchmark = load_benchmark(str(tmp_path), "en", reading=READING)
    assert benchmark.types is None and benchmark.label_set == "labels.json"
    assert benchmark.test[0].entities == (Entity("a place", '["a person", "a place", "a thing"]'),)


@pytest.mark.parametrize(
    "content, name, message",
    [
        ("Ada B-person\nsang O\n", "corpus.conll", "unknown form. Known are: {id, text, label}"),
        ([{"text": "Ada", "entities": []}], "rows.jsonl", "unknown form. Known are: {id, text, label}"),
        ([{"text": "Ada"}], "rows.jsonl", "has texts without labels"),
        ([{"text": "", "label": "x"}], "rows.jsonl", "the text is empty"),
    ],
)
def test_what_is_no_labelled_text_is_refused_in_one_line(write, content, name, message):
    with pytest.raises(UserError, match=message):
        read(write(content, name))


def test_the_labels_are_in_the_question_or_left_out():
    passage = Passage("a", "Where is Basel?", (Entity("place", LABELS),))
    example = Passage("b", "Who is Ada?", (Entity("person", LABELS),))
    with_labels, without = (find_wording(f"classification{end}", "en") for end in ("", "_without_labels"))
    prompt, completion = training_conversation(passage, passage.types, [example], with_labels)
    assert prompt[0]["content"].endswith("Text: Who is Ada?\nLabel: person")
    assert prompt[-1]["content"] == f"Which of these labels fits the text? {LABELS}"
    assert completion == [{"role": "assistant", "content": "place"}]
    assert (
        training_conversation(passage, passage.types, [], without)[0][-1]["content"] == "What is the label of the text?"
    )


@pytest.mark.parametrize(
    "raw, predicted",
    [
        ("place", ["place"]),
        (' "Place". ', ["place"]),
        ("The label is place.", ["place"]),
        ("<think>person?</think>place", ["place"]),
        ("phone number", ["phone number"]),
        ("It is a phone number", ["phone number"]),
        ("A phone number, of the numbers", ["phone number"]),
        ("a number or a phone number", []),
        ("place or person", []),
        ("places", []),
        ("", []),
    ],
)
def test_an_answer_is_the_one_label_that_it_names(raw, predicted):
    answer = read_answer(raw, '["number", "person", "phone number", "place"]')
    assert list(answer.mentions) == predicted and bool(predicted) == (answer.error is None)


@pytest.mark.parametrize(
    "raw, labels, predicted",
    [
        ("U.S.", '["U.K.", "U.S."]', ["U.S."]),
        ("u.s", '["U.K.", "U.S."]', ["U.S."]),
        ("It is a phone number.", '["Number", "phone number"]', ["phone number"]),
        ("PRO", '["pro", "PRO"]', ["PRO"]),
        ("<think>pro?</think>PRO", '["pro", "PRO"]', ["PRO"]),
        ("Pro", '["pro", "PRO"]', []),
        ("yes", '["...", "yes"]', ["yes"]),
    ],
)
def test_labels_are_compared_as_answers_are(raw, labels, predicted):
    assert list(read_answer(raw, labels).mentions) == predicted


@given(st.text())
def test_any_answer_is_read(raw):
    answer = read_answer(raw, LABELS)
    assert (answer.error is None) == (len(answer.mentions) == 1)


def scored(*answers: tuple[str, str]) -> dict:
    """Figures of pairs of a gold label and an answer."""
    rows = []
    for i, (gold, raw) in enumerate(answers):
        answer = read_answer(raw, LABELS)
        row = {"passage_id": str(i), "type": LABELS, "gold": [{"text": gold}], "raw_answer": raw, "example_scores": []}
        rows.append(row | {"parsed": answer.error is None, "predicted": list(answer.mentions)})
    texts = {row["passage_id"]: "text" for row in rows}
    return score(rows, texts, samples=20, metric=CLASSIFICATION.metric).figures


def test_scores_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    answers = [("place", "place"), ("place", "person"), ("person", "person"), ("person", "dunno"), ("place", "place")]
    gold = [label for label, _ in answers]
    predicted = [raw if raw in ("place", "person") else UNPARSED for _, raw in answers]
    figures = scored(*answers)
    assert figures["accuracy"]["f1"] == pytest.approx(metrics.accuracy_score(gold, predicted))
    macro = metrics.f1_score(gold, predicted, average="macro", labels=["place", "person"])
    assert figures["macro_f1"]["f1"] == pytest.approx(macro, abs=1e-6)
    assert list(figures["accuracy"]["types"]) == ["person", "place"], "an answer that names no label is of no type"
    assert figures["unparsed"] == 1
    assert figures["confusion"] == {"person": {UNPARSED: 1, "person": 1}, "place": {"person": 1, "place": 2}}
    assert figures["errors"] == {"wrong_label": {"fp": 1, "fn": 1}, "unparsed": {"fp": 1, "fn": 1}}


def test_the_vote_is_the_most_frequent_label_and_the_best_one_among_equals():
    def examples(*labels: str) -> list[Passage]:
        return [Passage("", "", (Entity(label, LABELS),)) for label in labels]

    assert vote(examples("place", "person", "person")) == "person"
    assert vote(examples("place", "person")) == "place"
    assert vote([]) == ""


def test_texts_of_a_test_part_are_left_out_of_the_dataset(write, tmp_path):
    write(ROWS[:1], "test.jsonl")
    config = DatasetConfig(
        corpus=write(ROWS, "corpus.jsonl"), wording="classification", exclude=[str(tmp_path / "test.jsonl")]
    )
    splits = PassageSplits(load_recipe_corpus(config, "en", READING), "en", config)
    assert [p.text for p in splits.train] == ["Who is Ada?"] and splits.counts["dropped_contaminated"] == 1
