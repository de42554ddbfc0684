"""Generation with transformers. What the questions about a text share (system, examples, text) is computed once."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import PartialState
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from transformers import BitsAndBytesConfig

from ..errors import RequestError
from ..prompting.chat_template import all_prompt_ids, load_tokenizer, prompt_ids
from ..terminal import hide_loading_bars
from .copying import Copier
from .engine import Generation, Piece, R, Request, answer_budget, by_text
from .shared_prefix import SHARED, Branch, Tree
from .weights import load_adapter, load_model

if TYPE_CHECKING:
    from llguidance import LLMatcher

Token = tuple[int, float]  # a generated token's id, and the natural logarithm of its probability


@dataclass
class _Growing:
    """An answer that is being generated. `end` is what is next added to its branch."""

    end: Branch
    budget: int
    state: "LLMatcher | None"
    tokens: list[Token] = field(default_factory=list)

    def add(self, token: Token) -> bool:
        """Add a token. Returns whether the answer goes on."""
        self.tokens.append(token)
        self.end = Branch(self.end.name, [token[0]], self.end.position + len(self.end.tokens))
        return len(self.tokens) < self.budget and not (self.state and self.state.is_stopped())


class TransformersEngine:
    """A causal language model from a folder, with an adapter if one is given.

    Args:
        model: folder of the model.
        adapter: folder of the adapter, which brings its own tokenizer.
        chat_template: used instead of the tokenizer's own.
        dtype: name of a torch dtype. In float32 answers equal those of plain generation, up to ties within rounding.
        max_new_tokens: longest answer.
        load_in_4bit: load the model in 4 bits (NF4, nested), computing in `dtype`.
        batch_size: texts asked about at once; lowered where memory runs out.
        with_pieces: also give the tokens of each answer with their probabilities.
        copy_only: constrain each answer to a JSON list of substrings of its text.

    Raises:
        UserError: a folder can't be loaded, its weights do not fit, there is no chat template, or the tokenizer does
            not allow `copy_only`.

    Example:
        >>> engine = TransformersEngine(Path("models/smollm2-135m-instruct"), dtype="float32")
        >>> messages = query("Ada lived in London.", "city", [], find_wording("ra_it", "en"))
        >>> [answer.text for _, answer in engine.answer([Request("Ada lived in London.", messages)])]
    """

    def __init__(
        self,
        model: Path,
        adapter: Path | None = None,
        chat_template: str | None = None,
        dtype: str = "bfloat16",
        max_new_tokens: int = 256,
        load_in_4bit: bool = False,
        batch_size: int = 4,
        with_pieces: bool = False,
        copy_only: bool = False,
    ):
        number_format = getattr(torch, dtype)
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=number_format,
        )
        hide_loading_bars()
        self.tokenizer = load_tokenizer(adapter or model, chat_template)
        # The default attention, sdpa or for a few models eager, takes a mask of any shape.
        self.model = load_model(model, dtype=number_format, quantization_config=quantization if load_in_4bit else None)
        if adapter:
            self.model = load_adapter(self.model, adapter)
        self.model.to(PartialState().device).eval()
        stop = self.model.generation_config.eos_token_id
        self.stop = {*(stop if isinstance(stop, list) else [stop]), self.tokenizer.eos_token_id}
        vocabulary = self.model.config.get_text_config().vocab_size
        self.copier = Copier(self.tokenizer, vocabulary, sorted(self.stop)) if copy_only else None
        self.max_new_tokens, self.with_pieces, self.batch_size = max_new_tokens, with_pieces, batch_size

    def answer(self, requests: Sequence[R]) -> Iterator[tuple[R, Generation]]:
        """Answer each question on its own.

        Raises:
            RequestError: a single question does not fit into memory.
        """
        groups = by_text(requests)
        while groups:
            batch, groups = groups[: self.batch_size], groups[self.batch_size :]
            for group, answers in zip(batch, self._answer_within_memory(batch), strict=True):
                yield from zip(group, answers, strict=True)

    def _answer_within_memory(self, groups: list[list[R]]) -> list[list[Generation]]:
        """Answer the questions about several texts at once; where memory runs out, about fewer from then on."""
        if len(groups) > self.batch_size:
            first, rest = groups[: self.batch_size], groups[self.batch_size :]
            return self._answer_within_memory(first) + self._answer_within_memory(rest)
        try:
            return self._answer(groups)
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
            reason = str(error)
        clear_device_cache(garbage_collection=True)
        if len(groups) > 1:
            self.batch_size = len(groups) // 2
            return self._answer_within_memory(groups)
        (group,) = groups
        half = len(group) // 2
        if not half:
            raise RequestError(f"one question about one text does not fit into memory ({reason}); lower `k`")
        parts = (group[:half], group[half:])
        return [[answer for part in parts for answer in self._answer_within_memory([part])[0]]]

    @torch.inference_mode()
    def _answer(self, groups: list[list[R]]) -> list[list[Generation]]:
        tree, shared, branches = Tree(self.model, len(groups), self.with_pieces), [], []
        for group in groups:
            prompts = all_prompt_ids(self.tokenizer, [request.messages for request in group])
            # One token of each prompt stays out of the shared part, to predict the first new token from.
            length = min(_common(prompts), min(map(len, prompts)) - 1)
            shared.append([Branch(SHARED, prompts[0][:length], 0)])
            branches.append([Branch(i, prompt[length:], length) for i, prompt in enumerate(prompts, 1)])
        if any(row[0].tokens for row in shared):
            tree.add(shared)
        answers = self._grow(tree, branches, [group[0] for group in groups])
        return [[self._generation(tokens) for tokens in row] for row in answers]

    @torch.inference_mode()
    def converse(self, requests: Sequence[R]) -> list[str]:
        """Ask all questions about one text in one conversation, whose tokens are computed once."""
        tree, held, messages, answers = Tree(self.model, 1), [], list(requests[0].opening), []
        for request in requests:
            messages.append(request.messages[-1])
            prompt = prompt_ids(self.tokenizer, messages)
            # An answer may be rendered in other tokens than it was generated in: what differs is computed again.
            length = min(_common([held, prompt]), len(prompt) - 1)
            tree.cut_shared(0, length)
            ((tokens,),) = self._grow(tree, [[Branch(SHARED, prompt[length:], length)]], [request])
            ids = [token for token, _ in tokens]
            held = (prompt + ids)[: tree.shared_length(0)]
            answers.append(self.tokenizer.decode(ids, skip_special_tokens=True))
            messages.append({"role": "assistant", "content": answers[-1]})
        return answers

    def _grow(self, tree: Tree, branches: list[list[Branch]], requests: Sequence[Request]) -> list[list[list[Token]]]:
        """Add branches and continue each greedily, up to a stop token or the budget of its row's requests.

        Returns:
            the new tokens of each branch.
        """
        answers = []
        for row, request in zip(branches, requests, strict=True):
            states = self.copier.start(request.text, len(row)) if self.copier else [None] * len(row)
            text_tokens = len(self.tokenizer(request.text).input_ids)
            budget = answer_budget(text_tokens, self.max_new_tokens, request.lists_mentions)
            answers.append([_Growing(branch, budget, state) for branch, state in zip(row, states, strict=True)])
        growing, choose = answers, None
        while any(growing):
            if self.copier:
                choose = partial(self.copier.choose, [[answer.state for answer in row] for row in growing])
            predicted = tree.add([[answer.end for answer in row] for row in growing], choose)
            growing = [
                [answer for answer, token in zip(*row, strict=True) if token[0] not in self.stop and answer.add(token)]
                for row in zip(growing, predicted, strict=True)
            ]
        return [[answer.tokens for answer in row] for row in answers]

    def _generation(self, tokens: list[Token]) -> Generation:
        text = self.tokenizer.decode([token for token, _ in tokens], skip_special_tokens=True)
        return Generation(text, self._pieces(tokens) if self.with_pieces else ())

    def _pieces(self, tokens: list[Token]) -> tuple[Piece, ...]:
        """The text that each token adds; a character of several tokens belongs to the last of them."""
        pieces, done, ids = [], "", [token for token, _ in tokens]
        for count, (_, logarithm) in enumerate(tokens, 1):
            text = self.tokenizer.decode(ids[:count], skip_special_tokens=True)
            whole = done if text.endswith("\ufffd") and count < len(tokens) else text
            pieces.append((whole[len(done) :], logarithm))
            done = whole
        return tuple(pieces)


def _common(prompts: list[list[int]]) -> int:
    """The number of tokens that prompts have in common at their start."""
    return len(os.path.commonprefix(prompts))  # noqa: RUF071 - lists, not paths
