"""Errors that a user can correct: one line and a non-zero exit status instead of a traceback."""

import difflib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from .redaction import find_secret, redact

TRACEBACK = "RA_NER_TRACEBACK"  # environment variable: also show where an error came from
LONGEST = 2000  # characters of a message: names and keys of foreign files may have millions


class UserError(Exception):
    """An error that the user can correct. The message is one line: what, why, and what to do. It shows no secrets."""

    def __init__(self, message: str):
        super().__init__(redact(message))


class RequestError(UserError):
    """One request to a model failed because of its content; others may succeed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the nearest known one, or else all."""
    near = difflib.get_close_matches(name, known := list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"


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
    """Print an error as one line without secrets, and exit: with status 2 after a `UserError`, else with 1.

    The environment variable RA_NER_TRACEBACK shows the traceback, too.
    """
    try:
        yield
        sys.stdout.flush()
        return
    except UserError as error:
        message, status = str(error), 2
    except BrokenPipeError:  # what read our output, such as `head`, has ended
        message, status = "", 128 + signal.SIGPIPE
    except Exception as error:
        message, status = _in_words(error), 1
    shown = f"ra-ner: error: {one_line(redact(message))}\n" if message else ""
    if message and os.environ.get(TRACEBACK):
        shown = redact(traceback.format_exc()) + shown
    with suppress(OSError):
        sys.stderr.write(shown)
        sys.stderr.flush()
    _end_stdout()
    sys.exit(status)


def one_line(text: str) -> str:
    """A text in one line of bounded length, without characters that control a terminal."""
    line = " ".join(text[: 2 * LONGEST].split())
    cut = line if len(line) <= LONGEST and len(text) <= 2 * LONGEST else f"{line[:LONGEST]} ..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def _in_words(error: Exception) -> str:
    """What an exception that is no `UserError` says to a user."""
    if is_disk_full(error):
        return "the disk is full; free some space and run this again"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU
        return f"there is not enough memory ({error}); lower the batch size or the length"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return f"unexpected {type(error).__name__}: {error}; set {TRACEBACK}=1 to see where it came from"


def _end_stdout() -> None:
    """Drop what can't be written: the interpreter would try again, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
