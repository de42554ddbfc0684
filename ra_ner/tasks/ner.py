"""Open named entity recognition: one question for each entity type, answered with a JSON list of mentions."""

from ..corpora.formats import NER_READING
from ..prompting.answers import parse_answer
from ..prompting.conversation import WORDINGS
from . import scoring
from .task import Task

NER = Task(
    name="ner",
    title="open named entity recognition",
    asks="Each question names one entity\ntype; the answer is a JSON list of mentions.",
    tags=("named-entity-recognition", "open-ner"),
    wordings=WORDINGS,
    reading=NER_READING,
    read_answer=lambda raw, type_: parse_answer(raw),
    metric=scoring.NER,
    samples={
        "en": [("Ada Lovelace lived in London.", "city", "London"), ("The Rhine flows past Basel.", "city", "Basel")],
        "zh": [("鲁迅生于绍兴。", "城市", "绍兴"), ("莱茵河流经巴塞尔。", "城市", "巴塞尔")],
    },
    note="""The span score compares character spans and counts an unparseable
answer as wrong; grounded is the same without mentions that are not in the text; uniner is UniversalNER's metric, which
counts an unparseable answer as an empty list.""",
    errors_note="""Spurious and hallucinated count wrong mentions, missed counts
gold entities; the other kinds count both: wrong mentions / gold entities not found.""",
    counted=("entity types", "type"),
    splits_texts=True,
    extracts=True,
)
