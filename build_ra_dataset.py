# Copyright 2026 The RA-NER authors. Licensed under the Apache License, Version 2.0.
"""
Build an RA-IT dataset: corpus -> examples -> conversations -> a folder laid out like a Hub dataset repo.

    python build_ra_dataset.py recipes/quickstart.yaml
    python build_ra_dataset.py recipes/quickstart.yaml --size 40 --output_dir /tmp/small
    python build_ra_dataset.py recipes/quickstart.yaml --push_to_hub --hub_dataset_id me/ra-it
    accelerate launch build_ra_dataset.py recipes/zh_50k.yaml      # each process encodes its share of the texts
"""

from pathlib import Path

from ra_ner.errors import UserError, clear_errors
from ra_ner.recipe import DatasetConfig, OutputConfig, PushDatasetConfig, Recipe, RecipeParser


def main(recipe: Recipe, config: DatasetConfig, push: PushDatasetConfig, output: OutputConfig) -> Path | None:
    """Build the dataset, push it if asked to, and return its folder; None after a dry run, and on other ranks."""
    from ra_ner.corpora.sources import load_corpus
    from ra_ner.dataset.build import build, push_to_hub, summary, write
    from ra_ner.distributed import distributed_state
    from ra_ner.hub import repos
    from ra_ner.prompting.chat_template import load_training_tokenizer, training_length

    if not config.corpus:
        raise UserError(f"{recipe.path}: section dataset has no `corpus`; name a file or a Hub id")
    is_main = distributed_state().is_main_process
    if push.push_to_hub and is_main and not push.dry_run:
        repos.prepare_push("dataset", push.hub_dataset_id, push.hub_private_repo, "hub_dataset_id")
    source = load_corpus(config.corpus, recipe.language, revision=config.revision, config=config.corpus_config)
    count_tokens = None
    if config.max_length:
        keys = ("model_name_or_path", "model_revision", "chat_template_path")
        model, revision, template = (recipe.sections["train"].get(key) for key in keys)
        if not model:
            raise UserError(f"{recipe.path}: section dataset: `max_length` needs train.model_name_or_path")
        count_tokens = training_length(load_training_tokenizer(model, revision, template))
    dataset = build(source, recipe.language, recipe.name, config, count_tokens)
    if not is_main:
        return None
    folder = Path(output.output_dir)
    if push.dry_run:
        print(f"{summary(dataset)}\n\nA dry run: nothing was written to {folder}")
        return None
    write(dataset, folder)
    print(f"{folder}: {dataset.facts['rows']} rows, {dataset.facts['questions']} questions")
    if push.push_to_hub:
        commit = push_to_hub(folder, recipe.name, push.hub_dataset_id)
        print(f"pushed to {push.hub_dataset_id} at {commit}")
    return folder


def make_parser() -> RecipeParser:
    return RecipeParser(
        "dataset", DatasetConfig, PushDatasetConfig, OutputConfig, description=__doc__.strip().split("\n")[0]
    )


if __name__ == "__main__":
    with clear_errors():
        main(*make_parser().parse_recipe())
