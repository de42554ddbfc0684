"""Checks of the keys of section train that transformers and TRL have, before anything is loaded."""

from trl import ModelConfig, SFTConfig

from ..errors import UserError
from ..recipe import Recipe

_ABOVE_ZERO = (
    "learning_rate",
    "num_train_epochs",
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
)


def check(recipe: Recipe, model_args: ModelConfig, args: SFTConfig) -> None:
    """
    Raises:
        UserError: a key is missing, is not supported here, or would train nothing.
    """
    where = f"{recipe.path}: section train"
    if not model_args.model_name_or_path:
        raise UserError(f"{where} has no `model_name_or_path`; name a Hub id or a folder")
    if not model_args.use_peft:
        raise UserError(f"{where}: only adapters can be trained; write `use_peft: true`")
    if args.packing or args.eval_packing:
        raise UserError(
            f"{where}: delete `packing`; rows are checked and counted one by one, and a step would hold more of the "
            "vanilla twin's shorter rows. `padding_free: true` trains without padding"
        )
    if args.hub_strategy != "every_save":
        raise UserError(f"{where}: delete `hub_strategy`; the adapter is pushed once, at the end")
    if args.hub_revision:
        raise UserError(f"{where}: delete `hub_revision`; the adapter is pushed to the main branch")
    if args.auto_find_batch_size:
        raise UserError(
            f"{where}: delete `auto_find_batch_size`; a step would train fewer rows. If memory runs out, lower "
            "`per_device_train_batch_size` and raise `gradient_accumulation_steps`"
        )
    for key in ("attn_implementation", "dtype", "revision", "use_safetensors"):
        if key in (args.model_init_kwargs or {}):
            raise UserError(
                f"{where}: delete `{key}` from `model_init_kwargs`, where it has no effect: the section has the keys "
                "`attn_implementation`, `dtype` and `model_revision`"
            )
    for key in _ABOVE_ZERO:
        if not getattr(args, key) > 0:
            raise UserError(f"{where}: `{key}: {getattr(args, key)}`: a number above 0 is needed")
    if args.max_steps == 0:
        raise UserError(f"{where}: `max_steps: 0` would train nothing; delete it, or name the number of steps")
