"""Entities out of any text, with offsets and scores, and with in-context examples where they help.

    text --windows--> examples --> prompts --engine--> answers --alignment--> entities

Prompts, parsing and retrieval are those of evaluation.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal, get_args, overload

import torch
from huggingface_hub.constants import HF_HOME

from . import passage
from .corpora.sources import load_corpus
from .errors import UserError
from .extraction.alignment import AlignedText, Alignment
from .extraction.scores import mention_scores
from .extraction.windows import Window, split_into_windows
from .hub.repos import fetch_model
from .inference.engine import Engine, Generation, Request, ServerOptions
from .inference.models import Model, find_model, load_engine, longest_question
from .passage import Passage
from .prompting.answers import parse_answer
from .prompting.conversation import Message
from .recipe import ENCODERS, WITHOUT_ENCODER, DatasetConfig, Strategy
from .retrieval.encode import Encoder
from .retrieval.retriever import Example, Retriever

Types = Sequence[str] | Mapping[str, str]

OVERLAP = 64  # tokens that neighbouring windows of a long text share
MAX_LENGTH = 2048  # tokens of a prompt and its answer, for models that do not say what they can read
BORDERS = 8  # tokens that a text may have more between the other words of a prompt than alone


@dataclass(frozen=True)
class Entity(passage.Entity):
    """An entity of a text: `text[start:end] == entity.text`, in Python characters, end exclusive.

    Attributes:
        score: the model's probability of the mention, from 0 to 1 (`extraction.scores`); None if the engine gives none.
        alignment: `exact` if the model wrote the mention as it stands in the text; `normalised` if it differs in case,
            width, Unicode form, white space, quotes or dashes.
    """

    score: float | None = None
    alignment: Alignment = field(default="exact", repr=False)

    def to_dict(self) -> dict:
        """The entity with GLiNER's keys."""
        return {"text": self.text, "label": self.type, "score": self.score, "start": self.start, "end": self.end}


class Extraction(list[Entity]):
    """The entities of one text, and how they were found.

    Attributes:
        windows: number of windows that the text was read in.
        examples_used: id and score of each in-context example.
        unaligned: mentions that the model named but the text does not contain, with their types.
        copied: such mentions that are in a shown example.
        unparsed: types whose answer could not be parsed.
    """

    def __init__(self, text: str):
        super().__init__()
        self.text = text
        self.windows = 0
        self.examples_used: list[dict] = []
        self.unaligned: list[dict] = []
        self.copied: list[dict] = []
        self.unparsed: list[str] = []

    def to_dict(self) -> dict:
        """The extraction as JSON: one line of the command's output."""
        keys = ("text", "type", "start", "end", "score", "alignment")
        return {
            "text": self.text,
            "entities": [{key: getattr(entity, key) for key in keys} for entity in self],
            "examples_used": self.examples_used,
            "windows": self.windows,
            "unaligned": self.unaligned,
            "copied": self.copied,
            "unparsed": self.unparsed,
        }


@dataclass(frozen=True)
class _Question(Request):
    """The question for one type about one window of a text."""

    extraction: Extraction
    window: Window
    aligned: AlignedText
    type: str
    examples: Sequence[Example]


