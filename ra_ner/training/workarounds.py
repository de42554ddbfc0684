"""What TRL and bitsandbytes do wrong, or leave out, and our training needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import trl.trainer.sft_trainer
import trl.trainer.utils
from bitsandbytes.nn import Linear4bit
from transformers import AutoModelForCausalLM, PreTrainedModel

from ..inference.weights import load_with


def keep_weights_trainable(model: PreTrainedModel) -> None:
    """Keep 4-bit layers on a CPU from packing their weights for inference.

    On CPUs with AVX512-BF16, bitsandbytes 0.50.2 packs the weights of a `Linear4bit` in its first forward pass in eval
    mode and never unpacks them. The packed product has no gradient, so all training after the first evaluation would
    be wrong. No upstream issue is known; can go once `Linear4bit.train()` unpacks.
    """
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


@contextmanager
def trained_positions_only() -> Iterator[None]:
    """Within this context TRL computes logits on a CPU only where a token is trained, as it does on GPUs.

    Without Triton, trl 1.16 computes them at every position, for devices that compile each shape anew. A CPU does not:
    with one token in ten trained, a step of SmolLM2 takes 1.8 times as long. Can go once `add_fused_lm_head` does so
    itself.
    """
    use_triton = trl.trainer.utils._use_triton
    trl.trainer.utils._use_triton = lambda device: device.type == "cpu" or use_triton(device)
    try:
        yield
    finally:
        trl.trainer.utils._use_triton = use_triton


@contextmanager
def checked_base() -> Iterator[None]:
    """Within this context TRL loads a base as evaluation does: as a language model, and only if its weights fit.

    TRL takes the class that its config names. Of Qwen3.5 that is another one, with an image encoder, whose adapter does
    not fit the language model. And transformers 5.23 only warns of weights that do not fit: a part without its weights
    would keep random ones. Can go once it can be told to raise.
    """
    load = trl.trainer.sft_trainer.create_model_from_path
    as_language_model = partial(load, architecture=AutoModelForCausalLM)
    trl.trainer.sft_trainer.create_model_from_path = partial(load_with, as_language_model)
    try:
        yield
    finally:
        trl.trainer.sft_trainer.create_model_from_path = load
