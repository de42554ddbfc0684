"""Open named entity recognition: one question for each entity type, answered with a JSON list of mentions."""

from collections.abc import Sequence

from ..corpora.formats import NER_READING
from ..passage import Passage
from ..prompting.alignment import AlignedText
from ..prompting.answers import parse_answer
from ..prompting.conversation import WORDINGS
from . import scoring
from .task import DEFAULT, Task


def read_answer(raw: str, type_: str, text: str, shown: Sequence[Passage]) -> dict:
    """The mentions of an answer, those of them that are in the text, and those that are only in an example."""
    answer = parse_answer(raw)
    return {
        "parsed": answer.error is None,
        "predicted": list(answer.mentions),
        "grounded": _grounded(answer.mentions, text),
        "parse_error": answer.error,
        "copied": copied(answer.mentions, text, shown),
    }


def _grounded(mentions: Sequence[str], text: str) -> list[str]:
    """The mentions that extraction can place in the text, as they stand there."""
    aligned = AlignedText(text)
    places = [aligned.find(mention)[0] for mention in mentions]
    return list(dict.fromkeys(text[start:end] for spans in places for start, end in spans))


def copied(mentions: Sequence[str], text: str, shown: Sequence[Passage]) -> list[str]:
    """The mentions that stand in a shown example, but not in the text."""
    return [m for m in mentions if m not in text and any(passage.holds(m) for passage in shown)]


NER = Task(
    name=DEFAULT,
    title="open named entity recognition",
    asks="Each question names one entity\ntype; the answer is a JSON list of mentions.",
    tags=("named-entity-recognition", "open-ner"),
    category="token-classification",
    wordings=WORDINGS,
    reading=NER_READING,
    read_answer=read_answer,
    metric=scoring.NER,
    note="""The span score compares character spans and counts an unparseable
answer as wrong; grounded is the same without mentions that are not in the text; uniner is UniversalNER's metric, which
counts an unparseable answer as an empty list.""",
    errors_note="""Spurious and hallucinated count wrong mentions, missed counts
gold entities; the other kinds count both: wrong mentions / gold entities not found.""",
    samples={
        "en": [("Ada Lovelace lived in London.", "city", "London"), ("The Rhine flows past Basel.", "city", "Basel")],
        "zh": [("鲁迅生于绍兴。", "城市", "绍兴"), ("莱茵河流经巴塞尔。", "城市", "巴塞尔")],
    },
    counted=("entity types", lambda entity: entity.type),
    splits_texts=True,
    extracts=True,
)
