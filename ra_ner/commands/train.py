"""Train a QLoRA adapter on an RA-IT dataset with TRL's SFTTrainer."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ..recipe import CommandConfig, Recipe, RecipeParser, TrainConfig

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig

logger = logging.getLogger(__name__)


def make_parser(description: str = __doc__) -> RecipeParser:
    import torch
    from trl import ModelConfig, SFTConfig

    parser = RecipeParser("train", TrainConfig, ModelConfig, SFTConfig, CommandConfig, description=description)
    # bfloat16 without a GPU is refused unless `use_cpu` is set, so the default follows the machine.
    parser.set_defaults(use_cpu=not torch.accelerator.is_available(), assistant_only_loss=True, hub_private_repo=True)
    # Every trainable weight of an adapter is used in every step; an hour for the first process to prepare large data.
    parser.set_defaults(ddp_find_unused_parameters=False, ddp_timeout=3600, report_to="tensorboard")
    return parser


def main(arguments: list[str]) -> None:
    run(*make_parser().parse_recipe(arguments))


def run(
    recipe: Recipe,
    config: TrainConfig,
    model_args: "ModelConfig",
    training_args: "SFTConfig",
    command: CommandConfig,
) -> None:
    """Train the adapter, and merge it if asked to; with `dry_run`, show what would be trained."""
    from ..training.trainer import train

    if command.dry_run:
        train(recipe, config, model_args, training_args, dry_run=True)
        return
    run_dir = Path(training_args.output_dir)
    adapter = run_dir / "adapter"
    is_finished = config.merge and adapter.is_dir()
    if config.merge:
        from ..training.merge import check_merge, merge

        check_merge(training_args, is_finished)
    if is_finished:
        logger.info("%s is finished, so nothing is trained; remove it to train again", adapter)
    else:
        train(recipe, config, model_args, training_args)
        logger.info("%s: adapter, tokenizer and chat template", adapter)
    if config.merge:
        merge(adapter, run_dir / "merged", model_args.load_in_4bit)
