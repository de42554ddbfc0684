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


# Help on keys of TRL and transformers that mean something else, or more, here.
HELP = {
    "attn_implementation": "Attention back end: sdpa, eager, flash_attention_2 or a kernel of the Hub; see "
    "docs/training.md. Default: sdpa, or eager for bases without it.",
    "auto_find_batch_size": "Refused: the steps would train fewer rows.",
    "chat_template_path": "Jinja file of the chat template; the files of TRL and of docs/chat_templates.md are found "
    "by name. Default: the training version of the tokenizer's own template.",
    "deepspeed": "Refused: choose a file of accelerate_configs/.",
    "dtype": "Number format of the base; of a 4-bit base, that of the computation.",
    "eos_token": "Token that ends a turn. Default: the tokenizer's own.",
    "eval_packing": "Refused; see docs/training.md.",
    "fsdp": "Refused: choose a file of accelerate_configs/.",
    "hub_always_push": "Has no effect: the adapter is pushed once, at the end.",
    "hub_model_id": "Repo to push to: namespace/name.",
    "hub_private_repo": "Make the repo private, if it is new.",
    "hub_revision": "Refused: the adapter is pushed to the main branch.",
    "hub_strategy": "Refused, except its default: the adapter is pushed once, at the end.",
    "hub_token": "Refused: log in with `hf auth login`, or set the environment variable HF_TOKEN.",
    "max_length": "Most tokens of a row. Rows are never truncated: see on_overflow.",
    "model_name_or_path": "Base model: a folder or a Hub id.",
    "output_dir": "Where to write. Default: outputs/<recipe>.",
    "packing": "Refused; see docs/training.md.",
    "padding_free": "Put the rows of a batch one after another instead of padding them; see docs/training.md.",
    "push_to_hub": "Push the adapter to the Hub at the end, with its card.",
    "report_to": "Where to log: tensorboard, wandb, trackio or none.",
    "resume_from_checkpoint": "last or true: the newest complete checkpoint, if there is one. Or a checkpoint's "
    "folder, or a Hub id; see docs/training.md.",
    "truncation_mode": "Has no effect: rows are never truncated.",
}


def train_parser(**kwargs: str) -> RecipeParser:
    """The parser of section `train`, with the defaults above.

    Args:
        kwargs: of `RecipeParser`, such as `prog` and `description`.
    """
    import torch
    from trl import ModelConfig, SFTConfig

    parser = RecipeParser("train", TrainConfig, ModelConfig, SFTConfig, CommandConfig, help_texts=HELP, **kwargs)
    # transformers refuses bfloat16 without a GPU unless `use_cpu` is set, so the default follows the machine.
    parser.set_defaults(use_cpu=not torch.accelerator.is_available(), **DEFAULTS)
    return parser
