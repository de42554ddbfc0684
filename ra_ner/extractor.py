"""Entities out of any text, with offsets and scores, and with in-context examples where they help.

    text --windows--> examples --> prompts --engine--> answers --alignment--> entities

Prompts, parsing and retrieval are those of evaluation.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, get_args, overload

import torch
from huggingface_hub.constants import HF_HOME

from .corpora.label_words import apply_words, label_key
from .corpora.sources import load_examples
from .distributed import distributed_state
from .errors import RequestError, UserError
from .extraction import calibration
from .extraction.calibration import Calibration
from .extraction.entities import Entity, Extraction, Occurrences
from .extraction.scores import mention_scores
from .extraction.windows import Window, split_into_windows
from .hub.repos import fetch_model
from .inference.engine import Engine, Generation, Request, ServerOptions
from .inference.models import Model, find_model, load_engine, longest_question
from .passage import Passage
from .prompting.alignment import AlignedText
from .prompting.annotation import parse_annotation
from .prompting.answers import HALF_CHARACTER, parse_answer
from .prompting.chat_template import prompt_ids
from .prompting.conversation import Message
from .recipe_keys import ENCODERS, WITHOUT_ENCODER, DatasetConfig, Strategy
from .retrieval.encode import Encoder
from .retrieval.on_demand import OnDemand
from .retrieval.retriever import Example, Retriever
from .tasks import task_of

logger = logging.getLogger(__name__)

Types = str | Sequence[str] | Mapping[str, str]
NumberFormat = Literal["auto", "float32", "bfloat16", "float16"]

OVERLAP = 64  # tokens that neighbouring windows of a long text share
MAX_LENGTH = 2048  # tokens of a prompt and its answer, for models that do not say what they can read
BORDERS = 8  # tokens that a text may have more between the other words of a prompt than alone
BATCH = {"transformers": 4, "server": 64}  # texts that are asked about at once


@dataclass(frozen=True)
class _Asked:
    """What is asked about each text: one question for each type, or, without types, one for all entities."""

    model: Model
    questions: Mapping[str, Message]

    def prompts(self, text: str, examples: Sequence[Passage]) -> Iterator[tuple[str | None, list[Message]]]:
        """The type and the prompt of each question."""
        if not self.questions:
            yield None, self.model.discovery(text, examples)
            return
        opening = self.model.opening(text, examples)
        for entity_type, question in self.questions.items():
            yield entity_type, [*opening, question]

    def longest(self, text: str, examples: Sequence[Passage]) -> list[Message]:
        """The longest of the prompts."""
        if not self.questions:
            return self.model.discovery(text, examples)
        return [*self.model.opening(text, examples), longest_question(list(self.questions.values()))]


@dataclass(frozen=True)
class _Question(Request):
    """A question about one window of a text. `type` is None if it asks for all entities."""

    extraction: Extraction
    window: Window
    aligned: AlignedText
    type: str | None
    examples: Sequence[Example]

    @property
    def lists_mentions(self) -> bool:
        return self.type is not None  # else the answer names types too


class Extractor:
    """Finds entities in texts: of types that you name, or, with an instruct model, of any type.

    Example:
        >>> ner = Extractor.from_pretrained("outputs/quickstart/adapter", examples="sample_en", strategy="nn")
        >>> ner.extract("The museum in Basel opened a show about the painter Paul Klee on 3 May 2019.", ["city"])
        [Entity(text='Basel', type='city', start=14, end=19, score=0.7946)]
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
        labels: Mapping[str, str] | None = None,
        calibration: Calibration | None = None,
        on_demand: OnDemand | None = None,
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
            labels: the words that raw labels are asked by and shown as, such as `{"PER": "person"}`.
            calibration: maps scores, see docs/extraction.md.
            on_demand: the threshold of strategy `on_demand`.
            max_new_tokens: longest answer.
            batch_size: texts that are asked about at once.
        """
        if k < 0 or max_new_tokens < 1 or batch_size < 1:
            raise UserError("`max_new_tokens` and `batch_size` need at least 1, `k` at least 0")
        if not isinstance(labels or {}, Mapping):
            raise UserError(
                '`labels` maps labels to words, such as {"PER": "person"}; entity types are named in a call'
            )
        self.model, self.engine, self.encoder, self.calibration = model, engine, encoder, calibration
        self.strategy, self.k, self.max_new_tokens, self.batch_size = strategy, k, max_new_tokens, batch_size
        self.on_demand = on_demand if strategy == "on_demand" else None
        self.labels = {label_key(label): words for label, words in (labels or {}).items()}
        self.max_length = model.max_length or MAX_LENGTH
        self.copy_only = False  # whether the engine can only answer with lists of mentions
        self.pool: list[Passage] = []
        self.add_examples(examples)

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        examples: str | Path | Iterable[Passage | dict] = (),
        *,
        revision: str | None = None,
        language: str = "en",
        encoder: str | None = None,
        strategy: Strategy | Literal["on_demand"] = "on_demand",
        k: int = 2,
        labels: Mapping[str, str] | None = None,
        calibrated: bool = True,
        dtype: NumberFormat | torch.dtype = "auto",
        load_in_4bit: bool = False,
        max_new_tokens: int = 256,
        batch_size: int | None = None,
        copy_only: bool = False,
        server: ServerOptions | Mapping[str, object] | str | None = None,
        server_name: str | None = None,
    ) -> "Extractor":
        """Load an adapter, a merged model, or any instruct model, from a folder or the Hub.

        Args:
            name: folder or Hub id.
            examples: the pool of in-context examples: a corpus in any form that `load_corpus` reads, with the words of
                a `labels.json` beside it, or passages, or rows such as a corpus has.
            language: of models that were not trained by this project; others know their own.
            encoder: sentence-transformers model that finds examples. Default: the one that an adapter was trained with,
                else the paper's.
            labels: the words that raw labels are asked by and shown as, such as `{"PER": "person"}`.
            calibrated: use what `ra-ner calibrate` has left beside the model: the calibration of scores, and the
                threshold of `on_demand`.
            dtype: number format; `auto` is float32 on a CPU and bfloat16 elsewhere.
            max_new_tokens: longest answer; at most half of what the model reads.
            batch_size: texts that are asked about at once; by default 4, and 64 of a server.
            copy_only: constrain each answer to a list of substrings of its text; needs types that you name.
            server: ask an OpenAI-compatible server instead of loading the model: its URL, `ServerOptions`, or a mapping
                with their fields.
            server_name: what the server calls the model.

        Raises:
            UserError: the model, the pool or the encoder can't be loaded, or an option is wrong.
        """
        if strategy not in (known := (*get_args(Strategy), "on_demand")):
            raise UserError(f"unknown strategy `{strategy}`; choose from {', '.join(known)}")
        dtype = str(dtype).removeprefix("torch.")
        if dtype not in get_args(NumberFormat):
            raise UserError(f"unknown `dtype` {dtype}; choose from {', '.join(get_args(NumberFormat))}")
        server = None if server is None else ServerOptions.of(server)
        model = find_model(name, revision, language=language, with_weights=server is None)
        if not (task := task_of(model.wording)).extracts:
            raise UserError(f"{name} was trained for {task.title}; `Extractor` finds entities")
        model = replace(model, server_name=server_name or name)
        if dtype == "auto":
            dtype = "bfloat16" if torch.accelerator.is_available() else "float32"
        max_new_tokens = min(max_new_tokens, (model.max_length or MAX_LENGTH) // 2)
        batch_size = BATCH["server" if server else "transformers"] if batch_size is None else batch_size
        passages = load_examples(examples, model.language)
        found = None
        if passages and strategy not in WITHOUT_ENCODER:
            try:
                encoder_model = fetch_model(encoder or model.local.facts.get("encoder") or ENCODERS[model.language])
            except UserError as error:
                raise UserError(
                    f"the encoder that finds examples: {error}; or name another `encoder`, or take `strategy` bm25"
                ) from None
            found = Encoder(
                encoder_model,
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
            copy_only=copy_only,
        )
        beside = model.local.path / calibration.FILE
        extractor = cls(
            model,
            engine,
            examples=passages,
            encoder=found,
            strategy=strategy,
            k=k,
            labels=labels,
            calibration=Calibration.load(beside) if calibrated and beside.is_file() else None,
            on_demand=model.on_demand if calibrated else None,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
        )
        extractor.copy_only = copy_only
        if extractor.on_demand and passages:
            logger.info(f"{name}: {extractor.on_demand}")
        extractor.max_length = max(1, extractor.max_length - (server.thinking_tokens if server else 0))
        return extractor

    def add_examples(self, examples: str | Path | Iterable[Passage | dict]) -> None:
        """Extend the pool, by what `from_pretrained` takes as examples. Only new passages are encoded."""
        new = apply_words(load_examples(examples, self.model.language), self.labels)
        known = {passage.id for passage in self.pool}
        self.pool += [replace(p, id=f"{p.id}_{len(known)}") if p.id in known else p for p in new]
        config = DatasetConfig(strategy="nn" if self.strategy == "on_demand" else self.strategy, k=self.k)
        if self.on_demand and self.strategy == "on_demand":
            config.bm25_threshold = self.on_demand.threshold
        self._retriever = Retriever(self.pool, config, self.model.language, self.encoder)
        if self.encoder and self.pool and distributed_state().num_processes > 1:
            # Processes encode the pool together, so all at the same time: later one of them may have no text.
            _ = self._retriever.vectors

    def with_examples(self, passages: Iterable[Passage], strategy: Strategy) -> "Extractor":
        """An extractor with the same model and another pool of examples, which may be empty."""
        other = copy(self)
        other.strategy, other.pool = strategy, []
        other.add_examples(passages)
        return other

    @overload
    def extract(self, texts: str, types: Types | None = None, **options) -> Extraction: ...

    @overload
    def extract(self, texts: Iterable[str], types: Types | None = None, **options) -> list[Extraction]: ...

    def extract(
        self,
        texts: str | Iterable[str],
        types: Types | None = None,
        *,
        threshold: float = 0.0,
        occurrences: Occurrences = "all",
        flat: bool = False,
    ) -> Extraction | list[Extraction]:
        """Find the entities of a text, or of each of several texts.

        Args:
            types: one entity type or several, as words, or a mapping from types to definitions, which are put into the
                question. None asks an instruct model for all entities, with types of its choice.
            threshold: entities with a lower score are left out.
            occurrences: `first` keeps only the first place of each mention.
            flat: leave out entities that overlap one with a higher score (then a longer one, then an earlier type).

        Returns:
            a list of entities with more facts as attributes; for several texts a list of these.

        Raises:
            RequestError: a single text can't be asked about. Of several texts those say so in `error`.
            UserError: a type is empty, or the model was not trained to find entities without types.
        """
        found = self.stream(texts, types, threshold, occurrences, flat)
        if not isinstance(texts, str):
            return list(found)
        (extraction,) = found
        if extraction.error:
            raise RequestError(extraction.error)
        return extraction

    def stream(
        self,
        texts: str | Iterable[str],
        types: Types | None = None,
        threshold: float = 0.0,
        occurrences: Occurrences = "all",
        flat: bool = False,
    ) -> Iterator[Extraction]:
        """As `extract`, one text after the other: holds only a batch of texts in memory."""
        if not isinstance(texts, Iterable) or isinstance(texts, bytes | Mapping):
            raise UserError(f"a text is needed, or several of them, not {texts!r:.40}")
        if occurrences not in get_args(Occurrences) or not 0 <= threshold <= 1:
            raise UserError(f"`occurrences` is {' or '.join(get_args(Occurrences))}, and `threshold` from 0 to 1")
        asked = self._asked(types)
        room, texts = self._room(asked), iter([texts] if isinstance(texts, str) else texts)
        while batch := list(islice(texts, self.batch_size)):
            for extraction in self._extract(batch, asked, room):
                extraction.finish(list(asked.questions), threshold, occurrences, flat)
                yield extraction

    def nearness(self, texts: Iterable[str]) -> list[float]:
        """The BM25 score of each text's nearest example, which `on_demand` compares with its threshold."""
        return self._retriever.nearness([Passage(f"{number}", text, ()) for number, text in enumerate(texts)])

    def prompts(self, text: str, types: Types | None = None) -> list[str]:
        """The prompts about a text as the model reads them: one for each type, or for each type and window.

        Raises:
            UserError: as `extract`.
        """
        asked, tokenizer = self._asked(types), self.model.tokenizer
        questions = self._questions([Extraction(text)], asked, self._room(asked))
        return [tokenizer.decode(prompt_ids(tokenizer, question.messages)) for question in questions]

    def as_pipeline(self, types: Types | None = None, **options) -> Callable[[str | list[str]], list]:
        """A function like a `token-classification` pipeline of transformers with aggregated entities.

        Args:
            types, options: as for `extract`.

        Example:
            >>> ner.as_pipeline(["city"])("Basel is on the Rhine.")
            [{'entity_group': 'city', 'score': 0.9, 'word': 'Basel', 'start': 0, 'end': 5}]
        """

        def pipeline(texts: str | list[str]) -> list:
            found = self.extract(texts, types, **options)
            return _groups(found) if isinstance(texts, str) else list(map(_groups, found))

        return pipeline

    def _asked(self, types: Types | None) -> _Asked:
        """
        Raises:
            UserError: a type is empty, or `copy_only` lacks types.
        """
        types = [types] if isinstance(types, str) else types
        if types is not None and not isinstance(types, Mapping):
            types = list(types)  # an iterator can be read once, and an array is neither true nor false
        if types is not None and (not types or any(not isinstance(t, str) or not t.strip() for t in types)):
            raise UserError("`types` needs at least one entity type, as words such as person or city")
        if types is None and self.copy_only:
            raise UserError("`copy_only` needs types: without them answers name types too, which are not in the text")
        questions = {}
        for entity_type in types or ():
            words = self.labels.get(label_key(entity_type), entity_type)
            definition = types[entity_type] if isinstance(types, Mapping) else ""
            questions[entity_type] = self.model.question(f"{words} ({definition})" if definition else words)
        return _Asked(self.model, questions)

    def _room(self, asked: _Asked) -> int:
        """The most tokens of a text in one prompt without examples."""
        around = self.model.count_tokens(asked.longest("", []))
        room = self.max_length - around - min(self.max_new_tokens, self.max_length // 2) - BORDERS
        if room < 16:
            raise UserError(
                f"the question takes {around} of the model's {self.max_length} tokens; shorten the definitions"
            )
        return room

    def _extract(self, texts: Sequence[str], asked: _Asked, room: int) -> list[Extraction]:
        """Ask about several texts at once. Where one of them fails, each is asked about alone."""
        extractions = [self._empty(text) for text in texts]
        try:
            for question, answer in self.engine.answer(list(self._questions(extractions, asked, room))):
                _read(question, answer, self.calibration)
        except RequestError as error:
            if len(texts) > 1:
                return [extraction for text in texts for extraction in self._extract([text], asked, room)]
            logger.warning(f"a text was left out: {error}")
            extractions = [Extraction(texts[0], self.calibration is not None, str(error))]
        return extractions

    def _empty(self, text: object) -> Extraction:
        """An extraction that nothing was found for yet. Columns of tables have gaps, which are no texts."""
        calibrated = self.calibration is not None
        if isinstance(text, str):
            return Extraction(text, calibrated)
        return Extraction("", calibrated, f"{text!r:.40} is no text")

    def _questions(self, extractions: Sequence[Extraction], asked: _Asked, room: int) -> Iterator[_Question]:
        """The questions about all windows of several texts."""
        windows: list[tuple[Extraction, int, Window]] = []
        passages: list[Passage] = []
        for extraction in extractions:
            # Half a surrogate pair can't be encoded. Its replacement has the same length, so offsets stay right.
            text = HALF_CHARACTER.sub("\ufffd", extraction.text)
            cut = self._windows(text, room)
            extraction.windows = [(window.start, window.end) for window in cut]
            for number, window in enumerate(cut):
                if (piece := text[window.start : window.end]).strip():
                    windows.append((extraction, number, window))
                    # What is random in the choice of examples depends on the id.
                    passages.append(Passage(hashlib.sha256(piece.encode()).hexdigest(), piece, ()))
        find = self._retriever.examples_if_near if self.strategy == "on_demand" else self._retriever.examples
        for (extraction, number, window), piece, found in zip(windows, passages, find(passages), strict=True):
            text = piece.text
            longest = partial(asked.longest, text)
            examples = self.model.fitting_examples(
                text, found, longest, self.max_length, self.max_new_tokens, lists_mentions=bool(asked.questions)
            )
            extraction.examples_used += [
                {"id": e.passage.id, "score": round(e.score, 4), "window": number} for e in examples
            ]
            aligned = AlignedText(text)
            for entity_type, messages in asked.prompts(text, [example.passage for example in examples]):
                yield _Question(text, messages, extraction, window, aligned, entity_type, examples)

    def _windows(self, text: str, room: int) -> list[Window]:
        """One window if the text fits into a prompt, else several."""
        offsets = self.model.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False, verbose=False)
        ends = [end for _, end in offsets["offset_mapping"]]
        return split_into_windows(text, ends, room, min(OVERLAP, room // 4))


def _read(question: _Question, generation: Generation, calibration: Calibration | None) -> None:
    """Place the mentions of an answer in the text, and note those that are not there."""
    extraction, window = question.extraction, question.window
    if question.type is None:
        annotation = parse_annotation(generation.text)
        pairs, error = annotation.pairs, annotation.error
    else:
        answer = parse_answer(generation.text)
        pairs, error = [(mention, question.type) for mention in answer.mentions], answer.error
    if error:
        extraction.unparsed.append(question.type or "*")
    scores = mention_scores([mention for mention, _ in pairs], generation.pieces)
    for (mention, entity_type), score in zip(pairs, scores, strict=True):
        if score is not None and calibration:
            score = calibration(score)
        spans, alignment = question.aligned.find(mention)
        for span in spans:
            start, end = window.start + span.start, window.start + span.end
            if window.first <= start < window.last:
                text = extraction.text[start:end]
                extraction.append(Entity(text, entity_type, start, end, score, alignment))
        if not spans:
            is_copied = any(example.passage.holds(mention) for example in question.examples)
            (extraction.copied if is_copied else extraction.unaligned).append({"text": mention, "type": entity_type})


def _groups(extraction: Extraction) -> list[dict]:
    """Entities with the keys of transformers' pipeline."""
    return [
        {"entity_group": e.type, "score": e.score, "word": e.text, "start": e.start, "end": e.end} for e in extraction
    ]
