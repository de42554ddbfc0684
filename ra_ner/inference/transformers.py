"""Generation with transformers. What a passage's queries share (system, examples, text) is run through once."""

import os
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, DynamicCache

from ..errors import UserError
from ..rendering import prompt_ids
from . import Request, answer_budget


class TransformersEngine:
    """A causal language model from a folder, with an adapter on it if one is given.

    Args:
        model: folder of the model.
        adapter: folder of the adapter, which brings its own tokenizer.
        chat_template: used instead of the tokenizer's own.
        dtype: name of a torch dtype. In float32 answers equal those of unshared, unbatched generation.
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
        # Without the check a CUDA build of torch names a device on machines that have none.
        device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
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
        self.model.to(device).eval()
        stop = self.model.generation_config.eos_token_id
        stop = set(stop if isinstance(stop, list) else [stop]) | {self.tokenizer.eos_token_id}
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        self.max_new_tokens = max_new_tokens
        self.generation = {
            "do_sample": False,
            "eos_token_id": sorted(stop - {None}),
            "pad_token_id": pad,
        }

    def answer(self, requests: list[Request]) -> list[list[str]]:
        return [self._answer(request) for request in requests]

    @torch.inference_mode()
    def _answer(self, request: Request) -> list[str]:
        """One passage's questions, as one batch on one copy of what they share."""
        prompts = [prompt_ids(self.tokenizer, messages) for messages in request.queries]
        # At least one token of each prompt stays out of the shared part, to predict the first new token from.
        shared = min(len(os.path.commonprefix(prompts)), min(map(len, prompts)) - 1)  # noqa: RUF071 - lists, not paths
        longest = max(map(len, prompts))
        pad = self.generation["pad_token_id"]
        ids = [prompt[:shared] + [pad] * (longest - len(prompt)) + prompt[shared:] for prompt in prompts]
        mask = [[1] * shared + [0] * (longest - len(p)) + [1] * (len(p) - shared) for p in prompts]
        ids, mask = (torch.tensor(rows, device=self.model.device) for rows in (ids, mask))

        cache = DynamicCache(config=self.model.config)
        if shared:
            self.model(ids[:1, :shared], past_key_values=cache, logits_to_keep=1)
            cache.batch_repeat_interleave(len(prompts))
        budget = answer_budget(len(self.tokenizer(request.text).input_ids), self.max_new_tokens)
        new = self.model.generate(
            ids, attention_mask=mask, past_key_values=cache, max_new_tokens=budget, **self.generation
        )
        return self.tokenizer.batch_decode(new[:, longest:], skip_special_tokens=True)

    def converse(self, request: Request) -> list[str]:
        messages, answers = list(request.opening), []
        for question in request.questions:
            answers += self._answer(Request(request.text, messages, [question]))
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answers[-1]}]
        return answers
