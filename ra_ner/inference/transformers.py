"""Generation with transformers. What a passage's questions share (system, examples, text) is run through once."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from ..errors import UserError
from ..prompting.chat_template import prompt_ids
from .engine import Request, answer_budget
from .shared_prefix import SHARED, Branch, Tree


class TransformersEngine:
    """A causal language model from a folder, with an adapter on it if one is given.

    Args:
        model: folder of the model.
        adapter: folder of the adapter, which brings its own tokenizer.
        chat_template: used instead of the tokenizer's own.
        dtype: name of a torch dtype. In float32 answers equal those of unshared, unbatched generation, but for ties
            within rounding.
        max_new_tokens: longest answer.
        load_in_4bit: load the model in 4 bits (NF4, nested), computing in `dtype`.

    Raises:
        UserError: a folder can't be loaded, or there is no chat template.
    """

    def __init__(
        self,
        model: Path,
        adapter: Path | None = None,
        chat_template: str | None = None,
        dtype: str = "bfloat16",
        max_new_tokens: int = 256,
        load_in_4bit: bool = False,
    ):
        number_format = getattr(torch, dtype)
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=number_format,
        )
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(adapter or model)
            self.model = AutoModelForCausalLM.from_pretrained(
                model,
                dtype=number_format,
                use_safetensors=True,
                attn_implementation="sdpa",  # takes a mask of any shape
                quantization_config=quantization if load_in_4bit else None,
            )
            if adapter:
                self.model = PeftModel.from_pretrained(self.model, adapter, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise UserError(f"model {adapter or model} can't be loaded: {error}") from None
        self.tokenizer.chat_template = chat_template or self.tokenizer.chat_template
        if not self.tokenizer.chat_template:
            raise UserError(
                f"the tokenizer of {adapter or model} has no chat template, so it can't be asked in conversations"
            )
        self.model.to(PartialState().device).eval()
        stop = self.model.generation_config.eos_token_id
        self.stop = {*(stop if isinstance(stop, list) else [stop]), self.tokenizer.eos_token_id}
        self.max_new_tokens = max_new_tokens
        self.most_passages: int | None = None  # that fit into memory at once; known once it has run out

    def answer(self, requests: list[Request]) -> Iterator[tuple[int, int, str]]:
        """Ask each question on its own. Where memory runs out, fewer are asked at once from then on.

        Yields:
            request number, question number and answer.

        Raises:
            UserError: a single question does not fit into memory.
        """
        for i, answers in enumerate(self._answer_in_parts(requests)):
            for j, answer in enumerate(answers):
                yield i, j, answer

    def _answer_in_parts(self, requests: list[Request]) -> list[list[str]]:
        if self.most_passages and len(requests) > self.most_passages:
            first, rest = requests[: self.most_passages], requests[self.most_passages :]
            return self._answer_in_parts(first) + self._answer_in_parts(rest)
        try:
            return self._answer(requests)
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
            reason = str(error)
        clear_device_cache(garbage_collection=True)
        if len(requests) > 1:
            self.most_passages = len(requests) // 2
            return self._answer_in_parts(requests)
        (request,) = requests
        half = len(request.questions) // 2
        if not half:
            raise UserError(f"one question about one passage does not fit into memory ({reason}); lower `k`")
        parts = [replace(request, questions=part) for part in (request.questions[:half], request.questions[half:])]
        return [[answer for part in parts for answer in self._answer_in_parts([part])[0]]]

    @torch.inference_mode()
    def _answer(self, requests: list[Request]) -> list[list[str]]:
        tree, shared, branches = Tree(self.model, len(requests)), [], []
        for request in requests:
            prompts = [prompt_ids(self.tokenizer, messages) for messages in request.queries]
            # At least one token of each prompt stays out of the shared part, to predict the first new token from.
            length = min(_common(prompts), min(map(len, prompts)) - 1)
            shared.append([Branch(SHARED, prompts[0][:length], 0)])
            branches.append([Branch(i, prompt[length:], length) for i, prompt in enumerate(prompts, 1)])
        if any(row[0].tokens for row in shared):
            tree.add(shared)
        answers = self._grow(tree, branches, [self._budget(request) for request in requests])
        return [self.tokenizer.batch_decode(row, skip_special_tokens=True) for row in answers]

    @torch.inference_mode()
    def converse(self, request: Request) -> list[str]:
        """The answer to each question, asked one after the other; the tokens of a conversation are run through once."""
        tree, held, messages, answers = Tree(self.model, 1), [], list(request.opening), []
        for question in request.questions:
            messages.append({"role": "user", "content": question})
            prompt = prompt_ids(self.tokenizer, messages)
            # An answer may be rendered in other tokens than it was generated in: what differs is run again.
            length = min(_common([held, prompt]), len(prompt) - 1)
            tree.cut_shared(0, length)
            ((tokens,),) = self._grow(tree, [[Branch(SHARED, prompt[length:], length)]], [self._budget(request)])
            held = (prompt + tokens)[: tree.shared_length(0)]
            answers.append(self.tokenizer.decode(tokens, skip_special_tokens=True))
            messages.append({"role": "assistant", "content": answers[-1]})
        return answers

    def _grow(self, tree: Tree, branches: list[list[Branch]], budgets: list[int]) -> list[list[list[int]]]:
        """Add branches and continue each greedily up to a stop token or its row's budget; returns the new tokens."""
        answers: list[list[list[int]]] = [[[] for _ in row] for row in branches]
        growing = [list(zip(row, new, strict=True)) for row, new in zip(branches, answers, strict=True)]
        while any(growing):
            predicted = tree.add([[branch for branch, _ in row] for row in growing])
            for i, (row, tokens) in enumerate(zip(growing, predicted, strict=True)):
                growing[i] = []
                for (branch, answer), token in zip(row, tokens, strict=True):
                    if token not in self.stop:
                        answer.append(token)
                        if len(answer) < budgets[i]:
                            end = branch.position + len(branch.tokens)
                            growing[i].append((Branch(branch.name, [token], end), answer))
        return answers

    def _budget(self, request: Request) -> int:
        return answer_budget(len(self.tokenizer(request.text).input_ids), self.max_new_tokens)


def _common(prompts: list[list[int]]) -> int:
    """How many tokens prompts have in common at their start."""
    return len(os.path.commonprefix(prompts))  # noqa: RUF071 - lists, not paths
