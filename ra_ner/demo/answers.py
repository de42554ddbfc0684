"""What the demo answers, and what it refuses. The page and the API ask the same."""

import tempfile
from pathlib import Path
from typing import NamedTuple

from ..corpora.sources import load_corpus
from ..errors import UserError
from ..extractor import Extractor
from ..passage import Passage

# Characters of a text and of pasted examples, and number of types, that one request may have.
TEXT, EXAMPLES, TYPES = 20_000, 200_000, 20


class Pasted(NamedTuple):
    """Types with their definitions, empty where there is none, and passages."""

    types: dict[str, str] | None
    examples: list[Passage]


class Demo:
    """Answers one request after the other, zero-shot and with in-context examples.

    Args:
        extractor: its pool is used where a request has no examples.
    """

    def __init__(self, extractor: Extractor):
        self.in_context = extractor
        self.zero_shot = extractor.with_examples([], "random")

    def extract(self, text: str, types: list[str], examples: str = "", threshold: float = 0.0) -> dict:
        """Find the entities of a text, zero-shot and with in-context examples.

        Args:
            text: at most 20,000 characters.
            types: at most 20 entity types such as "city", or with a definition "city: a town, not a country". An
                empty list asks an instruct model for all entities.
            examples: annotated passages, in any form of docs/corpora.md, instead of the demo's own.
            threshold: entities with a lower score are left out.

        Returns:
            {"zero_shot": result, "in_context": result or None}. A result is a line of `ra-ner extract`.

        Raises:
            UserError: the request is refused, or the text can't be asked about.
        """
        pasted = self._check(text, types, examples, threshold)
        found: dict[str, dict | None] = {}
        for setting, extractor in (("zero_shot", self.zero_shot), ("in_context", self._with(pasted.examples))):
            is_asked = extractor.pool or setting == "zero_shot"
            found[setting] = extractor.extract(text, pasted.types, threshold=threshold).to_dict() if is_asked else None
        return found

    def prompts(self, text: str, types: list[str], examples: str = "") -> list[str]:
        """The prompts as the model reads them, with examples if there are any."""
        pasted = self._check(text, types, examples)
        return self._with(pasted.examples).prompts(text, pasted.types)

    def _with(self, examples: list[Passage]) -> Extractor:
        # Of pasted examples no vectors are computed: those would be kept on disk.
        return self.in_context.with_examples(examples, "bm25") if examples else self.in_context

    def _check(self, text: object, types: object, examples: object, threshold: object = 0.0) -> Pasted:
        is_request = isinstance(text, str) and isinstance(examples, str) and isinstance(threshold, int | float)
        if not is_request or not isinstance(types, list) or not all(isinstance(line, str) for line in types):
            raise UserError("`text` and `examples` must be texts, `types` a list of texts, and `threshold` a number")
        types = [line.strip() for line in types if line.strip()]
        if not text.strip():
            raise UserError("give a text")
        for name, most, size in (
            ("text has", TEXT, len(text)),
            ("examples have", EXAMPLES, len(examples)),
            ("line of types has", 500, max(map(len, types), default=0)),
        ):
            if size > most:
                raise UserError(f"the {name} {size:,} characters; at most {most:,} are answered")
        if len(types) > TYPES:
            raise UserError(f"there are {len(types)} types; at most {TYPES} are asked at once")
        definitions = {}
        for line in types:
            name, _, definition = line.replace("：", ":", 1).partition(":")
            if not name.strip():
                raise UserError(f"`{line}` names no type; write `city` or `city: a town, not a country`")
            definitions[name.strip()] = definition.strip()
        return Pasted(definitions or None, self._read(examples) if examples.strip() else [])

    def _read(self, examples: str) -> list[Passage]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "examples"
            file.write_text(examples, encoding="utf-8", errors="replace")
            try:
                return load_corpus(str(file), self.in_context.model.language).passages
            except UserError as error:
                raise UserError(str(error).replace(f"{folder}/", "")) from None
