"""Publish the demo of a model as a Space of the Hub. The Space is private unless you say --public.

Model and encoder must be on the Hub. Examples are a file, a built-in sample or a dataset of the Hub, not a folder.
"""

import logging
import re
from pathlib import Path

from ..errors import UserError
from . import CommandParser
from .extractor_flags import add_model_flags

logger = logging.getLogger(__name__)

SETTINGS = ("language", "encoder", "strategy", "k")


def make_parser() -> CommandParser:
    parser = CommandParser("push_demo", __doc__)
    parser.add_argument("space", help="id of the Space, such as me/my-demo")
    add_model_flags(parser)
    parser.add_argument(
        "--revision", help="commit, tag or branch of the model (default: its newest commit when the Space starts)"
    )
    parser.add_argument("--public", action="store_true", help="let everyone see it")
    parser.add_argument("--dry_run", action="store_true", help="say what would be pushed, and push nothing")
    return parser


def main(arguments: list[str]) -> None:
    options = make_parser().parse_args(arguments)
    if Path(options.model).is_dir():
        raise UserError(f"{options.model} is a folder on this machine: push it to the Hub, and name its id")
    if options.encoder and Path(options.encoder).is_dir():
        raise UserError(f"{options.encoder} is a folder on this machine: name an encoder on the Hub")
    file = Path(options.examples) if options.examples and Path(options.examples).is_file() else None
    from ..corpora.sources import BUILT_IN

    is_name = options.examples in BUILT_IN or re.fullmatch(r"[\w.-]+/[\w.-]+", options.examples or "")
    if options.examples and not file and (not is_name or Path(options.examples).exists()):
        raise UserError(f"{options.examples} is neither a file nor the id of a Hub dataset")
    settings = {key: getattr(options, key) for key in SETTINGS}
    settings |= {"name": options.model, "revision": options.revision, "examples": options.examples or ()}
    visible = "public" if options.public else "private"
    if options.dry_run:
        what = f", and {file}" if file else ""
        print(f"a {visible} Space {options.space} with the package, a demo of {options.model}{what}")
        print("\nA dry run: nothing was pushed")
        return
    from ..demo.space import push_space

    push_space(options.space, settings, file, private=not options.public)
    url = f"https://huggingface.co/spaces/{options.space}"
    logger.info(f"pushed {url}; choose its hardware (ZeroGPU or a GPU) there")
    logger.info("if the model or the examples are private, add a token that reads them as secret HF_TOKEN there")
