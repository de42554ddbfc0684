"""Before training, an attention back end is tried on a small model of the base; a wrong one is one line."""

from types import SimpleNamespace

import pytest
import torch
from conftest import run_command
from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ra_ner.errors import UserError
from ra_ner.training import attention

CPU = torch.device("cpu")
BASES = {
    "grouped queries": {"architecture": "llama", "num_attention_heads": 8, "num_key_value_heads": 2},
    "a sliding window": {"architecture": "mistral", "num_key_value_heads": 2, "sliding_window": 4096},
    "experts": {"architecture": "qwen3_moe", "num_key_value_heads": 2, "head_dim": 32, "num_experts": 16},
    "layers of two kinds": {"architecture": "gemma3_text", "num_key_value_heads": 2, "head_dim": 32},
}


def base(architecture: str = "llama", **config: object):
    sizes = {"hidden_size": 128, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 32000}
    return AutoConfig.for_model(architecture, **sizes | config)


@pytest.fixture
def register():
    """Register a back end that changes what sdpa gets or gives."""
    names = []

    def register(name: str, forward, mask=sdpa_mask) -> str:
        AttentionInterface.register(name, forward)
        if mask:
            AttentionMaskInterface.register(name, mask)
        names.append(name)
        return name

    yield register
    for name in names:
        AttentionInterface._global_mapping.pop(name)
        AttentionMaskInterface._global_mapping.pop(name, None)


def forward_only(module, query, *args, **kwargs):
    """A back end whose backward pass fails, as one of Hub kernel flash-attn2 did for grouped queries."""

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, query):
            return query.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise RuntimeError("aten::sum is not available\nmore lines")

    return sdpa_attention_forward(module, Broken.apply(query), *args, **kwargs)


def no_gradient_of_keys(module, query, key, *args, **kwargs):
    return sdpa_attention_forward(module, query, key.detach(), *args, **kwargs)


def wrong_groups(module, query, key, value, *args, **kwargs):
    """Query heads take turns with the heads of keys, instead of sharing them in blocks."""
    repeats = query.shape[1] // key.shape[1]
    module = SimpleNamespace(is_causal=True, training=False)
    return sdpa_attention_forward(
        module, query, key.repeat(1, repeats, 1, 1), value.repeat(1, repeats, 1, 1), *args, **kwargs
    )


def window_of_one_more(*args, **kwargs):
    mask = sdpa_mask(*args, **kwargs)
    if mask is not None:
        mask[..., :-1] |= mask[..., 1:].clone()
    return mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("config", BASES.values(), ids=BASES)
def test_a_right_back_end_is_accepted(config, dtype, register):
    assert attention.compare(base(**config), "sdpa", dtype, CPU) < 0.05
    name = register("right", sdpa_attention_forward)
    assert attention.compare(base(**config), name, dtype, CPU, autocast=torch.bfloat16) < 0.05


@pytest.mark.parametrize("config", BASES.values(), ids=BASES)
def test_a_back_end_without_a_backward_pass_is_refused(config, register):
    name = register("forward_only", forward_only)
    with pytest.raises(UserError) as caught:
        attention.compare(base(**config), name, torch.bfloat16, CPU)
    assert str(caught.value) == (
        "`attn_implementation: forward_only` can't train this base here: aten::sum is not available; delete the "
        "key, or name another back end or another release of it"
    )


@pytest.mark.parametrize("config", BASES.values(), ids=BASES)
@pytest.mark.parametrize("forward", [no_gradient_of_keys, wrong_groups])
def test_wrong_values_and_wrong_gradients_are_refused(forward, config, register):
    name = register("wrong", forward)
    with pytest.raises(UserError, match=r"wrong` gives other values than eager attention: .* differs by \d"):
        attention.compare(base(**config), name, torch.bfloat16, CPU)


@pytest.mark.parametrize("case", ["a sliding window", "layers of two kinds"])
def test_a_back_end_that_ignores_the_sliding_window_or_misses_it_by_one_is_refused(case, register):
    causal = register("causal", sdpa_attention_forward, mask=None)
    longer = register("longer", sdpa_attention_forward, mask=window_of_one_more)
    for name in (causal, longer):
        with pytest.raises(UserError, match="gives other values"):
            attention.compare(base(**BASES[case]), name, torch.bfloat16, CPU)
    for name in (causal, longer):
        assert attention.compare(base(**BASES["grouped queries"]), name, torch.bfloat16, CPU) < 0.05


def test_training_goes_on_with_a_base_that_has_no_small_model(capsys):
    assert attention.compare(AutoConfig.for_model("mamba"), "sdpa", torch.float32, CPU) is None
    assert "is not checked: this base has no small model" in capsys.readouterr().out


def test_values_that_are_not_numbers_are_refused(register):
    def no_numbers(*args, **kwargs):
        output, weights = sdpa_attention_forward(*args, **kwargs)
        return output * float("nan"), weights

    with pytest.raises(UserError, match="differs by nan"):
        attention.compare(base(), register("no_numbers", no_numbers), torch.float32, CPU)


