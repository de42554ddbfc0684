"""Merge the adapter that a recipe has trained into its base model, and check the merged model against it.

Every key of `ra-ner train` is accepted; only these change something here.
"""

import argparse
from pathlib import Path

from ..errors import UserError
from ..output_folder import LOCK, locked
from ..recipe import RecipeParser
from . import train

HELP = {
    "output_dir": "The folder of the training run; the merged model goes to its folder `merged`. "
    "Default: outputs/<recipe>.",
    "use_cpu": "Merge on the CPU, for example if the GPU is too small.",
}


def make_parser() -> RecipeParser:
    parser = train.make_parser("merge", __doc__)
    for action in parser._actions:
        if action.dest not in ("help", "recipe", "dry_run", "verbose"):
            action.help = HELP.get(action.dest, argparse.SUPPRESS)
    return parser


def main(arguments: list[str]) -> None:
    recipe, _, _, training_args, command = make_parser().parse_recipe(arguments)
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
        merge(adapter, run_dir / "merged")
