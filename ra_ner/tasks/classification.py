"""Text classification: one question about a text, answered with a label.

The gold of a passage is one entity: its text is the label, its type the list of all labels, which the question names.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..corpora.annotations import Context, Draft
from ..corpora.formats import Form, Reading
from ..corpora.span_forms import first
from ..passage import Entity, Passage
from ..prompting.answers import Answer, Span, occurrences, outside_thoughts
from ..prompting.conversation import WORDINGS
from .scoring import UNPARSED, Metric, Row, Score, Verdict
from .task import Task

TEXTS = ("text", "sentence", "input", "question", "content")  # what datasets call a text, and a label
LABELS = ("label_text", "label", "output", "category", "class", "intent")


def _find(row: object) -> tuple[str | None, str | int | None]:
    """The text and the label of a row, None where there is none."""
    keys = row if isinstance(row, dict) else {}
    return first(keys, TEXTS, str), first(keys, LABELS, (str, int))


def _read_row(row: dict, context: Context) -> Draft:
    text, label = _find(row)
    if text is None or label is None:
        raise ValueError(f"a text under {', '.join(TEXTS)} and a label under {', '.join(LABELS)} are needed")
    name = context.type_of(label).strip()
    return Draft(text, [Entity(name, name)])


def _with_label_set(passages: list[Passage], alike: list[Passage]) -> list[Passage]:
    """Each passage with its label as the answer, and all labels as the question. Of several labels the first counts."""
    labels = json.dumps(sorted({entity.type for passage in alike for entity in passage.entities}), ensure_ascii=False)
    return [replace(p, entities=tuple(Entity(entity.type, labels) for entity in p.entities[:1])) for p in passages]


def _core(text: str) -> str:
    return text.strip().strip("\"'`“”.。 ").casefold()


def read_answer(raw: str, type_: str) -> Answer:
    """The label that an answer is, up to case and outer marks, or else the only one that it names."""
    labels, said = {label: _core(label) for label in json.loads(type_)}, raw[slice(*outside_thoughts(raw))].strip()
    answer = _core(said)
    named = [label for label, core in labels.items() if core == answer]
    if not named:
        within = [label for label, core in labels.items() if core and occurrences(core, answer, whole_words=True)]
        named = [label for label in within if _is_alone(labels[label], answer, [labels[other] for other in within])]
    if len(named) > 1:  # labels that differ in case or outer marks alone
        named = [label for label in named if label == said] or named
    if len(named) == 1:
        return Answer((named[0],))
    return Answer((), error="names several labels" if named else "names no label")


def _is_alone(core: str, answer: str, named: Sequence[str]) -> bool:
    """Whether a label is not only a part of other ones in an answer, such as `number` of `phone number`."""
    longer = [other for other in named if core != other and core in other]
    for other in sorted(longer, key=len, reverse=True):
        answer = answer.replace(other, " ")
    return bool(occurrences(core, answer, whole_words=True))


def _gold_and_answer(row: Row) -> tuple[str, str]:
    return row["gold"][0]["text"], row["predicted"][0] if row["parsed"] else UNPARSED


def judge(rows: Sequence[Row], text: str) -> list[Verdict]:
    """A verdict on the gold label of each question, and one on a wrong answer; so micro-averaged F1 is accuracy."""
    verdicts = []
    for row in rows:
        gold, answer = _gold_and_answer(row)
        outcome = "found" if answer == gold else "wrong_label" if row["parsed"] else "unparsed"
        verdicts.append(Verdict(gold, gold, outcome, True))
        if answer != gold:
            verdicts.append(Verdict(answer, answer if row["parsed"] else row["raw_answer"], outcome, False))
    return verdicts


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
            Score("macro_f1", "macro-F1", "The mean of F1 over labels.", mean_of="accuracy"),
        ),
        ("wrong_label", "unparsed"),
        judge,
        confusion=_gold_and_answer,
    ),
    samples={"en": [("Where is Sils?", '["food", "place"]', "place"), ("What is rye?", '["food", "place"]', "food")]},
    find=lambda label, text: [Span(0, len(text))],  # a label says something of the whole text
    counted=("labels", "text"),
    baseline=("k-NN vote", vote),
)
