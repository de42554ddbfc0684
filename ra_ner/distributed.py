"""The process's place in a distributed launch."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate import PartialState


def distributed_state() -> "PartialState":
    """The state of this process under `accelerate launch` or `torchrun`, or of a single process."""
    import torch
    from accelerate import PartialState

    has_joined = torch.distributed.is_available() and torch.distributed.is_initialized()
    # Without `cpu`, accelerate 1.15 treats each of several CPU processes as the only one.
    state = PartialState(cpu=not torch.accelerator.is_available())
    if not has_joined:
        # If one process ended now, because its arguments are wrong, another one that is still connecting would fail.
        state.wait_for_everyone()
    return state


def leave_group() -> None:
    """End this process's part of a distributed launch, before the interpreter goes.

    Threads of a process group that is still there then can abort the process (gloo, torch 2.13).
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