class Extractor:
    """Finds entities of given types in texts.

    Example:
        >>> ner = Extractor.from_pretrained("outputs/quickstart/adapter", examples="sample_en", strategy="nn")
        >>> ner.extract("The museum in Basel opened a show about the painter Paul Klee on 3 May 2019.", ["city"])
        [Entity(text='Basel', type='city', start=14, end=19, score=0.8022)]
    """

    def __init__(
        self,
        model: Model,
        engine: Engine,
        *,
        examples: Iterable[Passage] = (),
        encoder: Encoder | None = None,
        strategy: Strategy | Literal["on_demand"] = "on_demand",
        k: int = 2,
        max_new_tokens: int = 256,
        batch_size: int = 4,
    ):
        """Most users call `from_pretrained`.

        Args:
            model: decides wording and chat template.
            engine: generates the answers.
            examples: the pool of in-context examples; without one the model is asked zero-shot.
            encoder: finds nearest neighbours in the pool.
            strategy: how examples are chosen, see docs/retrieval.md. `on_demand` shows nearest neighbours only if the
                nearest one is near enough, as in evaluation.
            k: examples for each text.
            max_new_tokens: longest answer.
            batch_size: texts that are asked about at once.
        """
        if k < 0 or max_new_tokens < 1 or batch_size < 1:
            raise UserError("`max_new_tokens` and `batch_size` need at least 1, `k` at least 0")
        self.model, self.engine, self.encoder = model, engine, encoder
        self.strategy, self.k, self.max_new_tokens, self.batch_size = strategy, k, max_new_tokens, batch_size
        self.max_length = model.max_length or MAX_LENGTH
        self.pool: list[Passage] = []
        self.add_examples(examples)

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        examples: str | Iterable[Passage] = (),
        *,
        revision: str | None = None,
        language: str = "en",
        encoder: str | None = None,
        strategy: Strategy | Literal["on_demand"] = "on_demand",
        k: int = 2,
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        load_in_4bit: bool = False,
        max_new_tokens: int = 256,
        batch_size: int = 4,
        server: ServerOptions | None = None,
        server_name: str | None = None,
    ) -> "Extractor":
        """Load an adapter, a merged model, or any instruct model, from a folder or the Hub.

        Args:
            name: folder or Hub id.
            examples: the pool of in-context examples: a corpus in any form that `load_corpus` reads, or passages.
            language: of models that were not trained by this project; others know their own.
            encoder: sentence-transformers model that finds examples. Default: the one that an adapter was trained with,
                else the paper's.
            dtype: number format; `auto` is float32 on a CPU and bfloat16 elsewhere.
            server: ask an OpenAI-compatible server instead of loading the model.
            server_name: what the server calls the model.

        Raises:
            UserError: the model, the pool or the encoder can't be loaded, or an option is wrong.
        """
        if strategy not in (known := (*get_args(Strategy), "on_demand")):
            raise UserError(f"unknown strategy `{strategy}`; choose from {', '.join(known)}")
        model = find_model(name, revision, language=language, with_weights=server is None)
        model = replace(model, server_name=server_name or name)
        if dtype == "auto":
            dtype = "bfloat16" if torch.accelerator.is_available() else "float32"
        passages = load_corpus(examples, model.language).passages if isinstance(examples, str) else list(examples)
        found = None
        if passages and strategy not in WITHOUT_ENCODER:
            found = Encoder(
                fetch_model(encoder or model.local.facts.get("encoder") or ENCODERS[model.language]),
                Path(HF_HOME) / "ra_ner",
                cached_roles=("document",),  # the pool, but not the user's texts
            )
        engine = load_engine(
            model,
            server=server,
            dtype=dtype,
            load_in_4bit=load_in_4bit,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            with_pieces=True,
        )
        return cls(
            model,
            engine,
            examples=passages,
            encoder=found,
            strategy=strategy,
            k=k,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
        )

    def add_examples(self, passages: Iterable[Passage]) -> None:
        """Extend the pool. Only new passages are encoded."""
        self.pool += passages
        config = DatasetConfig(strategy="nn" if self.strategy == "on_demand" else self.strategy, k=self.k)
        self._retriever = Retriever(self.pool, config, self.model.language, self.encoder)

    @overload
    def extract(self, texts: str, types: Types, **options) -> Extraction: ...

    @overload
    def extract(self, texts: Iterable[str], types: Types, **options) -> list[Extraction]: ...

    def extract(
        self,
        texts: str | Iterable[str],
        types: Types,
        *,
        threshold: float = 0.0,
        occurrences: Literal["all", "first"] = "all",
        flat: bool = False,
    ) -> Extraction | list[Extraction]:
        """Find the entities of a text, or of each of several texts.

        Args:
            types: entity types as words, or a mapping from types to definitions, which are put into the question.
            threshold: entities with a lower score are left out.
            occurrences: `first` keeps only the first place of each mention.
            flat: leave out entities that overlap one with a higher score (then a longer one, then an earlier type).

        Returns:
            a list of entities with more facts as attributes; for several texts a list of these.
        """
        found = self.stream([texts] if isinstance(texts, str) else texts, types, threshold, occurrences, flat)
        return next(found) if isinstance(texts, str) else list(found)

    def stream(
        self,
        texts: Iterable[str],
        types: Types,
        threshold: float = 0.0,
        occurrences: Literal["all", "first"] = "all",
        flat: bool = False,
    ) -> Iterator[Extraction]:
        """As `extract`, one text after the other: holds only a batch of texts in memory."""
        if not types or any(not isinstance(entity_type, str) or not entity_type.strip() for entity_type in types):
            raise UserError("`types` needs at least one entity type, as words such as person or city")
        asked = {t: f"{t} ({types[t]})" if isinstance(types, Mapping) else t for t in types}
        questions = {entity_type: self.model.question(words) for entity_type, words in asked.items()}
        room, texts = self._room(list(questions.values())), iter(texts)
        while batch := list(islice(texts, self.batch_size)):
            extractions = [Extraction(text) for text in batch]
            for question, answer in self.engine.answer(list(self._questions(extractions, questions, room))):
                _read(question, answer)
            for extraction in extractions:
                _finish(extraction, list(types), threshold, occurrences, flat)
                yield extraction

    def _room(self, questions: Sequence[Message]) -> int:
        """The most tokens of a text in one prompt without examples."""
        around = self.model.count_tokens([*self.model.opening("", []), longest_question(questions)])
        room = self.max_length - around - min(self.max_new_tokens, self.max_length // 4) - BORDERS
        if room < 16:
            raise UserError(
                f"the question takes {around} of the model's {self.max_length} tokens; shorten the definitions"
            )
        return room

    def _questions(
        self, extractions: Sequence[Extraction], questions: Mapping[str, Message], room: int
    ) -> Iterator[_Question]:
        """The questions for all types about all windows of several texts."""
        windows: list[tuple[Extraction, Window]] = []
        passages: list[Passage] = []
        for extraction in extractions:
            # Half a surrogate pair can't be encoded. Its replacement has the same length, so offsets stay right.
            text = re.sub("[\ud800-\udfff]", "\ufffd", extraction.text)
            cut = self._windows(text, room)
            extraction.windows = len(cut)
            for number, window in enumerate(cut):
                if (piece := text[window.start : window.end]).strip():
                    windows.append((extraction, window))
                    passages.append(Passage(f"{number}", piece, ()))
        find = self._retriever.examples_if_near if self.strategy == "on_demand" else self._retriever.examples
        asked = list(questions.values())
        for (extraction, window), piece, found in zip(windows, passages, find(passages), strict=True):
            text = piece.text
            examples = self.model.fitting_examples(text, found, asked, self.max_length, self.max_new_tokens)
            extraction.examples_used += [{"id": e.passage.id, "score": round(e.score, 4)} for e in examples]
            opening = self.model.opening(text, [example.passage for example in examples])
            aligned = AlignedText(text)
            for entity_type, question in questions.items():
                yield _Question(text, [*opening, question], extraction, window, aligned, entity_type, examples)

    def _windows(self, text: str, room: int) -> list[Window]:
        """One window if the text fits into a prompt, else several."""
        offsets = self.model.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False, verbose=False)
        ends = [end for _, end in offsets["offset_mapping"]]
        return split_into_windows(text, ends, room, min(OVERLAP, room // 4))


def _read(question: _Question, generation: Generation) -> None:
    """Place the mentions of an answer in the text, and note those that are not there."""
    extraction, window = question.extraction, question.window
    answer = parse_answer(generation.text)
    if answer.error:
        extraction.unparsed.append(question.type)
    for mention, score in zip(answer.mentions, mention_scores(answer.mentions, generation.pieces), strict=True):
        spans, alignment = question.aligned.find(mention)
        for span in spans:
            start, end = window.start + span.start, window.start + span.end
            if window.first <= start < window.last:
                text = extraction.text[start:end]
                extraction.append(Entity(text, question.type, start, end, score, alignment))
        if not spans:
            is_copied = any(example.passage.holds(mention) for example in question.examples)
            (extraction.copied if is_copied else extraction.unaligned).append({"text": mention, "type": question.type})


def _finish(extraction: Extraction, types: list[str], threshold: float, occurrences: str, flat: bool) -> None:
    """Merge equal entities, apply the options, and sort by place."""
    best: dict[tuple, Entity] = {}
    for entity in extraction:
        key = (entity.start, entity.end, entity.type)
        if key not in best or (entity.score or 0) > (best[key].score or 0):
            best[key] = entity
    entities = [e for e in best.values() if e.score is None or e.score >= threshold]
    entities.sort(key=lambda e: (e.start, -e.end, types.index(e.type)))
    if occurrences == "first":
        seen: dict[tuple, Entity] = {}
        for entity in entities:
            seen.setdefault((entity.text, entity.type), entity)
        entities = list(seen.values())
    if flat:
        kept: list[Entity] = []
        for entity in sorted(entities, key=lambda e: (-(e.score or 0), e.start - e.end, types.index(e.type))):
            if all(entity.end <= other.start or other.end <= entity.start for other in kept):
                kept.append(entity)
        entities = [entity for entity in entities if entity in kept]
    extraction[:] = entities
