"""Relation extraction: one question for each relation type, answered with a JSON list of pairs, head and tail.

The gold of a passage is a `Relation` for each (head, type, tail): its text is the pair in JSON.
"""

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from ..corpora.annotations import Context, Draft
from ..corpora.formats import Form, Reading, has_keys
from ..passage import Entity
from ..prompting.answers import Answer, Span, find_mention, outside_thoughts
from ..prompting.conversation import WORDINGS, Pairs
from . import scoring
from .scoring import ERRORS, Counts, Likeness, Metric, Row, Score, Spans, Verdict
from .task import Task


@dataclass(frozen=True)
class Relation(Entity):
    """A relation of a type; `text` is `["head", "tail"]`, and `places` are theirs, or none if one is unknown."""

    places: tuple[Span, ...] = ()


def pair(head: str, tail: str) -> str:
    return json.dumps([head, tail], ensure_ascii=False)


# Reading rows


def _read_ours(row: dict, context: Context) -> Draft:
    """`{text, entities: [{text, start, end}], relations: [{head, type, tail}]}`.

    A head and a tail are positions in `entities`, from 0. Offsets may be missing.
    """
    ends, relations = [], []
    for mention, start, end in ([entity.get(key) for key in ("text", "start", "end")] for entity in row["entities"]):
        is_there = None not in (start, end) and start >= 0 and row["text"][start:end] == mention
        if not _is_mention(mention) or not (is_there or start is end is None):
            raise ValueError(f"entity {mention!r}: text[{start}:{end}] is not that mention")
        trimmed = mention.strip()
        first = start + mention.index(trimmed) if is_there else 0
        ends.append((trimmed, Span(first, first + len(trimmed)) if is_there else None))
    for relation in row["relations"]:
        if not all(relation[side] in range(len(ends)) for side in ("head", "tail")):
            raise ValueError(f"{relation}: head and tail must be positions of entities, from 0")
        mentions, places = zip(ends[relation["head"]], ends[relation["tail"]], strict=True)
        known = places if None not in places else ()
        relations.append(Relation(pair(*mentions), context.type_of(relation["type"]), places=known))
    return Draft(row["text"], relations)


def _read_crossre(row: dict, context: Context) -> Draft:
    """CrossRE: tokens, and relations as first and last token of head and tail, type, and remarks."""
    tokens, space, entities, relations = row["sentence"], context.space, [], []
    starts = list(accumulate((len(token + space) for token in tokens), initial=0))
    for *ends, type_ in (relation[:5] for relation in row["relations"]):
        for first, last in (ends[:2], ends[2:]):
            mention = space.join(tokens[first : last + 1])
            entities.append({"text": mention, "start": starts[first], "end": starts[last + 1] - len(space)})
        relations.append({"head": len(entities) - 2, "type": type_, "tail": len(entities) - 1})
    return _read_ours({"text": space.join(tokens), "entities": entities, "relations": relations}, context)


# Reading answers


def read_answer(raw: str, type_: str) -> Answer:
    """The pairs of the last JSON list of pairs in an answer."""
    text, found, position = raw[slice(*outside_thoughts(raw))], None, 0
    while (position := text.find("[", position)) >= 0:
        try:
            items, position = json.JSONDecoder().raw_decode(text, position)
        except ValueError:
            position += 1
            continue
        except RecursionError:  # brackets without end; trying each of them would take long
            break
        if all(isinstance(item, list) and len(item) == 2 and all(map(_is_mention, item)) for item in items):
            found = dict.fromkeys(pair(*item) for item in items)
    return Answer(tuple(found or ()), error="no list of pairs" if found is None else None)


def _is_mention(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


# Scoring


def judge(rows: Sequence[Row], text: str) -> list[Verdict]:
    """The verdicts of the score `string`. A pair that is gold at several places counts once."""
    distinct = [{**row, "gold": list({one["text"]: one for one in row["gold"]}.values())} for row in rows]
    return scoring.judge(distinct, text, _nearest, _likeness)


def _likeness(others: Sequence[tuple[str, Spans]]) -> Likeness:
    """The kind of error of a pair that is like one of others: exchanged, or heads and tails hold one another."""
    ends = [json.loads(other) for other, _ in others]

    def kind(item: str, spans: Spans) -> str | None:
        head, tail = json.loads(item)
        if [tail, head] in ends:
            return "reversed"
        is_near = any((head in h or h in head) and (tail in t or t in tail) for h, t in ends)
        return "boundary" if is_near else None

    return kind


def _nearest(item: str, text: str) -> Spans:
    """Where the head and the tail of a pair stand nearest to one another; nothing if one of them is not in the text."""
    heads, tails = (find_mention(end, text) for end in json.loads(item))
    places = []
    for head in heads:
        after = bisect_left(tails, head)  # the nearest tail is the first one after the head, or the one before that
        places += [(head, tail) for tail in tails[max(0, after - 1) : after + 1]]
    return min(places, key=lambda two: abs(two[0].start - two[1].start), default=())


def _count(rows: Sequence[Row], text: str) -> Iterator[tuple[str, str, Counts]]:
    """The counts of the score `offset`."""
    for row in rows:
        # Gold without places is placed as an answer is.
        known = [(tuple(map(tuple, one["places"])), one["text"]) for one in row["gold"]]
        gold = {places or _nearest(item, text) or item for places, item in known}
        answered = {_nearest(item, text) or item for item in row["predicted"]}
        found = len(gold & answered)
        wrong = len(answered) - found + (not row["parsed"])
        yield "offset", row["type"], Counts(found, wrong, len(gold) - found)


# Wordings


def _triples(pairs: Pairs) -> str:
    triples = [[head, type_, tail] for text, type_ in pairs for head, tail in [json.loads(text)]]
    return json.dumps(triples, ensure_ascii=False)


_WORDS = {"format_entities": _triples, "format_answer": lambda items: f"[{', '.join(items)}]"}
_ENGLISH = replace(
    WORDINGS["ra_it", "en"],
    examples="Here are some examples of relation extraction:\n{examples}",
    example="Text: {text}\nRelations: {entities}",
    question='Which pairs of entities have the relation "{type}" in the text?',
    **_WORDS,
)
_CHINESE = replace(
    WORDINGS["ra_it", "zh"],
    examples="以下是一些关系抽取的例子：\n{examples}",
    example="文本：{text}\n关系：{entities}",
    question='文本中哪些实体对具有"{type}"关系？',
    **_WORDS,
)

RELATIONS = Task(
    name="relations",
    title="relation extraction",
    asks="Each question names one relation type; the answer is a JSON list of pairs, head and tail.",
    tags=("relation-extraction",),
    wordings={("relations", "en"): _ENGLISH, ("relations", "zh"): _CHINESE},
    reading=Reading(
        [
            Form("CrossRE", has_keys("sentence", "relations"), _read_crossre),
            Form("{id, text, entities, relations}", has_keys("text", "entities", "relations"), _read_ours),
        ]
    ),
    read_answer=read_answer,
    metric=Metric(
        (
            Score("string", "string F1", "F1 on (head, type, tail) as strings; an answer that can't be read is wrong."),
            Score("offset", "offset F1", "F1 on places; an answer is placed where its head and tail stand nearest."),
            Score("string_macro", "string macro-F1", mean_of="string"),
            Score("offset_macro", "offset macro-F1", mean_of="offset"),
        ),
        (*ERRORS, "reversed"),
        judge,
        _count,
    ),
    samples={
        "en": [("Ada is from London.", "born in", pair("Ada", "London")), ("Leo met Eva.", "knows", pair("Leo", "Eva"))]
    },
    find=_nearest,
)
