"""Relation extraction: one question for each relation type, answered with a JSON list of pairs, head and tail.

The gold of a passage is a `Relation` for each (head, type, tail): its text is the pair in JSON.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, product

from ..corpora.annotations import Context, Draft
from ..corpora.formats import Form, Reading
from ..passage import Entity, Passage
from ..prompting.answers import Span, find_mention, outside_thoughts
from ..prompting.conversation import WORDINGS, Pairs
from .scoring import Counts, Metric, Row, Score, Verdict
from .task import Task


@dataclass(frozen=True)
class Relation(Entity):
    """A relation of a type; `text` is `["head", "tail"]`. Both places are None if they are unknown."""

    head: Span | None = None
    tail: Span | None = None


def pair(head: str, tail: str) -> str:
    return json.dumps([head, tail], ensure_ascii=False)


# Reading rows


def _read_ours(row: dict, context: Context) -> Draft:
    """`{text, entities: [{text, start, end}], relations: [{head, type, tail}]}`.

    A head and a tail are positions in `entities`, from 0. Offsets may be missing.
    """
    ends, relations = [], []
    for mention, start, end in ([entity.get(key) for key in ("text", "start", "end")] for entity in row["entities"]):
        if start is not None and row["text"][start:end] != mention:
            raise ValueError(f"entity {mention!r}: text[{start}:{end}] is not that mention")
        ends.append((mention, None if start is None else Span(start, end)))
    for relation in row["relations"]:
        if not all(relation[side] in range(len(ends)) for side in ("head", "tail")):
            raise ValueError(f"{relation}: head and tail must be positions of entities, from 0")
        (head, place), (tail, other) = ends[relation["head"]], ends[relation["tail"]]
        places = (place, other) if place and other else ()
        relations.append(Relation(pair(head, tail), context.type_of(relation["type"]), None, None, *places))
    return Draft(row["text"], [], entities=relations)


def _read_crossre(row: dict, context: Context) -> Draft:
    """CrossRE: tokens, and relations as first and last token of head and tail, type, and remarks."""
    tokens, text = row["sentence"], context.space.join(row["sentence"])
    starts = list(accumulate((len(token) + len(context.space) for token in tokens), initial=0))
    relations = []
    for *ends, type_ in (relation[:5] for relation in row["relations"]):
        if not all(0 <= first <= last < len(tokens) for first, last in (ends[:2], ends[2:])):
            raise ValueError(f"tokens {ends} of {len(tokens)} are none")
        head, tail = (Span(starts[i], starts[j] + len(tokens[j])) for i, j in (ends[:2], ends[2:]))
        mentions = pair(text[slice(*head)], text[slice(*tail)])
        relations.append(Relation(mentions, context.type_of(type_), None, None, head, tail))
    return Draft(text, [], entities=relations)


def _has_relations(text_key: str, kind: type) -> Callable[[object], bool]:
    return lambda row: (
        isinstance(row, dict) and isinstance(row.get(text_key), kind) and isinstance(row.get("relations"), list)
    )


# Reading answers


def read_answer(raw: str, type_: str, text: str, shown: Sequence[Passage]) -> dict:
    """The pairs of the last JSON list of pairs in an answer, and those of them that are only in an example."""
    pairs, known = _pairs(raw), {relation.text for passage in shown for relation in passage.entities}
    predicted = list(dict.fromkeys(pairs or ()))
    return {
        "parsed": pairs is not None,
        "predicted": predicted,
        "parse_error": "no list of pairs" if pairs is None else None,
        "copied": [item for item in predicted if item in known and not _is_in(item, text)],
    }


def _pairs(raw: str) -> list[str] | None:
    text, found, position = raw[slice(*outside_thoughts(raw))], None, 0
    while (position := text.find("[", position)) >= 0:
        try:
            items, position = json.JSONDecoder().raw_decode(text, position)
        except (ValueError, RecursionError):
            position += 1
            continue
        if all(isinstance(item, list) and len(item) == 2 and all(map(_is_mention, item)) for item in items):
            found = [pair(*item) for item in items]
    return found


def _is_mention(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_in(item: str, text: str) -> bool:
    return all(end in text for end in json.loads(item))


# Scoring


def judge(rows: Sequence[Row], text: str) -> list[Verdict]:
    """The verdicts of the score `string`. docs/beyond_ner.md defines the kinds of errors and their order."""
    types: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for relation in row["gold"]:
            types[relation["text"]].add(row["type"])
    verdicts = []
    for row in rows:
        gold, answered = list(dict.fromkeys(one["text"] for one in row["gold"])), row["predicted"]
        wrong, missed = [x for x in answered if x not in gold], [x for x in gold if x not in answered]
        judged = [(row["raw_answer"], "unparsed", False)] if not row["parsed"] else []
        for item in wrong:
            outcome = _likeness(item, missed) or ("wrong_type" if types[item] else "spurious")
            judged.append((item, outcome if _is_in(item, text) else "hallucinated", False))
        for item in gold:
            outcome = _likeness(item, wrong) or ("missed" if row["parsed"] else "unparsed")
            judged.append((item, "found" if item in answered else outcome, True))
        for item, outcome, is_gold in judged:
            spans = () if item == row["raw_answer"] else _nearest(item, text) or ()
            verdicts.append(Verdict(row["type"], item, outcome, is_gold, spans))
    return verdicts


def _likeness(item: str, others: Sequence[str]) -> str | None:
    """How a pair is like one of others: `reversed`, or `boundary` if heads and tails hold one another."""
    head, tail = json.loads(item)
    ends = [json.loads(other) for other in others]
    if [tail, head] in ends:
        return "reversed"
    is_near = any((head in h or h in head) and (tail in t or t in tail) for h, t in ends)
    return "boundary" if is_near else None


def _nearest(item: str, text: str) -> tuple[Span, Span] | None:
    """Where the head and the tail of a pair stand nearest to one another."""
    places = product(*(find_mention(end, text) for end in json.loads(item)))
    return min(places, key=lambda two: abs(two[0].start - two[1].start), default=None)


def _count(rows: Sequence[Row], text: str, verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str, Counts]]:
    counts = [("string", verdict.type, verdict.counts) for verdict in verdicts]
    for row in rows:
        # Gold without places is placed as an answer is.
        gold = {
            (tuple(one["head"]), tuple(one["tail"])) if one["head"] else _nearest(one["text"], text) or one["text"]
            for one in row["gold"]
        }
        answered = {_nearest(item, text) or item for item in row["predicted"]}
        found = len(gold & answered)
        wrong = len(answered) - found + (not row["parsed"])
        counts.append(("offset", row["type"], Counts(found, wrong, len(gold) - found)))
    for name, type_, its_counts in counts:
        yield name, type_, its_counts
        yield f"{name}_macro", type_, its_counts


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
    category="token-classification",
    wordings={("relations", "en"): _ENGLISH, ("relations", "zh"): _CHINESE},
    reading=Reading(
        [
            Form("CrossRE", _has_relations("sentence", list), _read_crossre),
            Form("{id, text, entities, relations}", _has_relations("text", str), _read_ours),
        ]
    ),
    read_answer=read_answer,
    metric=Metric(
        (
            Score("string", "string F1", "F1 on (head, type, tail) as strings; an answer that can't be read is wrong."),
            Score("offset", "offset F1", "F1 on the places of head and tail."),
            Score("string_macro", "string macro-F1", over_types=True),
            Score("offset_macro", "offset macro-F1", over_types=True),
        ),
        {"spurious": "fp", "missed": "fn", "reversed": "fp fn", "boundary": "fp fn"}
        | {"wrong_type": "fp", "hallucinated": "fp", "unparsed": "fp fn"},
        judge,
        _count,
    ),
    note="""The string score compares (head, type, tail) as strings; the offset score compares the places of head and
tail, where an answer is placed where both stand nearest to one another. Macro-F1 is the mean of F1 over types.""",
    errors_note="""Spurious, wrong type and hallucinated count wrong pairs, missed counts gold relations; the other
kinds count both: wrong pairs / gold relations not found.""",
    samples={
        "en": [
            ("Ada Lovelace lived in London.", "lives in", pair("Ada Lovelace", "London")),
            ("Euler worked in Basel.", "works in", pair("Euler", "Basel")),
        ]
    },
)
