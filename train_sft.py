# Copyright 2026 The RA-NER authors. Licensed under the Apache License, Version 2.0.
"""
Train a QLoRA adapter on an RA-IT dataset with TRL's SFTTrainer.

    accelerate launch train_sft.py recipes/quickstart.yaml
    accelerate launch train_sft.py recipes/quickstart.yaml --learning_rate 1e-4 --output_dir /tmp/run
"""

from typing import TYPE_CHECKING

from ra_ner.errors import clear_errors
from ra_ner.recipe import Recipe, RecipeParser, TrainConfig

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig


def main(recipe: Recipe, config: TrainConfig, model_args: "ModelConfig", training_args: "SFTConfig") -> None:
    from ra_ner.training import train

    adapter = train(recipe, config, model_args, training_args)
    if training_args.process_index == 0:
        print(f"{adapter}: adapter, tokenizer and chat template")


def make_parser() -> RecipeParser:
    import torch
    from trl import ModelConfig, SFTConfig

    parser = RecipeParser("train", TrainConfig, ModelConfig, SFTConfig, description=__doc__.strip().split("\n")[0])
    # bfloat16 without a GPU is refused unless `use_cpu` is set, so the default follows the machine.
    parser.set_defaults(use_cpu=not torch.accelerator.is_available(), assistant_only_loss=True, hub_private_repo=True)
    # Every trainable weight of an adapter is used in every step; an hour for the first process to prepare large data.
    parser.set_defaults(ddp_find_unused_parameters=False, ddp_timeout=3600, report_to="tensorboard")
    return parser


if __name__ == "__main__":
    with clear_errors():
        main(*make_parser().parse_recipe())
