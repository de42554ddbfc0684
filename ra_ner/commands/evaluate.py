"""Ask models for the entities of benchmarks, zero-shot and with examples, and report entity-level P, R and F1."""

import logging
from contextlib import nullcontext
from pathlib import Path

from ..output_folder import LOCK, check, locked
from ..recipe import Recipe, RecipeParser
from ..recipe_keys import CommandConfig, EvaluateConfig, OutputConfig, PushScoresConfig

logger = logging.getLogger(__name__)


def make_parser() -> RecipeParser:
    configs = (EvaluateConfig, PushScoresConfig, OutputConfig, CommandConfig)
    return RecipeParser("evaluate", *configs, prog="ra-ner evaluate", description=__doc__)


def main(arguments: list[str]) -> None:
    run(*make_parser().parse_recipe(arguments))


def run(
    recipe: Recipe, config: EvaluateConfig, push: PushScoresConfig, output: OutputConfig, command: CommandConfig
) -> dict | None:
    """Evaluate, print the report, push it if asked to, and return the scores; None on other ranks than the main one."""
    from ..distributed import distributed_state
    from ..evaluation.publish import push_to_hub
    from ..evaluation.run import evaluate, plan
    from ..hub import repos

    folder, is_main = Path(output.output_dir), distributed_state().is_main_process
    check(folder, "evaluation")
    if command.dry_run:
        print(f"{plan(recipe, config)}\n\nA dry run: nothing was asked or written")
        return None
    if push.push_to_hub and is_main:
        repos.prepare_push("model", push.hub_model_id, push.hub_private_repo, "hub_model_id")
        if push.hub_dataset_id:
            repos.prepare_push("dataset", push.hub_dataset_id, push.hub_private_repo, "hub_dataset_id")
            repos.check_configs(push.hub_dataset_id, recipe.name, ".jsonl")
    with locked(folder / LOCK) if is_main else nullcontext():
        scores = evaluate(recipe, config, folder)
        if scores is None:
            return None
        print((folder / "report.md").read_text(encoding="utf-8"))
        logger.info(
            "report: %s (for a browser); scores.json and predictions.jsonl are beside it", folder / "report.html"
        )
        if push.push_to_hub:
            push_to_hub(folder, recipe, push.hub_model_id, push.hub_dataset_id)
    return scores
