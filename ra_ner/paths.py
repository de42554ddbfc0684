"""Where the files that ship with the package are: recipes, accelerate configs and sample corpora."""

from pathlib import Path

PACKAGE = Path(__file__).parent
_IN_WHEEL = PACKAGE / "resources"  # in a clone the same folders stand at its root


def resource(name: str) -> Path:
    """The path of a shipped file or folder, such as `recipes/quickstart.yaml`."""
    return (_IN_WHEEL if _IN_WHEEL.is_dir() else PACKAGE.parent) / name
