"""Faster generation on a CPU: weights are packed for oneDNN once instead of in every step."""

import os

import torch
from peft.tuners.lora.layer import ParamWrapper
from torch import nn
from transformers import PreTrainedModel


def prepare_for_cpu(model: PreTrainedModel) -> None:
    """Make a model on a CPU generate faster, in place. Its outputs stay the same up to rounding.

    Its linear layers can't be trained or merged afterwards. Models on other devices are left unchanged, and so are
    layers that the CPU or the build of torch can't pack.
    """
    if model.device.type != "cpu":
        return
    # transformers repeats the keys of grouped queries: CUDA kernels need it under a mask, the CPU kernel does not.
    os.environ.setdefault("TRANSFORMERS_SDPA_FORCE_GQA", "1")
    # The adapter of a mixture's experts is added to their weights in each step, so its own are needed as they are.
    kept = {part for module in model.modules() if isinstance(module, ParamWrapper) for part in module.modules()}
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and module not in kept and _is_supported(module.weight.dtype):
            model.set_submodule(name, _PackedLinear(module))


def _is_supported(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _PackedLinear(nn.Module):
    """A linear layer with packed weights, by the operators that torch.compile uses for frozen weights.

    They are not public, and may change with torch. Can go once torch packs weights itself.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, "none", [], "")
