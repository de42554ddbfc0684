"""Loading models and adapters whose weights all fit: a part without its weights would be scored with random ones."""

import re
from collections.abc import Callable, Collection
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, PreTrainedModel

from ..errors import UserError
from ..foreign_files import read_json

SHOWN = 3  # names of weights in a message
LARGEST_RANK = 8192  # of an adapter

# What the libraries raise on broken files and configs.
_FAILURES = (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, SafetensorError)


def load_model(folder: Path, **options: object) -> PreTrainedModel:
    """Load a causal language model from safetensors.

    Args:
        options: of `from_pretrained`.

    Raises:
        UserError: files are missing or broken, or weights do not fit the config.
    """
    return load_with(AutoModelForCausalLM.from_pretrained, folder, use_safetensors=True, **options)


def load_with(from_pretrained: Callable, folder: Path | str, **options: object) -> PreTrainedModel:
    """Load a model by a function such as `AutoModelForCausalLM.from_pretrained`.

    Raises:
        UserError: as `load_model`.
    """
    try:
        model, found = from_pretrained(folder, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    except _FAILURES as error:
        raise UserError(f"model {folder} can't be loaded: {error}") from None
    # Other parts, such as the image encoder of a larger model, may be left out; another layer of a known part may not.
    parts = {_part(name) for name in model.state_dict()}
    extra = [name for name in found["unexpected_keys"] if _part(name) in parts]
    _check(f"model {folder}", found["missing_keys"], extra, [name for name, *_ in found["mismatched_keys"]])
    return model


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Put an adapter on a model.

    Raises:
        UserError: files are missing or broken, or weights do not fit the model.
    """
    check_ranks(folder)
    try:
        with_adapter = PeftModel.from_pretrained(model, folder, use_safetensors=True)
        found = with_adapter.load_adapter(folder, "default", use_safetensors=True)  # again: it tells what did not fit
    except _FAILURES as error:
        names = re.findall(r"size mismatch for (\S+):", str(error))
        _check(f"adapter {folder}", (), (), [name.replace(".default.", ".") for name in names])
        raise UserError(f"adapter {folder} can't be loaded: {error}") from None
    _check(f"adapter {folder}", found.missing_keys, found.unexpected_keys, ())
    return with_adapter


def check_adapter(model: PeftModel, folder: Path) -> None:
    """Check that the weights in a folder are those of a checkpoint of the model, before they are loaded.

    Raises:
        UserError: some are missing, belong to another model, or have another shape.
    """
    ours = {name: weight.shape for name, weight in get_peft_model_state_dict(model).items()}
    theirs = _shapes(folder)
    other = [name for name in ours.keys() & theirs.keys() if theirs[name] != ours[name]]
    _check(f"adapter {folder}", ours.keys() - theirs.keys(), theirs.keys() - ours.keys(), other)


def check_ranks(folder: Path) -> None:
    """Check that the weights of an adapter have a rank of its config: memory is taken for the config's.

    The weights of a mixture's experts stand one below another.

    Raises:
        UserError: they have not, or a file can't be read.
    """
    config = read_json(folder / "adapter_config.json")
    pattern = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else [None])]
    if not all(isinstance(rank, int) and 0 < rank <= LARGEST_RANK for rank in ranks):
        raise UserError(f"adapter {folder}: each rank in adapter_config.json must be a number up to {LARGEST_RANK}")
    shapes = {name: shape for name, shape in _shapes(folder).items() if "lora_A" in name}
    other = [name for name, shape in shapes.items() if all(shape[0] % rank for rank in ranks)]
    _check(f"adapter {folder}", (), (), other)


def _shapes(folder: Path) -> dict[str, torch.Size]:
    try:
        with safe_open(folder / "adapter_model.safetensors", "pt") as file:
            return {name: torch.Size(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(f"adapter {folder} can't be loaded: {error}") from None


def _part(name: str) -> str:
    """The name of a weight without the number of its layer."""
    return re.sub(r"\d+", "*", name)


def _check(what: str, missing: Collection[str], extra: Collection[str], mismatched: Collection[str]) -> None:
    faults = {"are missing": missing, "belong to another model": extra, "have another shape": mismatched}
    reasons = [f"{len(names)} {fault} ({_shown(names)})" for fault, names in faults.items() if names]
    if reasons:
        raise UserError(
            f"{what}: its weights do not fit: {', '.join(reasons)}; download or save it again, with the config and the "
            "base that it was trained with"
        )


def _shown(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
