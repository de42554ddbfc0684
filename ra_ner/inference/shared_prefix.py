"""Several continuations of one prompt in one row of the model's input: the shared prefix is computed once.

The tokens of a row form a tree: a shared prefix, and branches. A mask lets each token see the prefix and the earlier
tokens of its own branch, so a branch is computed as if it stood there alone. The keys and values of the prefix are
never copied.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import DynamicCache, PreTrainedModel

from ..errors import UserError

HIDDEN, SHARED = -1, 0  # owners of a token; from 1 on they are the names of branches
FULL, SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True)
class Branch:
    """Tokens to add to a row. `name` is SHARED, or a number from 1 on; `position` is that of the first token."""

    name: int
    tokens: list[int]
    position: int


def other_layers(model: PreTrainedModel) -> set[str]:
    """The types of a model's layers that are not attention, which take no mask."""
    return set(getattr(model.config.get_text_config(), "layer_types", None) or ()) - {FULL, SLIDING}


class Tree:
    """The keys and values of a batch of rows, and which tokens see which.

    Args:
        model: a causal language model whose `attn_implementation` is sdpa or eager.
        rows: rows of the batch.
        with_logarithms: compute the probabilities of next tokens too.

    Raises:
        UserError: the model has layers that are not attention, which take no mask.
    """

    def __init__(self, model: PreTrainedModel, rows: int, with_logarithms: bool = False):
        self.model, config = model, model.config.get_text_config()
        self.with_logarithms = with_logarithms
        layer_types = getattr(config, "layer_types", None)
        if unknown := other_layers(model):
            raise UserError(f"{config.name_or_path} has layers of {', '.join(unknown)}: evaluate it with a server")
        self.window = getattr(config, "sliding_window", None)
        if layer_types and SLIDING not in layer_types:
            self.window = None
        self.has_layer_types = bool(layer_types)
        self.is_eager = config._attn_implementation == "eager"
        self.cache = DynamicCache()
        # Of every token so far, (rows, tokens): who sees it, and its position in its prompt.
        self.owners = torch.empty(rows, 0, dtype=torch.long, device=model.device)
        self.positions = torch.empty(rows, 0, dtype=torch.long, device=model.device)

    def add(
        self, rows: list[list[Branch]], choose: Callable[[torch.Tensor], torch.Tensor] | None = None
    ) -> list[list[tuple[int, float]]]:
        """Add branches, or tokens to the ends of branches.

        Args:
            choose: gives the next tokens, of shape (rows, branches), for the logits, of shape (rows, branches,
                vocabulary). By default they are the most likely ones.

        Returns:
            for each branch the next token, and the natural logarithm of its probability (0 if not asked).
        """
        width, length = max(map(len, rows)), max(len(branch.tokens) for row in rows for branch in row)
        # Branches are padded on the left to one length, so that all end in the same column.
        ids, owners, positions = (torch.full((len(rows), width, length), fill) for fill in (0, HIDDEN, 0))
        for i, row in enumerate(rows):
            for j, branch in enumerate(row):
                start = length - len(branch.tokens)
                ids[i, j, start:] = torch.tensor(branch.tokens)
                owners[i, j, start:] = branch.name
                positions[i, j, start:] = torch.arange(branch.position, branch.position + len(branch.tokens))
        ids, owners, positions = (tensor.flatten(1).to(self.model.device) for tensor in (ids, owners, positions))
        output = self.model(
            input_ids=ids,
            attention_mask=self._masks(owners, positions),
            position_ids=positions,
            past_key_values=self.cache,
            logits_to_keep=torch.arange(length - 1, width * length, length, device=self.model.device),
        )
        best = choose(output.logits) if choose else output.logits.argmax(-1)
        logarithms = torch.zeros_like(best, dtype=torch.float32)
        if self.with_logarithms:
            logits = output.logits.float()
            logarithms = logits.gather(-1, best[..., None])[..., 0] - logits.logsumexp(-1)
        predicted = [list(zip(*row, strict=True)) for row in zip(best.tolist(), logarithms.tolist(), strict=True)]
        return [tokens[: len(row)] for tokens, row in zip(predicted, rows, strict=True)]

    def _masks(self, owners: torch.Tensor, positions: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """Which tokens each new token sees, of shape (rows, 1, new, all), for each type of layer.

        It is boolean; of eager attention, what is added to the logits. The new tokens count among all from now on.
        """
        self.owners = torch.cat([self.owners, owners], dim=1)
        self.positions = torch.cat([self.positions, positions], dim=1)
        slots = torch.arange(self.owners.shape[1], device=owners.device)
        new = slots[-owners.shape[1] :, None]
        seen = (self.owners[:, None] == SHARED) | (self.owners[:, None] == owners[:, :, None])
        seen &= (slots <= new) & (owners != HIDDEN)[:, :, None]
        itself = slots == new  # padding sees itself: without any token its attention would not be a number
        full = self._mask(seen | itself)
        if not self.window:
            return full
        near = positions[:, :, None] - self.positions[:, None] < self.window
        sliding = self._mask((seen & near) | itself)
        return {FULL: full, SLIDING: sliding} if self.has_layer_types else sliding

    def _mask(self, seen: torch.Tensor) -> torch.Tensor:
        lowest = torch.finfo(self.model.dtype).min
        return (~seen * lowest if self.is_eager else seen)[:, None]

    def shared_length(self, row: int) -> int:
        """The number of shared tokens of a row."""
        return int((self.owners[row] == SHARED).sum())

    def cut_shared(self, row: int, length: int) -> None:
        """Keep the first `length` shared tokens of a row."""
        slots = (self.owners[row] == SHARED).nonzero()[:, 0]
        self.owners[row, slots[length:]] = HIDDEN
