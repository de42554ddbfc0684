"""Relation extraction: one question for each relation type, answered with a JSON list of pairs, head and tail.

The gold of a passage is a `Relation` for each (head, type, tail): its text is the pair in JSON.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from ..corpora.annotations import Context, Draft
from ..corpora.formats import Form, Reading
from ..passage import Entity, Passage
from ..prompting.answers import Span, find_mention, outside_thoughts
from ..prompting.conversation import Pairs, Wording
from .scoring import Counts, Metric, Row, Verdict
from .task import Sample, Score, Task

Place = tuple[int, int]  # as Span


@dataclass(frozen=True)
class Relation(Entity):
    """A relation of a type; `text` is `["head", "tail"]`. Both places are None if they are unknown."""

    head: Place | None = None
    tail: Place | None = None


def pair(head: str, tail: str) -> str:
    return json.dumps([head, tail], ensure_ascii=False)


# Reading rows


def _is_ours(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("text"), str) and isinstance(row.get("relations"), list)


def _read_ours(row: dict, context: Context) -> Draft:
    """`{text, entities: [{text, start, end}], relations: [{head, type, tail}]}`.

    A head and a tail are positions in `entities`, or mentions.
    """
    text, entities = row["text"], row.get("entities") or []
    relations = []
    for relation in row["relations"]:
        ends = [_end(relation[side], entities, text) for side in ("head", "tail")]
        relations.append(_relation(context.type_of(relation["type"]), *ends))
    return Draft(text, [], entities=relations)


def _end(named: object, entities: Sequence[dict], text: str) -> tuple[str, Place | None]:
    """The mention and the place of a head or a tail."""
    if isinstance(named, str) and named.strip():
        return named, None
    if type(named) is not int or not 0 <= named < len(entities):
        raise ValueError(f"{named!r} is neither a mention nor the position of an entity, from 0")
    entity = entities[named]
    place = None if entity.get("start") is None else (entity["start"], entity["end"])
    if place and text[slice(*place)] != entity["text"]:
        raise ValueError(f"entity {entity['text']!r}: text[{place[0]}:{place[1]}] is not that mention")
    return entity["text"], place


def _relation(type_: str, head: tuple[str, Place | None], tail: tuple[str, Place | None]) -> Relation:
    places = (head[1], tail[1]) if head[1] and tail[1] else (None, None)
    return Relation(pair(head[0], tail[0]), type_, None, None, *places)


def _is_crossre(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("sentence"), list) and isinstance(row.get("relations"), list)


def _read_crossre(row: dict, context: Context) -> Draft:
    """CrossRE: tokens, and relations as first and last token of head and tail, type, and remarks."""
    tokens, space = row["sentence"], len(context.space)
    ends = [sum(len(token) + space for token in tokens[: i + 1]) - space for i in range(len(tokens))]
    text = context.space.join(tokens)
    relations = []
    for relation in row["relations"]:
        first, last, tail_first, tail_last, type_ = relation[:5]
        sides = []
        for start, end in ((first, last), (tail_first, tail_last)):
            if not 0 <= start <= end < len(tokens):
                raise ValueError(f"tokens {start} to {end} of {len(tokens)} are none")
            place = (ends[start] - len(tokens[start]), ends[end])
            sides.append((text[slice(*place)], place))
        relations.append(_relation(context.type_of(type_), *sides))
    return Draft(text, [], entities=relations)


# Reading answers


def read_answer(raw: str, type_: str, text: str, shown: Sequence[Passage]) -> dict:
    """The pairs of the last JSON list of pairs in an answer, and those of them that are only in an example."""
    pairs = _pairs(raw)
    predicted = list(dict.fromkeys(pairs or ()))
    known = {relation.text for passage in shown for relation in passage.entities}
    return {
        "parsed": pairs is not None,
        "predicted": predicted,
        "parse_error": "no list of pairs" if pairs is None else None,
        "copied": [item for item in predicted if item in known and not _is_in(item, text)],
    }


def _pairs(raw: str) -> list[str] | None:
    start, end = outside_thoughts(raw)
    text, decoder, position = raw[start:end], json.JSONDecoder(), 0
    found = None
    while (position := text.find("[", position)) >= 0:
        try:
            items, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            position += 1
            continue
        if all(isinstance(item, list) and len(item) == 2 and all(_is_mention(end) for end in item) for item in items):
            found = [pair(*item) for item in items]
    return found


def _is_mention(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_in(item: str, text: str) -> bool:
    return all(end in text for end in json.loads(item))


# Scoring


def judge(rows: Sequence[Row], text: str) -> list[Verdict]:
    """The verdicts of the score `string` on all queries about one passage. docs/beyond_ner.md defines the errors."""
    gold_types: dict[str, set[str]] = {}
    for row in rows:
        for relation in row["gold"]:
            gold_types.setdefault(relation["text"], set()).add(row["type"])
    verdicts = []
    for row in rows:
        gold, predicted = _distinct(row["gold"]), row["predicted"] if row["parsed"] else []
        wrong = [item for item in predicted if item not in gold]
        if not row["parsed"]:
            verdicts.append(Verdict(row["type"], row["raw_answer"], "unparsed", False))
        for item in wrong:
            others = [other for other in gold if other not in predicted]
            outcome = _outcome(item, others) if _is_in(item, text) else "hallucinated"
            if outcome == "spurious" and gold_types.get(item):
                outcome = "wrong_type"
            verdicts.append(Verdict(row["type"], item, outcome, False, _places(item, text)))
        for item in gold:
            outcome = "found" if item in predicted else "missed" if row["parsed"] else "unparsed"
            if outcome == "missed" and (near := [_outcome(item, [other]) for other in wrong]):
                outcome = next((kind for kind in ("reversed", "boundary") if kind in near), "missed")
            verdicts.append(Verdict(row["type"], item, outcome, True, _places(item, text)))
    return verdicts


def _outcome(item: str, others: Sequence[str]) -> str:
    """How a pair is like one of the others: `reversed`, `boundary`, or not at all, which is `spurious`."""
    head, tail = json.loads(item)
    for other_head, other_tail in map(json.loads, others):
        if (head, tail) == (other_tail, other_head):
            return "reversed"
        if all(a in b or b in a for a, b in ((head, other_head), (tail, other_tail))):
            return "boundary"
    return "spurious"


def _places(item: str, text: str) -> tuple[Span, ...]:
    return tuple(span for end in json.loads(item) for span in find_mention(end, text)[:1])


def _nearest(item: str, text: str) -> tuple[Place, Place] | None:
    """Where the head and the tail of a pair stand nearest to one another."""
    heads, tails = (find_mention(end, text) for end in json.loads(item))
    places = [(tuple(head), tuple(tail)) for head, tail in product(heads, tails)]
    return min(places, key=lambda two: (abs(two[0][0] - two[1][0]), two), default=None)


def _count(rows: Sequence[Row], text: str, verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str, Counts]]:
    for verdict in verdicts:
        for name in ("string", "string_macro"):
            yield name, verdict.type, verdict.counts
    for row in rows:
        # Gold without places is placed as an answer is.
        gold = {
            (tuple(one["head"]), tuple(one["tail"])) if one["head"] else _nearest(one["text"], text) or one["text"]
            for one in row["gold"]
        }
        answered = {_nearest(item, text) or item for item in (row["predicted"] if row["parsed"] else [])}
        found = len(gold & answered)
        for name in ("offset", "offset_macro"):
            counts = Counts(found, len(answered) - found + (not row["parsed"]), len(gold) - found)
            yield name, row["type"], counts


def _distinct(gold: Sequence[dict]) -> list[str]:
    return list(dict.fromkeys(relation["text"] for relation in gold))


# Wordings


def _triples(pairs: Pairs) -> str:
    return json.dumps(
        [[head, type_, tail] for text, type_ in pairs for head, tail in [json.loads(text)]], ensure_ascii=False
    )


def _answer(items: Sequence[str]) -> str:
    return f"[{', '.join(items)}]"


_ENGLISH = Wording(
    examples="Here are some examples of relation extraction:\n{examples}",
    example="Text: {text}\nRelations: {entities}",
    examples_read="I've read these examples.",
    text="Text: {text}",
    text_read="I've read this text.",
    question='Which pairs of entities have the relation "{type}" in the text?',
    format_entities=_triples,
    format_answer=_answer,
)
_CHINESE = Wording(
    examples="以下是一些关系抽取的例子：\n{examples}",
    example="文本：{text}\n关系：{entities}",
    examples_read="我已读完这些例子。",
    text="文本： {text}",
    text_read="我已读完这段文本。",
    question='文本中哪些实体对具有"{type}"关系？',
    format_entities=_triples,
    format_answer=_answer,
)

RELATIONS = Task(
    name="relations",
    title="relation extraction",
    asks="Each question names one relation type; the answer is a JSON list of pairs, head and tail.",
    tags=("relation-extraction",),
    categories=("token-classification",),
    wordings={("relations", "en"): _ENGLISH, ("relations", "zh"): _CHINESE},
    reading=Reading(
        [Form("CrossRE", _is_crossre, _read_crossre), Form("{id, text, entities, relations}", _is_ours, _read_ours)]
    ),
    read_answer=read_answer,
    metric=Metric(
        ("string", "offset", "string_macro", "offset_macro"),
        ("spurious", "missed", "reversed", "boundary", "wrong_type", "hallucinated", "unparsed"),
        judge,
        _count,
        frozenset({"string_macro", "offset_macro"}),
    ),
    scores=(
        Score("string", "string F1", "F1 on (head, type, tail) as strings; an answer that can't be read is wrong."),
        Score("offset", "offset F1", "F1 on the places of head and tail."),
        Score("string_macro", "string macro-F1", rates=("f1",)),
        Score("offset_macro", "offset macro-F1", rates=("f1",)),
    ),
    kinds={
        ("found", True): "found",
        ("missed", True): "missed",
        ("spurious", False): "spurious",
        ("hallucinated", False): "hallucinated",
        ("wrong_type", False): "wrong type",
        ("reversed", False): "reversed fp",
        ("reversed", True): "reversed fn",
        ("boundary", False): "boundary fp",
        ("boundary", True): "boundary fn",
        ("unparsed", False): "unparsed fp",
        ("unparsed", True): "unparsed fn",
    },
    note="""The string score compares (head, type, tail) as strings; the offset score compares the places of head and
tail, where an answer is placed where both stand nearest to one another. Macro-F1 is the mean of F1 over types.""",
    errors_note="""Spurious, hallucinated and wrong type count wrong pairs, missed counts gold relations; the other
kinds count both: wrong pairs / gold relations not found.""",
    samples={
        "en": Sample(
            "Ada Lovelace lived in London.",
            "lives in",
            [pair("Ada Lovelace", "London")],
            Passage("", "Euler worked in Basel.", (Relation(pair("Euler", "Basel"), "works in"),)),
        ),
        "zh": Sample(
            "鲁迅生于绍兴。",
            "出生地",
            [pair("鲁迅", "绍兴")],
            Passage("", "欧拉在巴塞尔工作。", (Relation(pair("欧拉", "巴塞尔"), "工作地"),)),
        ),
    },
)
