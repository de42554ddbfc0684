"""Check of an attention back end before the first training step.

A back end that is missing, is replaced by another one, or has a wrong or no backward pass would otherwise show in the
first step, after the base is fetched and loaded, or not at all.
"""

import copy
import logging
from contextlib import nullcontext

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, PretrainedConfig, PreTrainedModel
from transformers.integrations.hub_kernels import allow_all_hub_kernels, is_kernel
from transformers.modeling_flash_attention_utils import FLASH_ATTENTION_COMPATIBILITY_MATRIX, FLASH_ATTN_KERNEL_FALLBACK
from trl import ModelConfig, SFTConfig

from ..errors import UserError
from .memory import dtype_of

logger = logging.getLogger(__name__)

BUILT_IN = (None, "eager", "sdpa")
TOKENS, PADDING, WINDOW, VOCABULARY, INNER = 160, 60, 48, 256, 64
# Relative errors against eager attention in float32. flash-attn's own tests allow two to three times the error of
# eager attention in the same number format. The floor is for float32, where eager attention has no error.
SLACK, FLOOR = 3, 0.01


def check(base_config: PretrainedConfig, model_args: ModelConfig, args: SFTConfig, dry_run: bool = False) -> None:
    """Check that the attention back end of a recipe trains the base as eager attention does, on the training device.

    `eager` and `sdpa`, which torch tests itself, are not tried: with a large base it would take seconds.

    Args:
        dry_run: skip the check, with a message, where there is no GPU.

    Raises:
        UserError: the back end is missing, is replaced by another one, fails, or gives other values.
    """
    name = model_args.attn_implementation
    if name in BUILT_IN:
        return
    if dry_run and args.device.type == "cpu":
        logger.info(f"`attn_implementation: {name}` is not checked, because there is no GPU here")
        return
    allow_all_kernels = bool((args.model_init_kwargs or {}).get("allow_all_kernels"))
    autocast = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
    largest = compare(base_config, name, dtype_of(base_config, model_args), args.device, autocast, allow_all_kernels)
    if largest is not None:
        logger.info(
            f"`attn_implementation: {name}` agrees with eager attention; the largest difference is {largest:.1%}"
        )


def compare(
    base_config: PretrainedConfig,
    name: str,
    dtype: torch.dtype,
    device: torch.device,
    autocast: torch.dtype | None = None,
    allow_all_kernels: bool = False,
) -> float | None:
    """Compare a back end with eager attention, in a forward and a backward pass of two layers with random weights.

    Args:
        autocast: the number format of mixed precision, None without it.
        allow_all_kernels: also run a Hub kernel of a publisher that `kernels` does not trust.

    Returns:
        the largest relative difference of logits and gradients, None if the architecture can't be tried.

    Raises:
        UserError: as `check`.
    """
    _refuse_replacement(name, MODEL_FOR_CAUSAL_LM_MAPPING.get(type(base_config.get_text_config()), None))
    try:
        config = small_config(base_config)
        reference = _run(config, "eager", torch.float32, device)
        rounding = _errors(_run(config, "eager", dtype, device, autocast), reference)
    except Exception as error:  # the fault is in the small model, not in the back end
        logger.info(f"`attn_implementation: {name}` is not checked: this base has no small model ({_line(error)})")
        return None
    if is_kernel(name):
        logger.info(f"`attn_implementation: {name}` runs code of that Hub repository")
    try:
        with allow_all_hub_kernels() if allow_all_kernels else nullcontext():
            errors = _errors(_run(config, name, dtype, device, autocast), reference)
    except UserError:
        raise
    except Exception as error:  # a back end may raise anything
        # transformers advises a key that would trust all code of the base; kernels have one of their own.
        why = _line(error).replace("trust_remote_code=True", "`model_init_kwargs: {allow_all_kernels: true}`")
        raise UserError(
            f"`attn_implementation: {name}` can't train this base here: {why}; delete the key, or name "
            "another back end or another release of it"
        ) from None
    worst = max(errors, key=lambda key: errors[key] - SLACK * rounding[key])
    if not errors[worst] <= SLACK * rounding[worst] + FLOOR:  # also refuses NaN
        raise UserError(
            f"`attn_implementation: {name}` gives other values than eager attention: {worst} differs by "
            f"{errors[worst]:.1%}, and rounding explains {rounding[worst]:.1%}; delete the key, or name another back "
            "end or another release of it"
        )
    return max(errors.values())


