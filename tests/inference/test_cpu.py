"""What is done to a model for a CPU: the logits stay those of the model as transformers loads it."""

import pytest
import torch
from conftest import byte_level_tokenizer, save_tiny_model
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM

from ra_ner.inference.cpu import prepare_for_cpu

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")

IDS = torch.arange(3 * 40).reshape(3, 40) % 250


@pytest.fixture(autouse=True)
def plain_attention(monkeypatch):
    """No earlier test has switched grouped queries on, and no later one finds them so."""
    monkeypatch.setenv("TRANSFORMERS_SDPA_FORCE_GQA", "0")
    monkeypatch.delenv("TRANSFORMERS_SDPA_FORCE_GQA")


@torch.inference_mode()
def logits(model, **arguments):
    return model(IDS, **arguments).logits.float()


# qwen2's linear layers have biases.
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma3_text"])
@pytest.mark.parametrize("dtype, rounding", [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_logits_differ_by_rounding_alone(tmp_path, architecture, dtype, rounding):
    save_tiny_model(architecture, byte_level_tokenizer(), tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    for module in model.modules():
        if getattr(module, "bias", None) is not None:
            nn.init.normal_(module.bias)  # zero in a new model
    mask = (torch.rand(3, 1, 40, 40, generator=torch.Generator().manual_seed(0)) < 0.5) | torch.eye(40).bool()
    expected = logits(model, attention_mask=mask)
    prepare_for_cpu(model)
    assert torch.allclose(logits(model, attention_mask=mask), expected, rtol=0, atol=rounding * expected.abs().max())


@pytest.mark.parametrize("architecture, unpacked", [("llama", 0), ("mixtral", 12)])
def test_an_adapter_keeps_its_effect(tmp_path, architecture, unpacked):
    """The matrices of an adapter on experts stay as they are."""
    save_tiny_model(architecture, byte_level_tokenizer(), tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    without = logits(base)
    torch.manual_seed(0)
    get_peft_model(base, LoraConfig(target_modules="all-linear", init_lora_weights=False)).save_pretrained(tmp_path)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), tmp_path).eval()
    expected = logits(model)
    prepare_for_cpu(model)
    assert sum(type(module) is nn.Linear for module in model.modules()) == unpacked
    assert torch.allclose(logits(model), expected, atol=1e-5)
    assert not torch.allclose(expected, without, atol=1e-2), "an adapter without effect proves nothing"
