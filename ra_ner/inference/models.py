"""Which model a name means, how it is loaded and how it is asked."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..foreign_files import read_json
from ..hub import repos
from ..hub.repos import LocalModel
from ..passage import Passage
from ..prompting.annotation import annotation_prompt
from ..prompting.chat_template import TEMPLATES, load_tokenizer, prompt_ids
from ..prompting.conversation import Message, opening
from ..prompting.known_checkpoints import KNOWN_CHECKPOINTS
from ..prompting.length_limit import LengthLimit
from ..retrieval.on_demand import OnDemand
from ..retrieval.retriever import Example
from ..tasks import find_wording, task_of
from .engine import Engine, ServerOptions, answer_budget

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")  # keys of configs


@dataclass(frozen=True)
class Model:
    """A model and how it is asked.

    Attributes:
        base: the model below an adapter, None for a full model.
        system, chat_template: None where the tokenizer's own chat template says all.
        server_name: what a server calls the model; None is `name`.
    """

    name: str
    local: LocalModel
    base: LocalModel | None
    wording: str
    language: str
    system: str | None = None
    chat_template: str | None = None
    server_name: str | None = None

    def opening(self, text: str, examples: Sequence[Passage]) -> list[Message]:
        """The messages of a prompt before the question: system, examples and text, as far as there are any."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, *opening(text, examples, find_wording(self.wording, self.language))]

    def question(self, entity_type: str) -> Message:
        wording = find_wording(self.wording, self.language)
        return {"role": "user", "content": wording.question.format(type=entity_type)}

    def discovery(self, text: str, examples: Sequence[Passage]) -> list[Message]:
        """The prompt that asks for all entities of a text, with types of the model's choice.

        Raises:
            UserError: the model was trained to answer about one type at a time.
        """
        if self.local.facts or self.system:
            raise UserError(f"{self.name} was trained to answer about one entity type at a time: name the types")
        return annotation_prompt(text, examples, self.language)

    def fitting_examples(
        self,
        text: str,
        examples: Sequence[Example],
        prompt: Callable[[Sequence[Passage]], list[Message]],
        max_length: int | None,
        max_new_tokens: int,
        lists_mentions: bool,
    ) -> Sequence[Example]:
        """The most of a text's examples, best first, with which its prompt and the answer fit.

        Args:
            prompt: makes the prompt that shows given passages; of several prompts about the text the longest.
            max_length: most tokens of a prompt and its answer; None drops no example.
            lists_mentions: whether the answer is a list of mentions of the text, which is no longer than that.

        Returns:
            none if nothing fits; whether the text alone fits is not checked.
        """
        if not max_length:
            return examples
        budget = answer_budget(len(self.tokenizer(text).input_ids), max_new_tokens, lists_mentions)
        limit = LengthLimit(max_length - budget, self.count_tokens)
        return limit.fitting_examples(examples, lambda shown: prompt([example.passage for example in shown]))

    def count_tokens(self, messages: list[Message]) -> int:
        """The tokens of a prompt."""
        return len(prompt_ids(self.tokenizer, messages))

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The tokenizer with the chat template that the model is asked with.

        Raises:
            UserError: it can't be loaded, or has no chat template.
        """
        return load_tokenizer(self.local.path, self.template)

    @cached_property
    def on_demand(self) -> OnDemand | None:
        """When `on_demand` shows examples to this model, as `ra-ner calibrate` found out; None if it was not asked.

        Raises:
            UserError: its file can't be read.
        """
        return None if self.local.path == Path() else OnDemand.beside(self.local.path)  # a vendor's has no folder

    @cached_property
    def max_length(self) -> int | None:
        """The most tokens of a prompt and its answer: what the model reads and was trained on; None if unknown."""
        return min([length for length in (self.positions, self.trained_length) if length], default=None)

    @cached_property
    def template(self) -> str | None:
        """The chat template to use instead of the tokenizer's own."""
        return (TEMPLATES / self.chat_template).read_text(encoding="utf-8") if self.chat_template else None

    @cached_property
    def positions(self) -> int | None:
        """The most tokens that the model can read, None if its config does not say."""
        file = (self.base or self.local).path / "config.json"
        if not file.is_file():
            return None
        config = read_json(file)
        text_config = config.get("text_config")
        text_config = text_config if isinstance(text_config, dict) else config
        return next((text_config[key] for key in POSITIONS if isinstance(text_config.get(key), int)), None)

    @property
    def trained_length(self) -> int | None:
        """The most tokens of a row that an adapter of this project was trained on."""
        length = self.local.facts.get("config", {}).get("max_length")
        return length if isinstance(length, int) else None


