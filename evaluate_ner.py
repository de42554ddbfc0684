# Copyright 2026 The RA-NER authors. Licensed under the Apache License, Version 2.0.
"""
Ask models for the entities of benchmarks, zero-shot and with examples, and report entity-level P, R and F1.

    python evaluate_ner.py recipes/quickstart.yaml
    python evaluate_ner.py recipes/quickstart.yaml --models adapter --settings zero_shot --limit 5

    accelerate launch evaluate_ner.py recipes/zh_10k.yaml      # each process asks its share

Killed and started again, it asks only what is missing.
"""

from pathlib import Path

from ra_ner.errors import clear_errors
from ra_ner.recipe import EvaluateConfig, OutputConfig, PushScoresConfig, Recipe, RecipeParser


def main(recipe: Recipe, config: EvaluateConfig, push: PushScoresConfig, output: OutputConfig) -> dict | None:
    """Evaluate, print the report, push it if asked to, and return the scores; None on other ranks than the main one."""
    from ra_ner.distributed import distributed_state
    from ra_ner.evaluation.run import evaluate, push_to_hub
    from ra_ner.hub import repos

    if push.push_to_hub and distributed_state().is_main_process:
        repos.prepare_push("model", push.hub_model_id, push.hub_private_repo, "hub_model_id")
        if push.hub_dataset_id:
            repos.prepare_push("dataset", push.hub_dataset_id, push.hub_private_repo, "hub_dataset_id")
    folder = Path(output.output_dir)
    scores = evaluate(recipe, config, folder)
    if scores is None:
        return None
    print((folder / "report.md").read_text(encoding="utf-8"))
    if push.push_to_hub:
        push_to_hub(folder, recipe, push.hub_model_id, push.hub_dataset_id)
    return scores


def make_parser() -> RecipeParser:
    return RecipeParser(
        "evaluate", EvaluateConfig, PushScoresConfig, OutputConfig, description=__doc__.strip().split("\n")[0]
    )


if __name__ == "__main__":
    with clear_errors():
        main(*make_parser().parse_recipe())
