"""Several continuations of one prompt in one row of the model's input.

The tokens of a row form a tree: what all branches share, and the branches. A mask lets each token see what is shared
and the earlier tokens of its own branch alone, so that it is computed as if its branch stood there by itself. What is
shared is computed once, and its keys and values are never copied.
"""

from dataclasses import dataclass

import torch
from transformers import DynamicCache, PreTrainedModel

from ..errors import UserError

HIDDEN, SHARED = -1, 0  # who sees a token: no other one, all that follow, or (from 1 on) those of one branch


@dataclass(frozen=True)
class Branch:
    """Tokens to add to a row. `name` is SHARED, or a number from 1 on; `position` is that of the first token."""

    name: int
    tokens: list[int]
    position: int


class Tree:
    """The keys and values of a batch of rows, and which tokens see which.

    Args:
        model: a causal language model with `attn_implementation="sdpa"`.
        rows: how many rows the batch has.

    Raises:
        UserError: the model has layers that are not attention, which know no mask.
    """

    def __init__(self, model: PreTrainedModel, rows: int):
        self.model, config = model, model.config.get_text_config()
        layers = set(getattr(config, "layer_types", None) or ["full_attention"])
        if strange := layers - {"full_attention", "sliding_attention"}:
            raise UserError(f"{config.name_or_path} has layers of {', '.join(strange)}: evaluate it by a server")
        # With a mask of our own no layer forgets what is outside its window, so a prompt must be shorter than that.
        sliding = "sliding_attention" in layers or not getattr(config, "layer_types", None)
        self.window = getattr(config, "sliding_window", None) if sliding else None
        self.cache = DynamicCache()
        self.owners = torch.empty(rows, 0, dtype=torch.long, device=model.device)  # HIDDEN, SHARED or a branch's name

    def add(self, rows: list[list[Branch]]) -> list[list[int]]:
        """Add branches, or tokens to the ends of branches, and return the most likely token after each.

        Raises:
            UserError: a prompt is longer than the window of a model with sliding-window attention.
        """
        width, length = max(map(len, rows)), max(len(branch.tokens) for row in rows for branch in row)
        # Branches are padded on the left to one length, so that each ends in the same column in every row.
        ids, owners, positions = (torch.full((len(rows), width, length), fill) for fill in (0, HIDDEN, 0))
        for i, row in enumerate(rows):
            for j, branch in enumerate(row):
                start = length - len(branch.tokens)
                ids[i, j, start:] = torch.tensor(branch.tokens)
                owners[i, j, start:] = branch.name
                positions[i, j, start:] = torch.arange(branch.position, branch.position + len(branch.tokens))
        if self.window and positions.max() >= self.window:
            raise UserError(f"a prompt is longer than the model's attention window of {self.window}: use a server")
        ids, owners, positions = (tensor.flatten(1).to(self.model.device) for tensor in (ids, owners, positions))
        output = self.model(
            input_ids=ids,
            attention_mask=self._mask(owners),
            position_ids=positions,
            past_key_values=self.cache,
            logits_to_keep=torch.arange(length - 1, width * length, length, device=self.model.device),
        )
        predicted = output.logits.argmax(-1).tolist()
        return [tokens[: len(row)] for tokens, row in zip(predicted, rows, strict=True)]

    def _mask(self, owners: torch.Tensor) -> torch.Tensor:
        """Which slots each new token sees, (rows, 1, new, all); takes the new tokens into account from now on."""
        self.owners = torch.cat([self.owners, owners], dim=1)
        slots = torch.arange(self.owners.shape[1], device=owners.device)
        new = slots[-owners.shape[1] :, None]
        seen = (self.owners[:, None] == SHARED) | (self.owners[:, None] == owners[:, :, None])
        seen &= (slots <= new) & (owners != HIDDEN)[:, :, None]
        seen |= slots == new  # padding sees itself: nothing at all would make it not a number
        return seen[:, None]

    def shared_length(self, row: int) -> int:
        """How many shared tokens a row holds."""
        return int((self.owners[row] == SHARED).sum())

    def cut_shared(self, row: int, length: int) -> None:
        """Keep the first `length` shared tokens of a row."""
        slots = (self.owners[row] == SHARED).nonzero()[:, 0]
        self.owners[row, slots[length:]] = HIDDEN
