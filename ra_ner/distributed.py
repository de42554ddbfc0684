"""The process's place in a distributed launch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate import PartialState


def distributed_state() -> "PartialState":
    """The state of this process under `accelerate launch` or `torchrun`, or of a single process."""
    import torch
    from accelerate import PartialState

    # Without `cpu`, accelerate 1.15 treats each of several CPU processes as the only one.
    return PartialState(cpu=not torch.accelerator.is_available())
