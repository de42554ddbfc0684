"""What a person reads while a command runs: our messages, one progress bar, and no notes of the libraries.

Modules log to `logging.getLogger(__name__)`. Messages go to stderr, results that were asked for (a report, the plan of
a dry run) to stdout. Under `accelerate launch` and `torchrun` only the main process of all machines speaks; warnings
and errors of the others are shown too.
"""

import logging
import os
import sys
import warnings

from .redaction import redact

logger = logging.getLogger("ra_ner")


class _Handler(logging.StreamHandler):
    """Writes to stderr, above the progress bar if there is one, and shows no secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))

    def emit(self, record: logging.LogRecord) -> None:
        if tqdm := sys.modules.get("tqdm"):
            tqdm.tqdm.write(self.format(record), file=sys.stderr)
        else:
            super().emit(record)


def set_up(verbose: bool = False) -> None:
    """Send our messages to stderr, and silence the libraries unless `verbose`. Call it before they are imported."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # what a terminal that is not UTF-8 can't show
    handler = _Handler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or os.environ.get("RANK", "0") == "0")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    if not verbose:
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("DATASETS_VERBOSITY", "error")
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")


def is_verbose() -> bool:
    return logger.isEnabledFor(logging.DEBUG)


def hide_loading_bars() -> None:
    """Have transformers load weights without a progress bar, unless `--verbose` was given."""
    import transformers

    if not is_verbose():
        transformers.utils.logging.disable_progress_bar()
