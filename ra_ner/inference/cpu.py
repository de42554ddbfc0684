"""Faster generation on a CPU: weights are laid out once as oneDNN multiplies by them, and not again in every step."""

import os

import torch
from torch import nn
from transformers import PreTrainedModel


def prepare_for_cpu(model: PreTrainedModel) -> None:
    """Change a model that is on a CPU, in place, so that it generates faster and says the same up to rounding.

    Its linear layers can't be trained or merged afterwards. Where the CPU or the build of torch lacks what it takes,
    they are left as they are, and so is a model on another device.
    """
    if model.device.type != "cpu":
        return
    # transformers repeats keys and values for grouped queries under a mask, as CUDA's kernels need; the CPU's does not.
    os.environ.setdefault("TRANSFORMERS_SDPA_FORCE_GQA", "1")
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and _is_supported(module.weight.dtype):
            model.set_submodule(name, _PackedLinear(module))


def _is_supported(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _PackedLinear(nn.Module):
    """A linear layer by the operators that torch.compile makes of one whose weights are frozen.

    They have no public name; torch is pinned. It can go once torch packs weights without being asked.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, "none", [], "")
