"""Weights that do not fit are refused with their names, and are never scored as the model or the adapter."""

import pytest
import torch
from conftest import byte_level_tokenizer, save_tiny_model
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from ra_ner.errors import UserError
from ra_ner.inference.transformers import TransformersEngine

UP = "model.layers.1.mlp.up_proj.weight"
LORA = "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight"


@pytest.fixture
def base(tmp_path):
    save_tiny_model("llama", byte_level_tokenizer(), tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def adapter(base, tmp_path):
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(target_modules="all-linear"))
    model.save_pretrained(tmp_path / "adapter")
    byte_level_tokenizer().save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def rewrite(file, change) -> None:
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def without(name):
    return lambda weights: {key: value for key, value in weights.items() if key != name}


CHANGES = {
    "empty": (lambda weights: {}, r"\d+ are missing .*lora_A"),
    "foreign": (
        lambda weights: {key.replace("layers", "blocks"): value for key, value in weights.items()},
        r"are missing .*, \d+ belong to another model \(.*blocks",
    ),
    "fewer layers": (without(LORA), r"1 are missing \(base_model.model.model.layers.1.mlp.up_proj.lora_A"),
    "more layers": (
        lambda weights: weights | {LORA.replace("layers.1", "layers.2"): weights[LORA].clone()},
        r"1 belong to another model \(base_model.model.model.layers.2",
    ),
    "other shape": (
        lambda weights: weights | {LORA: torch.zeros(2, 2)},
        r"1 have another shape \(.*layers.1.mlp.up_proj.lora_A",
    ),
}


@pytest.mark.parametrize("change, message", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("load_in_4bit", [False, True])
def test_an_adapter_that_does_not_fit_is_refused_and_its_keys_are_named(base, adapter, change, message, load_in_4bit):
    TransformersEngine(base, adapter, load_in_4bit=load_in_4bit)
    rewrite(adapter / "adapter_model.safetensors", change)
    with pytest.raises(UserError, match=f"(?s)adapter.*{message}"):
        TransformersEngine(base, adapter, load_in_4bit=load_in_4bit)


def test_an_adapter_of_a_mixture_of_experts_fits(tmp_path):
    """The weights of its four experts stand one below another, those of two matrices in one tensor."""
    save_tiny_model("mixtral", byte_level_tokenizer(), tmp_path / "base", num_local_experts=4)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    get_peft_model(model, LoraConfig(target_modules="all-linear")).save_pretrained(tmp_path / "adapter")
    byte_level_tokenizer().save_pretrained(tmp_path / "adapter")
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {len(weight) for name, weight in weights.items() if "lora_A" in name} == {8, 4 * 8, 4 * 2 * 8}
    TransformersEngine(tmp_path / "base", tmp_path / "adapter")


def more_layers(weights):
    return weights | {UP.replace("layers.1", "layers.2"): weights[UP].clone()}


@pytest.mark.parametrize(
    "change, message",
    [
        (without(UP), r"1 are missing \(model.layers.1.mlp.up_proj.weight\)"),
        (more_layers, r"1 belong to another model \(model.layers.2.mlp.up_proj.weight\)"),
        (lambda weights: weights | {UP: torch.zeros(2, 2)}, rf"1 have another shape \({UP}\)"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_and_its_keys_are_named(base, change, message):
    rewrite(base / "model.safetensors", change)
    with pytest.raises(UserError, match=f"base: its weights do not fit: {message}"):
        TransformersEngine(base)


def test_a_part_that_the_language_model_does_not_have_may_stay_in_its_files(base):
    rewrite(base / "model.safetensors", lambda weights: weights | {"vision_tower.layers.0.weight": torch.zeros(2)})
    TransformersEngine(base)


@pytest.mark.parametrize("fault", ["missing", "truncated"])
def test_missing_and_truncated_shards_are_one_line(base, fault):
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(base, max_shard_size="100KB")
    (base / "model.safetensors").unlink()
    shard = min(base.glob("model-*.safetensors"))
    shard.unlink() if fault == "missing" else shard.write_bytes(shard.read_bytes()[:500])
    with pytest.raises(UserError, match=r"base can't be loaded: "):
        TransformersEngine(base)
