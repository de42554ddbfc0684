"""Entities as spans of spaCy's documents."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..atomic_files import complete_file
from ..errors import UserError
from .entities import Entity, without_overlaps
from .texts import Row

if TYPE_CHECKING:
    from spacy.tokens import Doc, Span

AlignmentMode = Literal["strict", "contract", "expand"]

KEY = "ra_ner"  # of the spans


def set_spans(doc: "Doc", entities: Sequence[Entity], alignment_mode: AlignmentMode) -> None:
    """Set `doc.spans["ra_ner"]` to all entities, with their scores in `attrs["scores"]`."""
    from spacy.tokens import SpanGroup

    found = _align(doc, entities, alignment_mode)
    scores = [entity.score for entity, _ in found]
    doc.spans[KEY] = SpanGroup(doc, name=KEY, spans=[span for _, span in found], attrs={"scores": scores})


def set_ents(doc: "Doc", entities: Sequence[Entity], alignment_mode: AlignmentMode) -> None:
    """Set `doc.ents` to the entities without overlaps: those with the highest scores."""
    from spacy.util import filter_spans

    # Spans may overlap in a token even if their entities do not.
    doc.ents = filter_spans([span for _, span in _align(doc, without_overlaps(entities), alignment_mode)])


def _align(doc: "Doc", entities: Sequence[Entity], mode: AlignmentMode) -> list[tuple[Entity, "Span"]]:
    """Entities with their spans. Without those that have no whole token, or that `strict` refuses."""
    spans = [doc.char_span(entity.start, entity.end, entity.type, alignment_mode=mode) for entity in entities]
    return [(entity, span) for entity, span in zip(entities, spans, strict=True) if span is not None]


def write_spacy(rows: Iterable[Row], file: Path, language: str) -> None:
    """A DocBin with `doc.spans["ra_ner"]` and `doc.ents`. A span that cuts a token is widened to the whole token.

    Raises:
        UserError: spaCy is not installed.
    """
    try:
        import spacy
    except ImportError:
        raise UserError("spaCy is not installed: pip install '.[spacy]' in a clone of RA-NER") from None
    nlp, docs = spacy.blank(language), spacy.tokens.DocBin()
    for row in rows:
        doc = nlp.make_doc(row["text"])
        entities = [Entity(**entity) for entity in row["entities"]]
        set_spans(doc, entities, "expand")
        set_ents(doc, entities, "expand")
        docs.add(doc)
    with complete_file(file) as new:
        docs.to_disk(new)
