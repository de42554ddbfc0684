"""The flags that say which Extractor a command uses, shared by the commands that have one."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ..errors import UserError
from ..recipe_keys import Strategy
from . import CommandParser

if TYPE_CHECKING:
    from ..extractor import Extractor


def add_flags(parser: CommandParser) -> None:
    """The model, its examples, and how it is run here or by a server."""
    add_model_flags(parser)
    parser.add_argument("--labels", type=Path, help="JSON file that maps labels to the words that they are asked by")
    model = parser.add_argument_group("how the model is run")
    model.add_argument(
        "--engine",
        choices=["transformers", "server"],
        default="transformers",
        help="what runs the model (default: transformers)",
    )
    model.add_argument("--server_url", help="OpenAI-compatible server, such as http://localhost:8000/v1")
    model.add_argument("--server_model", help="what the server calls the model; default: --model")
    model.add_argument(
        "--server_api",
        choices=["completions", "chat"],
        default="completions",
        help="completions: sends token ids. chat: sends messages, for vendors (default: completions)",
    )
    model.add_argument("--server_concurrency", type=int, default=64, help="requests at a time (default: 64)")
    model.add_argument("--server_timeout", type=float, default=120.0, help="seconds for a whole answer (default: 120)")
    model.add_argument(
        "--server_thinking_tokens",
        type=int,
        default=0,
        help="most tokens that a reasoning model may think, beside those of its answer (default: 0)",
    )
    model.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16", "float16"],
        default="auto",
        help="number format (default: float32 on a CPU, else bfloat16)",
    )
    model.add_argument("--load_in_4bit", action="store_true", help="load the model in 4 bits")
    model.add_argument("--max_new_tokens", type=int, default=256, help="most tokens of an answer (default: 256)")
    model.add_argument("--copy_only", action="store_true", help="constrain answers to lists of substrings of the text")
    model.add_argument("--batch_size", type=int, help="texts asked about at once (default: 4, with a server 64)")


def add_model_flags(parser: CommandParser) -> None:
    """The model and its examples."""
    parser.add_argument("--model", required=True, help="adapter, merged model or instruct model: a folder or a Hub id")
    parser.add_argument(
        "--language",
        choices=["en", "zh"],
        default="en",
        help="language of a model that was not trained with this package (default: en)",
    )
    examples = parser.add_argument_group("in-context examples")
    examples.add_argument("--examples", help="corpus to choose them from, see docs/corpora.md")
    examples.add_argument(
        "--strategy",
        choices=["on_demand", *get_args(Strategy)],
        default="on_demand",
        help="how they are chosen, see docs/retrieval.md (default: on_demand)",
    )
    examples.add_argument("--k", type=int, default=2, help="examples for each text (default: 2)")
    examples.add_argument(
        "--encoder", help="sentence-transformers model that finds them (default: that of the adapter, else gte-large)"
    )


def check_examples(options: Namespace) -> None:
    """
    Raises:
        UserError: the strategy needs examples, and there are none.
    """
    if options.strategy not in ("on_demand", "none") and not options.examples:
        raise UserError(f"--strategy {options.strategy} needs --examples: the corpus that the examples are taken from")


def load_extractor(options: Namespace, **further) -> "Extractor":
    """The Extractor that the flags describe.

    Raises:
        UserError: as `Extractor.from_pretrained`, or the file of labels has another form.
    """
    from ..corpora.label_words import read_words

    labels = read_words(options.labels) if options.labels else {}  # before the slow imports
    from ..extractor import Extractor
    from ..inference.engine import ServerOptions

    server = None
    if options.engine == "server":
        server = ServerOptions(
            options.server_url,
            options.server_api,
            concurrency=options.server_concurrency,
            timeout=options.server_timeout,
            thinking_tokens=options.server_thinking_tokens,
        )
    keys = (
        "language",
        "encoder",
        "strategy",
        "k",
        "dtype",
        "load_in_4bit",
        "max_new_tokens",
        "batch_size",
        "copy_only",
    )
    return Extractor.from_pretrained(
        options.model,
        options.examples or (),
        labels=labels,
        server=server,
        server_name=options.server_model,
        **{key: getattr(options, key) for key in keys},
        **further,
    )
