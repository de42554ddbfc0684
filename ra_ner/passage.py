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
