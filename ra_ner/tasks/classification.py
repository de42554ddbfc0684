"""Text classification: one question about a text, answered with a label.

The gold of a passage is one entity: its text is the label, its type the list of all labels, which the question names.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..corpora.annotations import Context, Draft
from ..corpora.formats import Form, Reading
from ..passage import Entity, Passage
from ..prompting.answers import occurrences, outside_thoughts
from ..prompting.conversation import WORDINGS
from .scoring import Counts, Metric, Row, Score, Verdict
from .task import Task

TEXTS = ("text", "sentence", "input", "question", "content")  # what datasets call a text, and a label
LABELS = ("label", "output", "category", "class", "intent")
UNPARSED = "(unparsed)"


def _find(row: object) -> tuple[str | None, str | int | None]:
    """The text and the label of a row, None where there is none."""
    keys = row if isinstance(row, dict) else {}
    text = next((keys[key] for key in TEXTS if isinstance(keys.get(key), str)), None)
    return text, next((keys[key] for key in LABELS if isinstance(keys.get(key), str | int)), None)


def _read_row(row: dict, context: Context) -> Draft:
    text, label = _find(row)
    if text is None or label is None:
        raise ValueError(f"a text under {', '.join(TEXTS)} and a label under {', '.join(LABELS)} are needed")
    name = context.type_of(label).strip()
    return Draft(text, [], entities=[Entity(name, name)])


def _with_label_set(passages: list[Passage], alike: list[Passage]) -> list[Passage]:
    """Each passage with its label as the answer, and all labels as the question. Of several labels the first counts."""
    labels = json.dumps(sorted({entity.type for passage in alike for entity in passage.entities}), ensure_ascii=False)
    return [replace(p, entities=tuple(Entity(entity.type, labels) for entity in p.entities[:1])) for p in passages]


def read_answer(raw: str, type_: str, text: str, shown: Sequence[Passage]) -> dict:
    """The label that an answer is, up to case and outer marks, or else the only one that it names."""
    labels, place = json.loads(type_), outside_thoughts(raw)
    answer = raw[slice(*place)].strip().strip("\"'`“”.。 ").casefold()
    named = [label for label in labels if label.casefold() == answer]
    named = named or [label for label in labels if occurrences(label.casefold(), answer, whole_words=True)]
    # A label may be a part of another one, such as `number` of `phone number`.
    named = [label for label in named if not any(label != other and label in other for other in named)]
    error = None if len(named) == 1 else "names several labels" if named else "names no label"
    return {"parsed": not error, "predicted": [] if error else named, "parse_error": error, "copied": []}


def _gold_and_answer(row: Row) -> tuple[str, str]:
    return row["gold"][0]["text"], row["predicted"][0] if row["parsed"] else UNPARSED


def judge(rows: Sequence[Row], text: str) -> list[Verdict]:
    """A verdict on the gold label of each question, and one on a wrong answer."""
    verdicts = []
    for row in rows:
        gold, answer = _gold_and_answer(row)
        outcome = "found" if answer == gold else "wrong_label" if row["parsed"] else "unparsed"
        verdicts.append(Verdict(gold, gold, outcome, True))
        if answer != gold:
            verdicts.append(Verdict(answer, answer if row["parsed"] else row["raw_answer"], outcome, False))
    return verdicts


def _count(rows: Sequence[Row], text: str, verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str, Counts]]:
    """With one right and one given answer to each question, micro-averaged F1 is accuracy."""
    for verdict in verdicts:
        yield "accuracy", verdict.type, verdict.counts
        if verdict.type != UNPARSED:
            yield "macro_f1", verdict.type, verdict.counts


def _confusion(rows: Sequence[Row]) -> dict:
    """How often each label was answered where each label is right."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for gold, answer in map(_gold_and_answer, rows):
        table[gold][answer] += 1
    return {"confusion": {gold: dict(sorted(table[gold].items())) for gold in sorted(table)}}


def _confusion_table(result: dict) -> list[tuple[str, list[str], list]]:
    rows = result["confusion"]
    answers = sorted({*rows, *(label for counts in rows.values() for label in counts)})
    cells = [[gold, *(counts.get(label, 0) for label in answers)] for gold, counts in rows.items()]
    return [("Confusion, gold labels in rows and answers in columns", ["gold", *answers], cells)]


def vote(examples: Sequence[Passage]) -> str:
    """The most frequent label of the examples; among equals, that of the best example."""
    labels = Counter(entity.text for passage in examples for entity in passage.entities)
    return max(labels, key=labels.__getitem__, default="")


_WORDS = {
    "format_entities": lambda pairs: pairs[0][0] if pairs else "",
    "format_answer": lambda labels: labels[0] if labels else "",
}
_ENGLISH = replace(
    WORDINGS["ra_it", "en"],
    examples="Here are some examples of text classification:\n{examples}",
    example="Text: {text}\nLabel: {entities}",
    question="Which of these labels fits the text? {type}",
    **_WORDS,
)
_CHINESE = replace(
    WORDINGS["ra_it", "zh"],
    examples="以下是一些文本分类的例子：\n{examples}",
    example="文本：{text}\n标签：{entities}",
    question="以下标签中哪一个适合这段文本？{type}",
    **_WORDS,
)

CLASSIFICATION = Task(
    name="classification",
    title="text classification",
    asks="The question lists all labels, or none; the answer is a label.",
    tags=("text-classification",),
    category="text-classification",
    wordings={
        ("classification", "en"): _ENGLISH,
        ("classification", "zh"): _CHINESE,
        ("classification_without_labels", "en"): replace(_ENGLISH, question="What is the label of the text?"),
        ("classification_without_labels", "zh"): replace(_CHINESE, question="这段文本的标签是什么？"),
    },
    reading=Reading([Form("{id, text, label}", lambda row: None not in _find(row), _read_row)], finish=_with_label_set),
    read_answer=read_answer,
    metric=Metric(
        (
            Score("accuracy", "accuracy", "The share of right labels; an answer that can't be read is wrong."),
            Score("macro_f1", "macro-F1", "The mean of F1 over labels.", over_types=True),
        ),
        {"wrong_label": "fp fn", "unparsed": "fp fn"},
        judge,
        _count,
        _confusion,
    ),
    unit="Scores in percent, over texts.",
    note="""Accuracy is the share of right labels, and an answer that can't be read is wrong; macro-F1 is the mean of F1
over labels. The k-NN vote is no model: it answers with the most frequent label of the examples shown.""",
    errors_note="Each wrong label counts twice: as a wrong answer / as the right label that was not answered.",
    samples={
        "en": [
            ("Where is the lake of Sils?", '["place", "thing"]', "place"),
            ("What is fondue made of?", '["place", "thing"]', "thing"),
        ]
    },
    counted=("labels", lambda entity: entity.text),
    baseline=("k-NN vote", vote),
    tables=_confusion_table,
)
