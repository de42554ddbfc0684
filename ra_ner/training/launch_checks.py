"""Checks that a recipe fits its distributed set-up, before a model is loaded. Each failure says what to do.

The launcher decides how many processes train and what they shard (accelerate_configs/); the recipe decides what is
trained. See docs/training.md.
"""

import os
import warnings

import datasets
import transformers
from accelerate.utils import DistributedType, parse_flag_from_env
from trl import ModelConfig, SFTConfig

from ..errors import UserError


def check(model_args: ModelConfig, args: SFTConfig) -> None:
    """Check the recipe against the launcher's set-up.

    Raises:
        UserError: they do not fit.
    """
    if args.fsdp or args.deepspeed:
        raise UserError(
            "`fsdp` and `deepspeed` are not keys of a recipe: delete them, and choose the set-up with "
            "`accelerate launch --config_file accelerate_configs/...`"
        )
    fsdp = parse_flag_from_env("ACCELERATE_USE_FSDP")
    zero_stage = args.deepspeed_plugin.zero_stage if args.deepspeed_plugin else 0
    state = args.distributed_state
    # accelerate 1.15 would silently train in each process with the whole model.
    if (fsdp or zero_stage) and state.distributed_type in (DistributedType.NO, DistributedType.MULTI_CPU):
        raise UserError(
            "FSDP and ZeRO shard a model over several GPUs, and this run has a single device: launch it with "
            "accelerate_configs/single_gpu.yaml or cpu.yaml"
        )
    if args.n_gpu > 1:
        raise UserError(
            f"one process sees {args.n_gpu} GPUs and can use one: use all with `accelerate launch --config_file "
            f"accelerate_configs/ddp.yaml --num_processes {args.n_gpu}`, or hide the others with CUDA_VISIBLE_DEVICES=0"
        )
    if state.num_processes > 1 and "device_map" in (args.model_init_kwargs or {}):
        raise UserError("`device_map` can't be used with several processes, which each load a model; delete it")
    if fsdp:
        _check_fsdp(args)
    if fsdp or zero_stage == 3:
        _check_sharded_quantisation(model_args)


def _check_fsdp(args: SFTConfig) -> None:
    if os.environ.get("FSDP_VERSION") != "2":
        raise UserError("only FSDP2 is supported: write `fsdp_version: 2`, see accelerate_configs/fsdp2.yaml")
    if os.environ.get("FSDP_STATE_DICT_TYPE") != "FULL_STATE_DICT":  # with another, save_model writes no adapter
        raise UserError("the adapter would not be saved: write `fsdp_state_dict_type: FULL_STATE_DICT`")
    if args.activation_checkpointing and parse_flag_from_env("FSDP_ACTIVATION_CHECKPOINTING"):
        raise UserError(
            "activations would be checkpointed twice: write `fsdp_activation_checkpointing: false`; the recipe's "
            "`activation_checkpointing` decides"
        )
    # "does not have a sharding strategy registered" in the first step (bitsandbytes 0.50, torch 2.13).
    optim = args.optim.value
    if {"8bit", "32bit", "bnb", "ademamix"} & set(optim.split("_")) and not optim.startswith("adamw_torch"):
        raise UserError(f"`optim: {optim}` can't be used under FSDP: write `adamw_torch_fused`")


def _check_sharded_quantisation(model_args: ModelConfig) -> None:
    """4-bit weights can be sharded only if they are packed in the number format of the other weights.

    Source: peft, docs/source/accelerate/fsdp.md and deepspeed.md. If they are packed as bytes, accelerate 1.15 keeps
    all of them on every GPU.
    """
    if model_args.load_in_8bit:
        raise UserError("8-bit weights can't be sharded over GPUs: write `load_in_4bit: true`, or use ddp.yaml")
    if model_args.load_in_4bit and model_args.bnb_4bit_quant_storage != model_args.dtype:
        raise UserError(
            f"the 4-bit base can't be sharded over GPUs: write `bnb_4bit_quant_storage: {model_args.dtype}`, equal "
            "to `dtype`, or use ddp.yaml"
        )


def quiet_other_processes(args: SFTConfig) -> None:
    """Show progress bars and warnings only in the main process of each machine."""
    if args.local_process_index == 0:
        return
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    args.log_level_replica = "error"  # the Trainer sets the verbosity again
    warnings.simplefilter("ignore")
