"""Bad input ends in one line and a non-zero exit status, never in a traceback."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something that the user can put right. The message is one line: what, why, and the way out."""


def is_disk_full(error: BaseException) -> bool:
    """Whether the disk is full; safetensors and torch say so in words of their own."""
    chain: BaseException | None = error
    while chain is not None:
        if getattr(chain, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(chain):
            return True
        chain = chain.__cause__ or chain.__context__
    return False


@contextmanager
def clear_errors() -> Iterator[None]:
    """Print a `UserError` as one line and exit with status 2, a full disk with status 1.

    Any other error keeps its traceback: it is a bug.
    """
    try:
        yield
    except UserError as error:
        message, status = str(error), 2
    except Exception as error:
        if not is_disk_full(error):
            raise
        message, status = "the disk is full; free some space and run this again", 1
    else:
        return
    print(f"ra-ner: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)
