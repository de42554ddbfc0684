"""Entities out of any text, with offsets and scores, and with in-context examples where they help.

    text --windows--> examples --> prompts --engine--> answers --alignment--> entities

Prompts, parsing and retrieval are those of evaluation.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, overload

import torch
from huggingface_hub.constants import HF_HOME
from transformers import AutoTokenizer

from . import passage
from .corpora.sources import load_corpus
from .errors import UserError
from .extraction.alignment import AlignedText, Alignment
from .extraction.scores import mention_scores
from .extraction.windows import Window, split_into_windows
from .hub.repos import fetch_model
from .inference.engine import Engine, Generation, Request, ServerOptions, answer_budget
from .inference.models import Model, find_model, load_engine
from .passage import Passage
from .prompting.answers import parse_answer
from .prompting.chat_template import prompt_ids
from .prompting.length_limit import LengthLimit
from .recipe import ENCODERS, WITHOUT_ENCODER, DatasetConfig, Strategy
from .retrieval.encode import Encoder
from .retrieval.retriever import Example, Retriever

Types = Sequence[str] | Mapping[str, str]

OVERLAP = 64  # tokens that neighbouring windows of a long text share
MAX_LENGTH = 2048  # tokens of a prompt and its answer, for models that do not say what they can read


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
    type: str
    examples: Sequence[Example]


class Extractor:
    """Finds entities of given types in texts.

    Example:
        >>> ner = Extractor.from_pretrained("outputs/quickstart/adapter", examples="data/sample/en.jsonl")
        >>> ner.extract("Ada Lovelace met Charles Babbage in London.", ["person", "city"])
        [Entity(text='Ada Lovelace', type='person', start=0, end=12, score=0.97), ...]
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
        self.model, self.engine, self.encoder = model, engine, encoder
        self.strategy, self.k, self.max_new_tokens, self.batch_size = strategy, k, max_new_tokens, batch_size
        self.tokenizer = AutoTokenizer.from_pretrained(model.local.path)
        self.tokenizer.chat_template = model.template or self.tokenizer.chat_template
        self.max_tokens = min([n for n in (model.positions, model.trained_length) if n], default=MAX_LENGTH)
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
            UserError: the model, the pool or the encoder can't be loaded.
        """
        model = find_model(name, revision, language=language, with_weights=server is None)
        if dtype == "auto":
            dtype = "bfloat16" if torch.accelerator.is_available() else "float32"
        passages = load_corpus(examples, model.language).passages if isinstance(examples, str) else list(examples)
        found = None
        if passages and strategy not in WITHOUT_ENCODER:
            found = Encoder(
                fetch_model(encoder or model.local.facts.get("encoder") or ENCODERS[model.language]),
                Path(HF_HOME) / "ra_ner",
            )
        engine = load_engine(
            model,
            server=server,
            server_name=server_name or name,
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
        near = DatasetConfig(strategy="nn_bm25", k=1)
        self._near = Retriever(self.pool, near, self.model.language, self.encoder)

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
        texts = iter(texts)
        while batch := list(islice(texts, self.batch_size)):
            extractions = [Extraction(text) for text in batch]
            questions = [question for extraction in extractions for question in self._questions(extraction, types)]
            for question, answer in self.engine.answer(questions):
                _read(question, answer)
            for extraction in extractions:
                _finish(extraction, list(types), threshold, occurrences, flat)
                yield extraction

    def _questions(self, extraction: Extraction, types: Types) -> Iterator[_Question]:
        """The questions for all types about all windows of a text."""
        # Half a surrogate pair can't be encoded. Its replacement has the same length, so offsets stay right.
        text = re.sub("[\ud800-\udfff]", "\ufffd", extraction.text)
        asked = {t: f"{t} ({types[t]})" if isinstance(types, Mapping) else t for t in types}
        windows = self._windows(text, [self.model.question(words) for words in asked.values()])
        extraction.windows = len(windows)
        for window, examples in zip(windows, self._examples(text, windows), strict=True):
            piece = text[window.start : window.end]
            if not piece.strip():
                continue
            examples = self._fitting(piece, examples, list(asked.values()))
            extraction.examples_used += [{"id": e.passage.id, "score": round(e.score, 4)} for e in examples]
            opening = self.model.opening(piece, [example.passage for example in examples])
            for entity_type, words in asked.items():
                messages = [*opening, self.model.question(words)]
                yield _Question(piece, messages, extraction, window, entity_type, examples)

    def _windows(self, text: str, questions: Sequence[dict]) -> list[Window]:
        """One window if the text fits into a prompt, else several."""
        offsets = self.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False, verbose=False)
        ends = [end for _, end in offsets["offset_mapping"]]
        longest = max(questions, key=lambda question: len(question["content"]))
        around = len(prompt_ids(self.tokenizer, [*self.model.opening("", []), longest]))
        room = self.max_tokens - around - min(self.max_new_tokens, self.max_tokens // 4) - 8  # 8: tokens at the borders
        if room < 16:
            raise UserError(
                f"the question takes {around} of the model's {self.max_tokens} tokens; shorten the definitions"
            )
        return split_into_windows(text, ends, room, min(OVERLAP, room // 4))

    def _examples(self, text: str, windows: Sequence[Window]) -> list[list[Example]]:
        pieces = [Passage(f"{i}", text[window.start : window.end], ()) for i, window in enumerate(windows)]
        examples = self._retriever.examples(pieces)
        if self.strategy == "on_demand":
            near = self._near.examples(pieces)
            examples = [shown if close else [] for shown, close in zip(examples, near, strict=True)]
        return examples

    def _fitting(self, text: str, examples: Sequence[Example], asked: Sequence[str]) -> Sequence[Example]:
        budget = answer_budget(len(self.tokenizer(text).input_ids), self.max_new_tokens)
        limit = LengthLimit(self.max_tokens - budget, lambda messages: len(prompt_ids(self.tokenizer, messages)))
        question = self.model.question(max(asked, key=len))
        return limit.fitting_examples(
            examples, lambda shown: [*self.model.opening(text, [example.passage for example in shown]), question]
        )


def _read(question: _Question, generation: Generation) -> None:
    """Place the mentions of an answer in the text, and note those that are not there."""
    extraction, window = question.extraction, question.window
    answer = parse_answer(generation.text)
    if answer.error:
        extraction.unparsed.append(question.type)
    aligned = AlignedText(question.text)
    for mention, score in zip(answer.mentions, mention_scores(answer.mentions, generation.pieces), strict=True):
        spans, alignment = aligned.find(mention)
        for span in spans:
            start, end = window.start + span.start, window.start + span.end
            if window.first <= start < window.last:
                text = extraction.text[start:end]
                extraction.append(Entity(text, question.type, start, end, score, alignment))
        if not spans:
            shown = [e.passage for e in question.examples]
            is_copied = any(mention in p.text or mention in (e.text for e in p.entities) for p in shown)
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
