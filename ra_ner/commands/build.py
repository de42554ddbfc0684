"""Build an RA-IT dataset: corpus -> examples -> conversations -> a folder laid out like a Hub dataset repo."""

import logging
from contextlib import nullcontext
from pathlib import Path

from ..errors import UserError
from ..output_folder import beside, check, locked
from ..recipe import Recipe, RecipeParser, check_unpacked
from ..recipe_keys import CommandConfig, DatasetConfig, OutputConfig, PushDatasetConfig

logger = logging.getLogger(__name__)


def make_parser() -> RecipeParser:
    from ..corpora.formats import form_names

    forms = f"Forms of a corpus, see docs/corpora.md: {form_names()}."
    configs = (DatasetConfig, PushDatasetConfig, OutputConfig, CommandConfig)
    return RecipeParser("dataset", *configs, prog="ra-ner build", description=__doc__, epilog=forms)


def main(arguments: list[str]) -> None:
    run(*make_parser().parse_recipe(arguments))


def run(
    recipe: Recipe, config: DatasetConfig, push: PushDatasetConfig, output: OutputConfig, command: CommandConfig
) -> Path | None:
    """Build the dataset, push it if asked to, and return its folder; None after a dry run, and on other ranks."""
    from ..corpora.sources import load_recipe_corpus
    from ..dataset.build import build, push_to_hub, recipe_tokenizer, summary, write
    from ..distributed import distributed_state
    from ..hub import repos
    from ..tasks import task_of_recipe

    if not config.corpus:
        raise UserError(f"{recipe.path}: section dataset has no `corpus`; name a file or a Hub id")
    check_unpacked(recipe.sections["train"].get("model_name_or_path"), config.encoder_for(recipe.language))
    is_main, folder = distributed_state().is_main_process, Path(output.output_dir)
    check(folder, "dataset")
    if push.push_to_hub and is_main and not command.dry_run:
        repos.prepare_push("dataset", push.hub_dataset_id, push.hub_private_repo, "hub_dataset_id")
        repos.check_configs(push.hub_dataset_id, recipe.name, ".parquet")
    with locked(beside(folder)) if is_main and not command.dry_run else nullcontext():
        corpus = load_recipe_corpus(config, recipe.language, task_of_recipe(recipe, config.wording).reading)
        dataset = build(corpus, recipe.language, recipe.name, config, recipe_tokenizer(recipe, config))
        if not is_main:
            return None
        if command.dry_run:
            print(f"{summary(dataset)}\n\nA dry run: nothing was written to {folder}")
            return None
        write(dataset, folder)
        for split, rows in dataset.facts["rows"].items():
            logger.info("%s: %d rows, %d questions", split, rows, dataset.facts["questions"][split])
        logger.info("dataset: %s (its README.md says how it was made)", folder)
        if push.push_to_hub:
            commit = push_to_hub(folder, recipe.name, push.hub_dataset_id)
            logger.info("pushed to %s at %s", push.hub_dataset_id, commit)
    logger.info("next: accelerate launch -m ra_ner train %s", recipe.path)
    return folder
