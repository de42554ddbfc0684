"""Try a model in a browser: zero-shot beside in-context examples, on this machine."""

import logging

from ..errors import UserError
from . import CommandParser
from .extractor_flags import add_flags, check_examples, load_extractor

logger = logging.getLogger(__name__)


def make_parser() -> CommandParser:
    parser = CommandParser("demo", __doc__)
    add_flags(parser)
    parser.add_argument("--port", type=int, default=7860, help="port of http://127.0.0.1 (default: 7860)")
    return parser


def main(arguments: list[str]) -> None:
    options = make_parser().parse_args(arguments)
    check_examples(options)
    try:
        from ..demo.page import SERVED, make_page
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise UserError("Gradio is not installed: pip install '.[demo]' in a clone of RA-NER") from None
    from ..demo.answers import Demo

    page = make_page(Demo(load_extractor(options)))
    try:
        page.launch(server_name="127.0.0.1", server_port=options.port, quiet=True, prevent_thread_lock=True, **SERVED)
    except (OSError, OverflowError) as error:  # used by others, or no number of a port
        raise UserError(f"port {options.port} can't be used ({error}); name another --port") from None
    logger.info(f"the demo runs at {page.local_url} until you press Ctrl+C; see docs/demo.md for its API")
    page.block_thread()
