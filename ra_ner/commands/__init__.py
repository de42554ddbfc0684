"""One module for each command of `ra-ner`: its flags, and what it does in order. The root scripts run the same."""

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from ..errors import UserError, refuse_secrets


class CommandParser(argparse.ArgumentParser):
    """The parser of a command without a recipe. Hyphens in flags are underscores; bad arguments are a `UserError`."""

    def __init__(self, command: str, description: str):
        super().__init__(prog=f"ra-ner {command}", description=description, allow_abbrev=False)
        self.add_argument("--verbose", action="store_true", help="show the messages of the libraries too")

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see --help)")

    def parse_args(self, arguments: Sequence[str]) -> argparse.Namespace:
        options = super().parse_args([re.sub(r"^--[\w-]+", _with_underscores, word) for word in arguments])
        refuse_secrets(vars(options), "")
        return options


def _with_underscores(flag: re.Match) -> str:
    return f"--{flag[0][2:].replace('-', '_')}"
