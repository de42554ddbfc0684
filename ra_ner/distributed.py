"""This process among those of one launch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate import PartialState


def distributed_state() -> "PartialState":
    """The process's place among those that `accelerate launch` or `torchrun` started; alone otherwise."""
    import torch
    from accelerate import PartialState

    # Without being told, accelerate 1.15 takes each of several processes on CPUs for the only one.
    return PartialState(cpu=not torch.accelerator.is_available())
