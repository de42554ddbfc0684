"""Build, train and evaluate every cell of a grid of recipes, and report on all."""

import signal
import sys
from argparse import REMAINDER, ArgumentTypeError

from . import CommandParser


def make_parser() -> CommandParser:
    parser = CommandParser("study", __doc__)
    parser.add_argument("grid", help="grid file, or the name of a built-in one, such as strategies")
    parser.add_argument("--set", nargs="+", default=[], metavar="SECTION.KEY=VALUE", help="set keys of all cells")
    parser.add_argument(
        "--dry_run", action="store_true", help="show the cells and what they would cost on an H100; run nothing"
    )
    parser.add_argument(
        "--jobs", type=_count, default=1, metavar="N", help="cells that run at the same time (default: 1)"
    )
    parser.add_argument(
        "--launch",
        nargs=REMAINDER,
        default=[],
        metavar="OPTION",
        help="options of `accelerate launch` for training; must come last, as it takes all words after it",
    )
    return parser


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise ArgumentTypeError(f"{word}: a whole number from 1 on is needed")
    return int(word)


def main(arguments: list[str]) -> int:
    """Run a study, or show its cost with `--dry_run`. Returns the exit status: 1 if a cell failed."""
    options = make_parser().parse_args(arguments)
    from ..study.grid import load_grid

    grid = load_grid(options.grid, options.set)
    if options.dry_run:
        from ..study.cost import estimate

        print(estimate(grid))
        return 0
    from ..study.run import run

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # stops running stages, as Ctrl-C does
    return 1 if run(grid, options.launch, options.jobs) else 0
