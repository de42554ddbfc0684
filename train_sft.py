# Copyright 2026 The RA-NER authors. Licensed under the Apache License, Version 2.0.
"""
Train a QLoRA adapter on an RA-IT dataset with TRL's SFTTrainer.

    python train_sft.py recipes/quickstart.yaml --show_batch   # a row, lengths, steps and memory; trains nothing
    accelerate launch train_sft.py recipes/quickstart.yaml
    accelerate launch train_sft.py recipes/quickstart.yaml --learning_rate 1e-4 --output_dir /tmp/run
    python train_sft.py recipes/quickstart.yaml --merge
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ra_ner.errors import clear_errors
from ra_ner.recipe import Recipe, RecipeParser, TrainConfig

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig


def main(recipe: Recipe, config: TrainConfig, model_args: "ModelConfig", training_args: "SFTConfig") -> None:
    from ra_ner.training.trainer import train

    if config.show_batch:
        train(recipe, config, model_args, training_args)
        return
    run_dir = Path(training_args.output_dir)
    adapter = run_dir / "adapter"
    is_finished = config.merge and adapter.is_dir()
    if config.merge:
        from ra_ner.training.merge import check_merge, merge

        check_merge(training_args, is_finished)
    if is_finished:
        print(f"{adapter} is finished, so nothing is trained; remove it to train again")
    else:
        train(recipe, config, model_args, training_args)
        if training_args.process_index == 0:
            print(f"{adapter}: adapter, tokenizer and chat template")
    if config.merge:
        merge(adapter, run_dir / "merged", recipe, model_args.load_in_4bit)


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
