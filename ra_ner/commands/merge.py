"""Merge the adapter that a recipe has trained into its base model, and check the merged model against it."""

from pathlib import Path

from ..errors import UserError
from ..output_folder import LOCK, locked
from ..recipe import RecipeParser
from . import train


def make_parser() -> RecipeParser:
    return train.make_parser("merge", __doc__)


def main(arguments: list[str]) -> None:
    recipe, _, model_args, training_args, command = make_parser().parse_recipe(arguments)
    from ..training.merge import check_merge, merge

    run_dir = Path(training_args.output_dir)
    adapter = run_dir / "adapter"
    if not adapter.is_dir():
        raise UserError(f"{adapter} does not exist; train it first: ra-ner train {recipe.path}")
    check_merge(training_args, is_finished=True, output=run_dir / "merged")
    if command.dry_run:
        print(f"{adapter} would be merged into {run_dir / 'merged'}\n\nA dry run: nothing was written")
        return
    with locked(run_dir / LOCK):
        merge(adapter, run_dir / "merged", model_args.load_in_4bit)
