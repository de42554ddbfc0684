"""The Extractor as a component of a spaCy pipeline: `nlp.add_pipe("ra_ner", config={...})`.

spaCy finds the component by the package's entry point.
"""

from collections.abc import Iterable, Iterator
from itertools import tee
from typing import Any, Literal

from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc

from .errors import RequestError
from .extraction.entities import Extraction
from .extraction.spacy_docs import AlignmentMode, set_ents, set_spans
from .extractor import Extractor

DEFAULTS = {
    "labels": None,
    "examples": None,
    "style": "ent",
    "threshold": 0.0,
    "alignment_mode": "expand",
    "options": {},
}


@Language.factory("ra_ner", assigns=["doc.ents", "doc.spans"], default_config=DEFAULTS)
def make_component(
    nlp: Language,
    name: str,
    model: str,
    labels: list[str] | dict[str, str] | None,
    examples: str | None,
    style: Literal["ent", "span"],
    threshold: float,
    alignment_mode: AlignmentMode,
    options: dict[str, Any],
) -> "RaNer":
    """Load the component.

    Args:
        model, examples: as for `Extractor.from_pretrained`.
        labels: entity types, or a mapping from types to definitions; None asks an instruct model for all entities.
        style: `ent` sets `doc.ents`, without overlaps; `span` sets `doc.spans["ra_ner"]`, with all entities and scores.
        threshold: entities with a lower score are left out.
        alignment_mode: of entities that cut a token: `expand` takes the whole token, `contract` leaves it out, `strict`
            leaves out the entity.
        options: more options of `Extractor.from_pretrained`.

    Raises:
        UserError: as `Extractor.from_pretrained`.
    """
    language = "zh" if nlp.lang == "zh" else "en"
    extractor = Extractor.from_pretrained(model, examples or (), **{"language": language, **options})
    return RaNer(name, extractor, labels, style, threshold, alignment_mode)


class RaNer(Pipe):
    """Sets the entities of documents. It has nothing to save: spaCy saves its config, and loads the model by it."""

    def __init__(
        self,
        name: str,
        extractor: Extractor,
        labels: list[str] | dict[str, str] | None,
        style: Literal["ent", "span"],
        threshold: float,
        alignment_mode: AlignmentMode,
    ):
        self.name, self.extractor, self.types = name, extractor, labels
        self.set_entities = set_ents if style == "ent" else set_spans
        self.threshold, self.alignment_mode = threshold, alignment_mode

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.types or ())

    def __call__(self, doc: Doc) -> Doc:
        """
        Raises:
            RequestError: the text can't be asked about.
        """
        self._set(doc, self.extractor.extract(doc.text, self.types, threshold=self.threshold))
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 1000) -> Iterator[Doc]:
        """Ask about several texts at once, as many as the Extractor's `batch_size`.

        What happens to a document that can't be asked about is up to spaCy's error handler: by default it raises.
        """
        docs, again = tee(stream)
        texts = (doc.text for doc in again)
        for doc, found in zip(docs, self.extractor.stream(texts, self.types, self.threshold), strict=True):
            if found.error:
                self.get_error_handler()(self.name, self, [doc], RequestError(found.error))
            else:
                self._set(doc, found)
                yield doc

    def _set(self, doc: Doc, found: Extraction) -> None:
        self.set_entities(doc, found, self.alignment_mode)
