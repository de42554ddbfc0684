# Copyright 2026 The RA-NER authors. Licensed under the Apache License, Version 2.0.
"""
Build an RA-IT dataset: corpus -> examples -> conversations -> a folder laid out like a Hub dataset repo.

    python build_ra_dataset.py recipes/quickstart.yaml
    python build_ra_dataset.py recipes/quickstart.yaml --size 40 --output_dir /tmp/small
"""

from pathlib import Path

from ra_ner.errors import UserError, clear_errors
from ra_ner.recipe import DatasetConfig, OutputConfig, Recipe, RecipeParser


def main(recipe: Recipe, config: DatasetConfig, output: OutputConfig) -> Path:
    """Build the dataset and return its folder."""
    from ra_ner.corpus import read_corpus
    from ra_ner.ra_dataset import build, write

    if not config.corpus:
        raise UserError(f"{recipe.path}: section dataset has no `corpus`; name a JSON Lines file")
    passages = read_corpus(config.corpus)
    dataset = build(passages, recipe.language, recipe.name, config)
    folder = Path(output.output_dir)
    write(dataset, folder)
    print(f"{folder}: {dataset.facts['rows']} rows, {dataset.facts['questions']} questions")
    return folder


def make_parser() -> RecipeParser:
    return RecipeParser("dataset", DatasetConfig, OutputConfig, description=__doc__.strip().split("\n")[0])


if __name__ == "__main__":
    with clear_errors():
        main(*make_parser().parse_recipe())
