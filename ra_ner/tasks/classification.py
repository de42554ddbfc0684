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
from ..prompting.conversation import Wording
from .scoring import Counts, Metric, Row, Verdict
from .task import Sample, Score, Task

TEXTS = ("text", "sentence", "input", "question", "content")
LABELS = ("label", "output", "category", "class", "intent", "label_text")
UNPARSED = "(unparsed)"


def _has_label(row: object) -> bool:
    return isinstance(row, dict) and _key(row, TEXTS) is not None and _key(row, LABELS) is not None


def _key(row: dict, keys: Sequence[str]) -> str | None:
    return next((key for key in keys if isinstance(row.get(key), str | int)), None)


def _read_row(row: dict, context: Context) -> Draft:
    text, label = _key(row, TEXTS), _key(row, LABELS)
    if text is None or label is None:
        raise ValueError(f"a text under {', '.join(TEXTS)} and a label under {', '.join(LABELS)} are needed")
    name = context.type_of(row[label] if isinstance(row[label], int) else row[label].strip())
    return Draft(row[text], [], entities=[Entity(name, name)])


def _with_label_set(passages: list[Passage], alike: list[Passage]) -> list[Passage]:
    """Each passage with its label as the answer, and all labels as the question. Of several labels the first counts."""
    labels = json.dumps(sorted({entity.type for passage in alike for entity in passage.entities}), ensure_ascii=False)
    return [replace(p, entities=tuple(Entity(entity.type, labels) for entity in p.entities[:1])) for p in passages]


def read_answer(raw: str, type_: str, text: str, shown: Sequence[Passage]) -> dict:
    """The label that an answer is, up to case and outer marks, or else the only one that it names."""
    labels, error = json.loads(type_), None
    start, end = outside_thoughts(raw)
    answer = raw[start:end].strip().strip("\"'`“”.。 ")
    named = [label for label in labels if label.casefold() == answer.casefold()]
    named = named or [label for label in labels if occurrences(label.casefold(), answer.casefold(), whole_words=True)]
    # A label may be a part of another one, such as `number` of `phone number`.
    named = [label for label in named if not any(label != other and label in other for other in named)]
    if len(named) != 1:
        error = "names several labels" if named else "names no label"
    return {
        "parsed": error is None,
        "predicted": named if error is None else [],
        "parse_error": error,
        "copied": [],
    }


def judge(rows: Sequence[Row], text: str) -> list[Verdict]:
    """A verdict on the gold label of each question, and one on a wrong answer."""
    verdicts = []
    for row in rows:
        gold = row["gold"][0]["text"]
        predicted = row["predicted"][0] if row["parsed"] else UNPARSED
        outcome = "wrong_label" if row["parsed"] else "unparsed"
        if predicted != gold:
            verdicts.append(Verdict(predicted, predicted if row["parsed"] else row["raw_answer"], outcome, False))
        verdicts.append(Verdict(gold, gold, "found" if predicted == gold else outcome, True))
    return verdicts


def _count(rows: Sequence[Row], text: str, verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str, Counts]]:
    """With one right and one given answer to each question, micro-averaged F1 is accuracy."""
    for verdict in verdicts:
        yield "accuracy", verdict.type, verdict.counts
        if verdict.type != UNPARSED:
            yield "macro_f1", verdict.type, verdict.counts


def confusion(rows: Sequence[Row]) -> dict:
    """How often each label was answered where each label is right."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        table[row["gold"][0]["text"]][row["predicted"][0] if row["parsed"] else UNPARSED] += 1
    return {"confusion": {gold: dict(sorted(table[gold].items())) for gold in sorted(table)}}


def _confusion_table(result: dict) -> list[tuple[str, list[str], list]]:
    rows = result["confusion"]
    answered = sorted({label for answers in rows.values() for label in answers} | set(rows))
    cells = [[gold, *(answers.get(label, 0) for label in answered)] for gold, answers in rows.items()]
    return [("Confusion, gold labels in rows and answers in columns", ["gold", *answered], cells)]


def vote(examples: Sequence[Passage]) -> str:
    """The most frequent label of the examples; among equals, that of the best example."""
    labels = Counter(passage.entities[0].text for passage in examples if passage.entities)
    return max(labels, key=labels.__getitem__, default="")


def _label(labels: Sequence[str]) -> str:
    return labels[0] if labels else ""


_ENGLISH = Wording(
    examples="Here are some examples of text classification:\n{examples}",
    example="Text: {text}\nLabel: {entities}",
    examples_read="I've read these examples.",
    text="Text: {text}",
    text_read="I've read this text.",
    question="Which of these labels fits the text? {type}",
    format_entities=lambda pairs: _label([label for label, _ in pairs]),
    format_answer=_label,
)
_CHINESE = replace(
    _ENGLISH,
    examples="以下是一些文本分类的例子：\n{examples}",
    example="文本：{text}\n标签：{entities}",
    examples_read="我已读完这些例子。",
    text="文本： {text}",
    text_read="我已读完这段文本。",
    question="以下标签中哪一个适合这段文本？{type}",
)

CLASSIFICATION = Task(
    name="classification",
    title="text classification",
    asks="The question names all labels, or none; the answer is a label.",
    tags=("text-classification",),
    categories=("text-classification",),
    wordings={
        ("classification", "en"): _ENGLISH,
        ("classification", "zh"): _CHINESE,
        ("classification_without_labels", "en"): replace(_ENGLISH, question="What is the label of the text?"),
        ("classification_without_labels", "zh"): replace(_CHINESE, question="这段文本的标签是什么？"),
    },
    reading=Reading([Form("{id, text, label}", _has_label, _read_row)], finish=_with_label_set),
    read_answer=read_answer,
    metric=Metric(
        ("accuracy", "macro_f1"), ("wrong_label", "unparsed"), judge, _count, frozenset({"macro_f1"}), confusion
    ),
    scores=(
        Score("accuracy", "accuracy", "The share of right labels; an answer that can't be read is wrong.", ("f1",)),
        Score("macro_f1", "macro-F1", "The mean of F1 over labels.", ("f1",)),
    ),
    kinds={
        ("found", True): "right",
        ("wrong_label", False): "wrong label fp",
        ("wrong_label", True): "wrong label fn",
        ("unparsed", False): "unparsed fp",
        ("unparsed", True): "unparsed fn",
    },
    unit="Scores in percent, over texts.",
    note="""Accuracy is the share of right labels, and an answer that can't be read is wrong; macro-F1 is the mean of F1
over labels. The k-NN vote is no model: it answers with the most frequent label of the examples shown.""",
    errors_note="""Each wrong label counts twice: as a wrong answer / as the right label that was not answered.""",
    samples={
        "en": Sample(
            "Where is the lake of Sils?",
            '["place", "thing"]',
            ["place"],
            Passage("", "What is a fondue made of?", (Entity("thing", '["place", "thing"]'),)),
        ),
        "zh": Sample(
            "西尔斯湖在哪里？", '["地点", "事物"]', ["地点"], Passage("", "火锅里有什么？", (Entity("事物", ""),))
        ),
    },
    measured="accuracy",
    counted=("labels", lambda passage: [entity.text for entity in passage.entities]),
    baseline=("k-NN vote", vote),
    tables=_confusion_table,
)
