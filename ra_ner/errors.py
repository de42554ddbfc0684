"""Errors that a user can correct: one line and a non-zero exit status instead of a traceback."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .redaction import find_secret, redact


class UserError(Exception):
    """An error that the user can correct. The message is one line: what, why, and what to do. It shows no secrets."""

    def __init__(self, message: str):
        super().__init__(redact(message))


class RequestError(UserError):
    """One request to a model failed because of its content; others may succeed."""


def refuse_secrets(values: dict[str, object], where: str) -> None:
    """Refuse a configuration that holds a secret: it would leak into process lists, cards, reports and the Hub.

    Raises:
        UserError: it holds one. The message shows the key alone.
    """
    if key := find_secret(values):
        raise UserError(
            f"{where}`{key}` is not accepted, because it holds a secret: log in with `hf auth login`, or set the "
            "environment variable HF_TOKEN, or for a server OPENAI_API_KEY"
        )


def is_disk_full(error: BaseException) -> bool:
    """Whether the cause is a full disk, which safetensors and torch report in their own words."""
    chain: BaseException | None = error
    while chain is not None:
        if getattr(chain, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(chain):
            return True
        chain = chain.__cause__ or chain.__context__
    return False


@contextmanager
def clear_errors() -> Iterator[None]:
    """Print a `UserError` as one line and exit with status 2, a full disk with status 1.

    Any other exception is a bug and keeps its traceback.
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
