"""Loading models and adapters whose weights all fit: a part without its weights would be scored with random ones."""

import re
from collections.abc import Collection
from pathlib import Path

from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel

from ..errors import UserError

SHOWN = 3  # names of weights in a message


def load_model(folder: Path, **options: object) -> PreTrainedModel:
    """Load a causal language model from safetensors.

    Args:
        options: of `from_pretrained`.

    Raises:
        UserError: files are missing or broken, or weights do not fit the config.
    """
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
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
    try:
        with_adapter = PeftModel.from_pretrained(model, folder, use_safetensors=True)
        found = with_adapter.load_adapter(folder, "default", use_safetensors=True)  # again: it tells what did not fit
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"adapter {folder} can't be loaded: {error}") from None
    _check(f"adapter {folder}", found.missing_keys, found.unexpected_keys, ())
    return with_adapter


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
