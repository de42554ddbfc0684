"""Attention back ends on a CUDA device, for the attention of the paper's base and of today's."""

from importlib.util import find_spec

import pytest
import torch

from perf.random_model import random_config
from ra_ner.errors import UserError
from ra_ner.training.attention import compare

GPU = torch.device("cuda")


@pytest.fixture(params=["llama-3-8b", "qwen3-8b"])
def config(request, byte_tokenizer):
    return random_config(request.param, tokenizer=byte_tokenizer)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sdpa_trains_as_eager_attention_does(config, dtype):
    largest = compare(config, "sdpa", dtype, GPU)
    print(f"\n{config.model_type}, {dtype}: {largest:.3%}")
    assert largest < 0.05


def test_flash_attention_trains_as_eager_attention_does_or_is_refused(config):
    if find_spec("flash_attn"):
        assert compare(config, "flash_attention_2", torch.bfloat16, GPU) < 0.05
    else:
        with pytest.raises(UserError, match="needs a GPU and its package, and one of them is missing"):
            compare(config, "flash_attention_2", torch.bfloat16, GPU)