def test_flash_attention_without_its_package_is_refused_and_no_hub_kernel_takes_its_place(monkeypatch):
    for module in ("modeling_utils", "integrations.hub_kernels"):
        monkeypatch.setattr(f"transformers.{module}.is_kernels_available", lambda: True)
    monkeypatch.setattr("transformers.integrations.hub_kernels.get_kernel", lambda *a, **k: pytest.fail("was run"))
    with pytest.raises(UserError) as caught:
        attention.compare(base(), "flash_attention_2", torch.bfloat16, CPU)
    assert str(caught.value) == (
        "`attn_implementation: flash_attention_2` needs a GPU and its package, and one of them is missing: install it: "
        "`pip install flash-attn --no-build-isolation`, name the Hub kernel `kernels-community/flash-attn2`, whose "
        "code is then run, or delete the key"
    )


def test_a_back_end_that_the_base_replaces_by_another_is_refused():
    with pytest.raises(UserError, match="fa` can't be used with this base, and `kernels-community/.*` would take its"):
        attention.compare(base("granite_swa"), "kernels-community/flash-attn2:fa", torch.bfloat16, CPU)


def test_a_hub_kernel_without_the_package_kernels_is_refused(capsys):
    with pytest.raises(UserError, match="`kernels` is either not installed or .*; delete the key"):
        attention.compare(base(), "kernels-community/flash-attn2", torch.bfloat16, CPU)
    assert "runs code of that Hub repository" in capsys.readouterr().out


def test_a_hub_kernel_of_a_publisher_that_is_not_trusted_needs_the_recipe_s_word(here, tmp_path, monkeypatch):
    def get_kernel(name, allow_all_kernels, **kwargs):
        raise ValueError("fetched" if allow_all_kernels else "Set trust_remote_code=True to allow loading kernels.")

    monkeypatch.setattr("transformers.integrations.hub_kernels.is_kernels_available", lambda: True)
    monkeypatch.setattr("transformers.integrations.hub_kernels.get_kernel", get_kernel)
    flags = ["--attn_implementation", "someone/attention", "--output_dir", tmp_path]
    with pytest.raises(UserError, match="Set `model_init_kwargs: {allow_all_kernels: true}` to allow loading kernels"):
        run_command("train", "recipes/quickstart.yaml", *flags)
    with pytest.raises(UserError, match="fetched"):
        run_command("train", "recipes/quickstart.yaml", *flags, "--model_init_kwargs", '{"allow_all_kernels": true}')


def test_an_unknown_back_end_is_refused():
    with pytest.raises(
        UserError, match='Specified `attn_implementation="flash_attn"` is not supported.*; delete the key'
    ):
        attention.compare(base(), "flash_attn", torch.bfloat16, CPU)


def test_the_small_model_keeps_the_attention_of_the_base_and_is_cheap():
    config = attention.small_config(
        AutoConfig.for_model(
            "gemma3_text", hidden_size=2560, num_attention_heads=8, num_key_value_heads=4, head_dim=256
        )
    )
    assert (config.hidden_size, config.num_attention_heads, config.num_key_value_heads) == (2560, 8, 4)
    assert config.head_dim == 256 and config.layer_types == ["sliding_attention", "full_attention"]
    assert config.sliding_window < attention.TOKENS - attention.PADDING
    assert config.vocab_size * config.hidden_size < 1e6 and config.intermediate_size < 100


def test_the_random_numbers_of_the_training_stay_the_same():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    attention.compare(base(), "sdpa", torch.float32, CPU)
    assert torch.equal(torch.rand(3), expected)


def test_training_ends_before_the_base_is_loaded_and_a_dry_run_names_the_missing_gpu(here, tmp_path, register, capsys):
    name = register("forward_only", forward_only)
    flags = ["--attn_implementation", name, "--output_dir", tmp_path / "out"]
    with pytest.raises(UserError, match="forward_only` can't train this base here"):
        run_command("train", "recipes/quickstart.yaml", *flags)
    assert not (tmp_path / "out" / "checkpoints").exists()
    run_command("train", "recipes/quickstart.yaml", *flags, "--dry_run")
    assert "`attn_implementation: forward_only` is not checked, because there is no GPU here" in capsys.readouterr().out


def test_training_with_a_right_back_end_says_that_it_agrees(here, tmp_path, register, capsys):
    flags = ["--attn_implementation", register("right", sdpa_attention_forward), "--max_steps", "1"]
    run_command("train", "recipes/quickstart.yaml", *flags, "--output_dir", tmp_path)
    assert (
        "`attn_implementation: right` agrees with eager attention; the largest difference is 0"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("key", ["packing", "eval_packing"])
def test_packing_is_refused(here, tmp_path, key):
    with pytest.raises(UserError, match="delete `packing`.*`padding_free: true` trains without padding"):
        run_command("train", "recipes/quickstart.yaml", "--output_dir", tmp_path, f"--{key}", "true")
