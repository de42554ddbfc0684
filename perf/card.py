"""The card that is measured, its clock and memory, and lines of figures that name it."""

import json
import time

import torch

IS_CPU = not torch.cuda.is_available()
CARD = "none" if IS_CPU else torch.cuda.get_device_name()


def show(figure: str, value: float | None = None, **more: object) -> None:
    line = {"figure": figure, "value": value, **more, "card": CARD, "torch": torch.__version__}
    rounded = {key: float(f"{v:.4g}") if isinstance(v, float) else v for key, v in line.items()}
    print(json.dumps({key: v for key, v in rounded.items() if v is not None}), flush=True)


def now() -> float:
    """The time at which the GPU has done what it was given."""
    if not IS_CPU:
        torch.cuda.synchronize()
    return time.perf_counter()


def memory() -> int:
    return 0 if IS_CPU else torch.cuda.memory_allocated()


def reset_peak() -> None:
    if not IS_CPU:
        torch.cuda.reset_peak_memory_stats()


def peak() -> int:
    """The most bytes that were held at once since `reset_peak`."""
    return 0 if IS_CPU else torch.cuda.max_memory_allocated()
