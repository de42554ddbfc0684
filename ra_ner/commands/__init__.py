"""One module for each command of `ra-ner`: its flags, and what it does in order. The root scripts run the same."""

import argparse
from typing import NoReturn

from ..errors import UserError


class CommandParser(argparse.ArgumentParser):
    """The parser of a command without a recipe. Bad arguments are a `UserError`."""

    def __init__(self, command: str, description: str):
        super().__init__(prog=f"ra-ner {command}", description=description, allow_abbrev=False)
        self.add_argument("--verbose", action="store_true", help="show the messages of the libraries too")

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see --help)")
