"""The entities of a text: how they are collected from answers, merged and given out."""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from .. import passage
from ..prompting.alignment import Alignment

Occurrences = Literal["all", "first"]


@dataclass(frozen=True)
class Entity(passage.Entity):
    """An entity of a text: `text[start:end] == entity.text`, in Python characters, end exclusive.

    Attributes:
        score: the model's probability of the mention, from 0 to 1 (`extraction.scores`); None if the engine gives none.
        alignment: `exact` if the model wrote the mention as it stands in the text; `normalised` if it differs in case,
            width, Unicode form, white space, quotes or dashes, or lacks the last accents.
    """

    score: float | None = None
    alignment: Alignment = field(default="exact", repr=False)

    def to_dict(self) -> dict:
        """The entity with GLiNER's keys."""
        return {"text": self.text, "label": self.type, "score": self.score, "start": self.start, "end": self.end}


class Extraction(list[Entity]):
    """The entities of one text, and how they were found.

    Attributes:
        windows: start and end of each window that the text was read in, in characters.
        examples_used: id and score of each in-context example, and the window that it was shown for, as a place in
            `windows`.
        unaligned: mentions that the model named but the text does not contain, with their types.
        copied: the same, of mentions that are in a shown example; `unaligned` does not have these.
        unparsed: types whose answer could not be parsed; `*` stands for an answer about all types.
        calibrated: whether scores are calibrated.
        error: why the text could not be asked about; None if it could.
    """

    def __init__(self, text: str, calibrated: bool = False, error: str | None = None):
        super().__init__()
        self.text = text
        self.calibrated = calibrated
        self.windows: list[tuple[int, int]] = []
        self.examples_used: list[dict] = []
        self.unaligned: list[dict] = []
        self.copied: list[dict] = []
        self.unparsed: list[str] = []
        self.error = error

    def finish(self, types: Sequence[str], threshold: float, occurrences: Occurrences, flat: bool) -> None:
        """Merge equal entities, apply the options of `Extractor.extract`, and sort by place.

        Args:
            types: in their order of preference; of others the first in the text comes first.
        """
        best: dict[tuple, Entity] = {}
        for entity in self:
            key = (entity.start, entity.end, entity.type)
            if key not in best or (entity.score or 0) > (best[key].score or 0):
                best[key] = entity
        found = sorted(best.values(), key=lambda e: (e.start, -e.end))
        order = {type_: i for i, type_ in enumerate(dict.fromkeys([*types, *(entity.type for entity in found)]))}
        found.sort(key=lambda e: (e.start, -e.end, order[e.type]))
        entities = [e for e in found if e.score is None or e.score >= threshold]
        if occurrences == "first":
            seen: dict[tuple, Entity] = {}
            for entity in entities:
                seen.setdefault((entity.text, entity.type), entity)
            entities = list(seen.values())
        self[:] = without_overlaps(entities, order) if flat else entities

    def to_dict(self) -> dict:
        """The extraction as JSON: one line of the command's output."""
        keys = ("text", "type", "start", "end", "score", "alignment")
        row = {
            "text": self.text,
            "entities": [{key: getattr(entity, key) for key in keys} for entity in self],
            "examples_used": self.examples_used,
            "windows": self.windows,
            "unaligned": self.unaligned,
            "copied": self.copied,
            "unparsed": self.unparsed,
            "calibrated": self.calibrated,
        }
        return row | ({"error": self.error} if self.error else {})


def without_overlaps(entities: Sequence[Entity], order: dict[str, int] | None = None) -> list[Entity]:
    """Of entities that overlap keep the one with the highest score, then the longest, then the first type."""
    kept: list[Entity] = []  # by place
    for entity in sorted(entities, key=lambda e: (-(e.score or 0), e.start - e.end, order[e.type] if order else 0)):
        i = bisect(kept, entity.start, key=lambda other: other.start)
        before, after = kept[i - 1 : i], kept[i : i + 1]
        if all(other.end <= entity.start for other in before) and all(entity.end <= other.start for other in after):
            kept.insert(i, entity)
    return kept