def small_config(base_config: PretrainedConfig) -> PretrainedConfig:
    """A cheap config whose attention is the base's: head sizes, query groups, positions, and one layer of each kind.

    A sliding window becomes shorter than the rows that it is tried on.
    """
    config = copy.deepcopy(base_config.get_text_config())
    kinds = list(dict.fromkeys(getattr(config, "layer_types", None) or ()))
    if len(kinds) == 1:
        kinds *= 2
    if kinds:
        config.layer_types = kinds
    config.num_hidden_layers = len(kinds) or 2
    sizes: dict[str, int] = {"vocab_size": VOCABULARY, "sliding_window": WINDOW, "num_kv_shared_layers": 0}
    sizes |= dict.fromkeys(("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size"), INNER)
    for key, size in sizes.items():
        if getattr(config, key, None):
            setattr(config, key, size)
    config.pad_token_id = config.bos_token_id = config.eos_token_id = None  # may be outside of the vocabulary
    return config


def _refuse_replacement(name: str, model_class: type[PreTrainedModel] | None) -> None:
    """Refuse a back end for which transformers 5.23 would fetch and run a Hub kernel that the recipe does not name."""
    for version, facts in FLASH_ATTENTION_COMPATIBILITY_MATRIX.items():
        if name == f"flash_attention_{version}" and not facts["general_availability_check"]():
            install = ": `pip install flash-attn --no-build-isolation`" if version == 2 else ""
            raise UserError(
                f"`attn_implementation: {name}` needs a GPU and its package, and one of them is missing: install it"
                f"{install}, name the Hub kernel `{FLASH_ATTN_KERNEL_FALLBACK[name]}`, whose code is then run, or "
                "delete the key"
            )
    known = getattr(model_class, "_compatible_flash_implementations", None)
    if known and "flash" in name and name not in known:
        raise UserError(_replaced(name, known[0]))


def _replaced(name: str, used: str) -> str:
    return (
        f"`attn_implementation: {name}` can't be used with this base, and `{used}` would take its place: write that "
        "instead, or delete the key"
    )


def _run(
    config: PretrainedConfig,
    implementation: str,
    dtype: torch.dtype,
    device: torch.device,
    autocast: torch.dtype | None = None,
) -> dict[str, torch.Tensor]:
    """A forward and a backward pass over a row without padding and a batch with padding, which take different code.

    Returns:
        logits, and the gradient of each weight matrix of the attention layers.

    Raises:
        UserError: the model does not use `implementation`.
    """
    config = copy.deepcopy(config)
    config._attn_implementation, config.dtype = implementation, dtype
    with torch.random.fork_rng(devices=[]):  # the training draws the same numbers with and without this check
        torch.default_generator.manual_seed(0)
        model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)  # `from_config` is a collective call under ZeRO-3
        ids = torch.randint(VOCABULARY, (2, TOKENS)).to(device)
    if config._attn_implementation != implementation:
        raise UserError(_replaced(implementation, config._attn_implementation))
    for parameter in model.parameters():  # not the buffers: `from_pretrained` keeps rotary frequencies in float32
        parameter.data = parameter.data.to(dtype)
    model.to(device).eval()  # without dropout
    mask = torch.ones_like(ids)
    mask[1, -PADDING:] = 0
    values, loss = {}, torch.zeros((), device=device)
    for what, rows in {"the logits": slice(1), "the logits of a padded batch": slice(2)}.items():
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            labels = ids[rows].masked_fill(mask[rows] == 0, -100)
            output = model(input_ids=ids[rows], attention_mask=mask[rows], labels=labels, use_cache=False)
        values[what] = output.logits.detach()[mask[rows].bool()].float()
        loss = loss + output.loss
    loss.backward()
    for name, weight in model.named_parameters():
        # Not biases: of keys, the gradient is nothing but rounding. Not routers: rounding makes them choose others.
        if weight.ndim == 2 and ("attn" in name or "attention" in name):
            gradient = weight.grad if weight.grad is not None else torch.zeros_like(weight)
            values[f"the gradient of {name}"] = gradient.float()
    return values


def _errors(values: dict[str, torch.Tensor], reference: dict[str, torch.Tensor]) -> dict[str, float]:
    """The norm of each difference from `reference`, relative to the norm of `reference`."""
    return {
        name: ((values[name] - expected).norm() / expected.norm().clamp_min(1e-12)).item()
        for name, expected in reference.items()
    }


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
