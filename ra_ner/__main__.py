"""python -m ra_ner study GRID: build, train and evaluate every cell of a grid, and report on all."""

import argparse
import signal
import sys
from typing import NoReturn

from .errors import UserError, clear_errors


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see --help)")


def make_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m ra_ner", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    study = commands.add_parser("study", help=__doc__.split(": ")[1], description=__doc__, allow_abbrev=False)
    study.add_argument("grid", help="grid file, such as recipes/experiments/strategies.yaml")
    study.add_argument("--set", nargs="+", default=[], metavar="SECTION.KEY=VALUE", help="keys that all cells take")
    study.add_argument(
        "--estimate", action="store_true", help="show the cells and what they would cost on an H100, and run nothing"
    )
    study.add_argument(
        "--launch",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="OPTION",
        help="options of `accelerate launch` for training; comes last, as it takes all that follows",
    )
    return parser


def main(args: list[str] | None = None) -> int:
    """Run a command and return its exit status: 1 if a cell failed."""
    arguments = make_parser().parse_args(args)
    from .study.grid import load_grid

    grid = load_grid(arguments.grid, arguments.set)
    if arguments.estimate:
        from .study.cost import estimate

        print(estimate(grid))
        return 0
    from .study.run import run

    return 1 if run(grid, arguments.launch) else 0


if __name__ == "__main__":
    sys.argv[0] = "ra_ner"  # errors begin with it
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # as Ctrl-C: what runs is stopped too
    try:
        with clear_errors():
            sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
