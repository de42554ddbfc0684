"""Answers that can only copy: decoding is constrained to a JSON list of substrings of the text.

llguidance knows the grammar of substrings, and which tokens may follow, also those that end inside a character.
"""

import json
from typing import TYPE_CHECKING

import numpy as np
import torch
from llguidance import LLExecutor, LLMatcher, LLParserLimits
from llguidance.hf import from_tokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask_par

from ..errors import UserError
from ..prompting.answers import copyable_parts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# By default a text of a few thousand characters is too complex for llguidance.
LIMITS = LLParserLimits(step_lexer_fuel=1_000_000_000)


def copy_grammar(text: str) -> str:
    """The answers that list substrings of a text, as a Lark grammar with the extensions of llguidance.

    Characters are escaped as in the answers of training, so each substring can be written in one way only.
    """
    # Each character is an element of its own, so nothing in a text can be taken for a part of the grammar.
    parts = [[json.dumps(char, ensure_ascii=False)[1:-1] for char in part] for part in copyable_parts(text)]
    items = " | ".join(f"%regex {json.dumps({'substring_chunks': part}, ensure_ascii=False)}" for part in parts)
    return rf"""start: "[" _SPACE (ITEM (_SPACE "," _SPACE ITEM)* _SPACE)? "]"
_SPACE: /[ \t\r\n]{{0,8}}/
ITEM: "\"" ({items}) "\""
"""


def is_copied(answer: str, text: str) -> bool:
    """Whether an answer is a JSON list of substrings of a text."""
    try:
        items = json.loads(answer)
    except (ValueError, RecursionError):
        return False
    return isinstance(items, list) and all(isinstance(item, str) and item in text for item in items)


class Copier:
    """Chooses tokens of answers so that each is a list of substrings of its text.

    Args:
        tokenizer: of the model.
        vocabulary: the number of tokens that the model predicts.
        stop: the tokens that end an answer.

    Raises:
        UserError: llguidance can't read the tokenizer.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", vocabulary: int, stop: list[int]):
        self.vocabulary = max(vocabulary, len(tokenizer))
        try:
            self.tokens = from_tokenizer(tokenizer, n_vocab=self.vocabulary, eos_token=stop, slices=[])
        except ValueError as error:
            raise UserError(f"`copy_only` can't read the tokenizer of {tokenizer.name_or_path}: {error}") from None
        self.executor = LLExecutor()

    def start(self, text: str, answers: int) -> list[LLMatcher]:
        """The states of so many answers about a text, at their beginnings.

        Raises:
            UserError: the text is too complex.
        """
        state = LLMatcher(self.tokens, copy_grammar(text), limits=LIMITS)
        if state.is_error():
            raise UserError(f"`copy_only` can't be used on a text of {len(text)} characters: {state.get_error()}")
        return [state.deep_copy() for _ in range(answers)]

    def choose(self, states: list[list[LLMatcher]], logits: torch.Tensor) -> torch.Tensor:
        """The likeliest token of those that may follow in each answer, which the answer's state then counts as said.

        Args:
            states: of the answers of each row.
            logits: of shape (rows, most answers of a row, vocabulary).

        Returns:
            tokens of shape (rows, most answers of a row).
        """
        best = logits.argmax(-1)
        tokens = best.tolist()
        refused = [
            (state, i, j)
            for i, row in enumerate(states)
            for j, state in enumerate(row)
            if not state.validate_tokens([tokens[i][j]])
        ]
        if refused:  # masks are needed for these alone
            masks = allocate_token_bitmask(len(refused), self.vocabulary)
            fill_next_token_bitmask_par(self.executor, [(state, n) for n, (state, _, _) in enumerate(refused)], masks)
            allowed = np.unpackbits(masks.view(np.uint8), axis=1, count=logits.shape[-1], bitorder="little")
            rows, columns = [i for _, i, _ in refused], [j for _, _, j in refused]
            banned = torch.from_numpy(allowed == 0).to(logits.device)
            best[rows, columns] = logits[rows, columns].masked_fill(banned, -torch.inf).argmax(-1)
            tokens = best.tolist()
        for row, chosen in zip(states, tokens, strict=True):
            for state, token in zip(row, chosen, strict=False):
                state.consume_token(token)
        return best
