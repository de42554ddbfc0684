"""The core type: a passage is a text and its entities."""

import hashlib
import json
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Entity:
    """A mention and its type. Offsets are in Python characters, end exclusive; both are None if unknown."""

    text: str
    type: str
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class Passage:
    """A text and its entities in the order of the source. Entities may repeat and nest."""

    id: str
    text: str
    entities: tuple[Entity, ...]

    @property
    def types(self) -> list[str]:
        """Distinct types in order of first occurrence."""
        return list(dict.fromkeys(entity.type for entity in self.entities))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Distinct (mention, type) pairs in order of first occurrence."""
        return list(dict.fromkeys((entity.text, entity.type) for entity in self.entities))

    def holds(self, mention: str) -> bool:
        """Whether the text or an entity contains a mention."""
        return any(mention in text for text in (self.text, *(entity.text for entity in self.entities)))

    def mentions(self, entity_type: str) -> list[str]:
        """Distinct mentions of one type in order of first occurrence."""
        return [mention for mention, type_ in self.pairs if type_ == entity_type]


def _entity(row: object, text: str) -> Entity:
    if not isinstance(row, dict) or not {"text", "type"} <= row.keys() <= {"text", "type", "start", "end"}:
        raise ValueError("an entity is {text, type, start, end}")
    if not isinstance(row["text"], str) or not isinstance(row["type"], str) or not row["text"] or not row["type"]:
        raise ValueError("an entity's text and type must be non-empty strings")
    start, end = row.get("start"), row.get("end")
    if (start is None) != (end is None):
        raise ValueError(f"entity {row['text']!r} has one offset; give both or neither")
    if start is not None and (type(start) is not int or type(end) is not int or text[start:end] != row["text"]):
        raise ValueError(f"entity {row['text']!r}: text[{start}:{end}] is not that mention")
    return Entity(row["text"], row["type"], start, end)


def to_passage(row: object) -> Passage:
    """Check a row of a corpus.

    Raises:
        ValueError: it is not `{id, text, entities}`, or an offset is wrong.
    """
    if not isinstance(row, dict) or row.keys() != {"id", "text", "entities"}:
        raise ValueError("a passage is {id, text, entities}")
    if not isinstance(row["id"], str) or not isinstance(row["text"], str) or not isinstance(row["entities"], list):
        raise ValueError("id and text are strings, entities is a list")
    if not row["text"].strip():
        raise ValueError("the text is empty")
    return Passage(row["id"], row["text"], tuple(_entity(entity, row["text"]) for entity in row["entities"]))


def sample(passages: list[Passage], size: int | None, seed: int) -> list[Passage]:
    """Draw `size` passages without repetition, the same for the same seed; all if `size` is None."""
    order = list(passages)
    random.Random(f"{seed}:sample").shuffle(order)
    return order[:size]


def merge_duplicates(passages: Iterable[Passage]) -> list[Passage]:
    """Keep the first passage of each text, with the entities of all passages that share it."""
    merged: dict[str, Passage] = {}
    for passage in passages:
        if first := merged.get(passage.text):
            entities = tuple(dict.fromkeys(first.entities + passage.entities))
            merged[passage.text] = Passage(first.id, first.text, entities)
        else:
            merged[passage.text] = passage
    return list(merged.values())


def fingerprint(passages: Iterable[Passage]) -> str:
    """A digest of all content: equal for equal corpora."""
    digest = hashlib.sha256()
    for passage in passages:
        digest.update(json.dumps(asdict(passage)).encode())
    return digest.hexdigest()[:16]
