"""Open named entity recognition with RA-IT, retrieval augmented instruction tuning (arXiv 2406.17305)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .extractor import Entity, Extractor

__version__ = "0.1.0"
__all__ = ["Entity", "Extractor"]


def __getattr__(name: str) -> object:
    """Import the Extractor when it is first used: the command line must not wait for torch."""
    if name in __all__:
        from . import extractor

        return getattr(extractor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
