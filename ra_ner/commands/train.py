"""Train a QLoRA adapter on an RA-IT dataset with TRL's SFTTrainer."""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ..output_folder import LOCK, locked
from ..recipe import Recipe, RecipeParser, check_unpacked
from ..recipe_keys import CommandConfig, TrainConfig

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig

logger = logging.getLogger(__name__)


def make_parser(command: str = "train", description: str = __doc__) -> RecipeParser:
    from ..training.defaults import train_parser

    return train_parser(prog=f"ra-ner {command}", description=description)


def main(arguments: list[str]) -> None:
    run(*make_parser().parse_recipe(arguments))


def run(
    recipe: Recipe,
    config: TrainConfig,
    model_args: "ModelConfig",
    training_args: "SFTConfig",
    command: CommandConfig,
) -> None:
    """Train the adapter, and merge it with `--merge`; with `--dry_run` print what would be trained."""
    from ..training.trainer import check_output, plan, train

    check_unpacked(model_args.model_name_or_path)
    run_dir = Path(training_args.output_dir)
    check_output(run_dir)
    if command.dry_run:
        print(f"{plan(recipe, config, model_args, training_args)}\n\nA dry run: nothing was trained or written")
        return
    adapter = run_dir / "adapter"
    is_finished = config.merge and adapter.is_dir()
    if config.merge:
        from ..training.merge import check_merge, merge

        check_merge(training_args, is_finished, run_dir / "merged")
    with locked(run_dir / LOCK) if training_args.process_index == 0 else nullcontext():
        if is_finished:
            logger.info("%s is finished, so nothing is trained; remove it to train again", adapter)
        else:
            train(recipe, config, model_args, training_args)
            logger.info("adapter: %s\nlogs: tensorboard --logdir %s", adapter, run_dir / "logs")
            logger.info("next: ra-ner evaluate %s", recipe.path)
        if config.merge:
            merge(adapter, run_dir / "merged")
