"""Defaults of section `train`: the paper's settings as QLoRA, so that a recipe holds only what differs."""

from ..recipe import RecipeParser
from ..recipe_keys import CommandConfig, TrainConfig

# arXiv 2406.17305: LoRA of rank 8 on all linear layers, learning rate 5e-5 with a cosine schedule, 3 epochs, batches of
# 8, at most 2,048 tokens, validation every 100 steps. The 4-bit base (NF4, nested) is QLoRA's (arXiv 2305.14314).
DEFAULTS = {
    "dtype": "bfloat16",
    "use_peft": True,
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "use_bnb_nested_quant": True,
    "lora_r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "lora_target_modules": "all-linear",
    "max_length": 2048,
    "assistant_only_loss": True,
    "completion_only_loss": True,
    "learning_rate": 5e-5,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.03,
    "num_train_epochs": 3,
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 4,
    "gradient_accumulation_steps": 8,
    "activation_checkpointing": True,
    "logging_steps": 10,
    "eval_strategy": "steps",
    "eval_steps": 100,
    "save_strategy": "steps",
    "save_steps": 100,
    "save_total_limit": 2,
    "load_best_model_at_end": True,
    "metric_for_best_model": "eval_loss",
    "report_to": "tensorboard",
    "hub_private_repo": True,
    "ddp_find_unused_parameters": False,  # every trainable weight of an adapter is used in every step
    "ddp_timeout": 3600,  # the first process may prepare large data for an hour
}


def train_parser(description: str | None = None) -> RecipeParser:
    """The parser of section `train`, with the defaults above."""
    import torch
    from trl import ModelConfig, SFTConfig

    parser = RecipeParser("train", TrainConfig, ModelConfig, SFTConfig, CommandConfig, description=description)
    # transformers refuses bfloat16 without a GPU unless `use_cpu` is set, so the default follows the machine.
    parser.set_defaults(use_cpu=not torch.accelerator.is_available(), **DEFAULTS)
    return parser
