"""`python -m ra_ner COMMAND ...`, the same as `ra-ner COMMAND ...`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