def longest_question(questions: Sequence[Message]) -> Message:
    """The question that leaves the least room in a prompt."""
    return max(questions, key=lambda question: len(question["content"]))


def load_engine(
    model: Model,
    *,
    server: ServerOptions | None = None,
    dtype: str = "bfloat16",
    load_in_4bit: bool = False,
    max_new_tokens: int = 256,
    batch_size: int = 4,
    with_pieces: bool = False,
    copy_only: bool = False,
) -> Engine:
    """Load a model on this machine, or connect to a server that has it.

    Args:
        server: None loads the model here.
        copy_only: constrain each answer to a JSON list of substrings of its text.

    Raises:
        UserError: the model can't be loaded, an option is missing, or the model's answers are no JSON lists.
    """
    if copy_only:
        check_copy_only(model)
    if server:
        from .server import ServerEngine

        name = model.server_name or model.name
        return ServerEngine(name, server, max_new_tokens, model.local.path, model.template, with_pieces, copy_only)

    from .cpu import prepare_for_cpu
    from .transformers import TransformersEngine

    adapter, path = (model.local.path, model.base.path) if model.base else (None, model.local.path)
    engine = TransformersEngine(
        path, adapter, model.template, dtype, max_new_tokens, load_in_4bit, batch_size, with_pieces, copy_only
    )
    prepare_for_cpu(engine.model)
    return engine


def check_copy_only(model: Model) -> None:
    """
    Raises:
        UserError: the model's answers are no JSON lists of mentions.
    """
    wording = find_wording(model.wording, model.language)
    if not task_of(model.wording).extracts or not wording.answers_are_json:
        raise UserError(
            f"the answers of {model.name} (wording {model.wording}) are no JSON lists of mentions, so `copy_only` "
            "can't constrain them: leave it out"
        )


def _base(name: str, adapter: LocalModel) -> str:
    """The base of an adapter. A folder that training named from another place is looked for above the adapter."""
    above = [parent / name for parent in adapter.path.absolute().parents] if adapter.facts else []
    return next((str(folder) for folder in (Path(name), *above) if folder.is_dir()), name)


def find_model(
    name: str,
    revision: str | None = None,
    *,
    wording: str = "ra_it",
    language: str = "en",
    with_weights: bool = True,
) -> Model:
    """Resolve a folder, a Hub id or `id@revision`, and fetch what is on the Hub.

    How a model is asked is known from ra_it.json of an adapter of this project, or from the table of known
    checkpoints; any other model is asked with `wording` and `language`. The base of an adapter is the one that its
    config names, at that revision.

    Args:
        with_weights: False fetches what a tokenizer needs alone: a server has the weights.

    Raises:
        UserError: it does not exist, can't be fetched, or its base is not the one it was trained on.
    """
    path, _, at = (name, "", "") if os.path.isdir(name) else name.partition("@")
    files = repos.MODEL_FILES if with_weights else repos.TOKENIZER_FILES
    local = repos.fetch_model(path, revision or at or None, files)
    if known := KNOWN_CHECKPOINTS.get(path):
        return Model(name, local, None, **vars(known))
    facts, base = local.facts, None
    if named := local.adapter_config:
        try:
            base = repos.fetch_model(_base(named["base_model_name_or_path"], local), named.get("revision"), files)
        except UserError as error:
            raise UserError(f"the base of adapter {path}: {error}") from None
        if facts and facts["base_revision"] != base.revision:
            raise UserError(
                f"adapter {path} was trained on {facts['base']} at {facts['base_revision']}, but that is now at "
                f"{base.revision}; bring the base model back, or train the adapter again"
            )
    return Model(
        name=facts.get("recipe", name) if os.path.isdir(path) else name,
        local=local,
        base=base,
        wording=facts.get("wording", wording),
        language=facts.get("language", language),
    )
