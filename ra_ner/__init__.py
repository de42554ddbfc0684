"""Open named entity recognition with RA-IT, retrieval augmented instruction tuning (arXiv 2406.17305)."""

__version__ = "0.1.0"
