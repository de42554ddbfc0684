"""Estimate of the memory that training needs on one device, from the base model's config. No weights are fetched.

    weights      Quantised linear layers: 4 bits for each weight and a scale for each block of 64, or 8 bits and a
                 scale for each row. All other parameters (embeddings, head, norms) in `dtype`.
    adapter      Value, gradient and AdamW's two moments of each trained parameter: in bfloat16 on a quantised base
                 (TRL casts them), else in float32.
    activations  What the forward pass keeps for the backward pass, and temporary tensors. For t tokens, in bytes, a
                 layer keeps t * (12 h + 4 a + 4 kv + 8 i). h is the hidden size, a and kv are the widths of queries
                 and keys, i is the intermediate size. The terms are two norms in float32, and in 16 bits the outputs
                 of the norms, queries, keys, values, the attention's output and four tensors of the MLP. Norms of
                 queries and keys add t * (4 a + 4 kv); an adapter in float32 adds copies of its inputs, t * 8 h.
                 With activation checkpointing each layer keeps only its input, t * 2 h, and one layer at a time is
                 computed again. Temporary tensors are three gradients of the MLP's width (t * 6 i), the last norm
                 (t * 6 h), the largest weight in 16 bits, and a tile of logits in 16 bits (trl 1.16: at most 4,096
                 tokens and 32,768 words; without Triton, as on a CPU, about twenty times that).

The formula holds for Llama-like decoders with LoRA on all linear layers, without dropout, and with attention that keeps
no t x t matrix. `RUNTIME` is added for the CUDA context and fragmentation.
"""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig
    from trl import ModelConfig

GB = 1e9
RUNTIME = GB
GPU_SIZES = (8, 12, 16, 24, 40, 48, 80, 141)
LOGITS_BYTES = 2 * 32768


@dataclass(frozen=True)
class Memory:
    """Bytes on one device, unsharded. `activations` is without activation checkpointing, `checkpointed` with it."""

    weights: int
    adapter: int
    activations: int
    checkpointed: int

    def total(self, checkpointing: bool) -> int:
        return self.weights + self.adapter + (self.checkpointed if checkpointing else self.activations) + RUNTIME


def gpu_for(total: int) -> int | None:
    """Memory in GB of the smallest common GPU that `total` bytes fill to at most 85%, None if none is large enough."""
    return next((size for size in GPU_SIZES if total <= 0.85 * size * GB), None)


def estimate(config: "PretrainedConfig", model_args: "ModelConfig", tokens: int, eval_tokens: int = 0) -> Memory | None:
    """Estimate the memory of a training step.

    Args:
        config: the config of the base model.
        model_args: quantisation, number format and adapter.
        tokens: tokens of a batch on one device, padding included.
        eval_tokens: the same in evaluation, which needs temporary tensors only.

    Returns:
        None for an architecture that the formula does not cover.
    """
    from accelerate import init_empty_weights
    from peft import get_peft_model
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING
    from transformers.quantizers import AutoHfQuantizer
    from trl import get_peft_config, get_quantization_config

    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING or not hasattr(config.get_text_config(), "intermediate_size"):
        return None
    config = copy.deepcopy(config)  # quantisation is recorded in it
    quantization = get_quantization_config(model_args)
    dtype = dtype_of(config, model_args)
    with init_empty_weights():
        # `from_config` would be a collective call under ZeRO-3.
        model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
    model.tie_weights()
    if quantization:
        quantizer = AutoHfQuantizer.from_config(quantization, pre_quantized=False)
        quantizer.preprocess_model(model=model, device_map=None)
        quantizer.postprocess_model(model)
    weights = sum(_bytes(p, model_args.use_bnb_nested_quant, dtype.itemsize) for p in model.parameters())
    largest = 2 * max((p.numel() for name, p in model.named_parameters() if "layers." in name), default=0)
    has_query_norm = any(name.endswith("q_norm") for name, _ in model.named_modules())
    with init_empty_weights():
        adapted = get_peft_model(model, get_peft_config(model_args))
    trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)

    text = config.get_text_config()
    hidden, inner, layers = text.hidden_size, text.intermediate_size, text.num_hidden_layers
    head = getattr(text, "head_dim", None) or hidden // text.num_attention_heads
    attention = head * text.num_attention_heads + head * text.num_key_value_heads
    layer = tokens * ((12 if quantization else 20) * hidden + (8 if has_query_norm else 4) * attention + 8 * inner)
    around = tokens * (6 * hidden + 6 * inner) + largest + LOGITS_BYTES * min(tokens, 4096)
    evaluation = eval_tokens * (6 * hidden + 8 * inner) + largest
    return Memory(
        weights=weights,
        adapter=4 * trained * (2 if quantization else 4),
        activations=max(layers * layer + around, evaluation),
        checkpointed=max(layers * tokens * 2 * hidden + layer + around, evaluation),
    )


def dtype_of(config: "PretrainedConfig", model_args: "ModelConfig") -> "torch.dtype":
    """The number format of the weights that are not quantised."""
    import torch

    return (config.dtype if model_args.dtype in ("auto", None) else getattr(torch, model_args.dtype)) or torch.float32


def _bytes(parameter, nested: bool, itemsize: int) -> int:
    """Bytes of a parameter on the device, with the scales of a quantised one (bitsandbytes 0.50)."""
    import bitsandbytes as bnb

    count = parameter.numel()
    if isinstance(parameter, bnb.nn.Params4bit):
        blocks = -(-count // 64)
        scales = blocks + 4 * -(-blocks // 256) if nested else 4 * blocks
        return -(-count // 2) + scales
    if isinstance(parameter, bnb.nn.Int8Params):
        return count + 4 * parameter.shape[0]
    return count * itemsize
