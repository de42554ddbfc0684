"""Bad input ends in one line and a non-zero exit status, never in a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """Something that the user can put right. The message is one line: what, why, and the way out."""


@contextmanager
def clear_errors() -> Iterator[None]:
    """Print a `UserError` as one line and exit with status 2. Any other error keeps its traceback: it is a bug."""
    try:
        yield
    except UserError as error:
        print(f"{Path(sys.argv[0]).name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
