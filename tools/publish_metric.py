"""Publish metrics/entity_f1 as a Space on the Hub, so that `evaluate.load("me/entity_f1")` works anywhere.

    python tools/publish_metric.py me
    python tools/publish_metric.py me --hub_private_repo false

The metric's Space can't import this library, so the scorer's files are copied beside it.
"""

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

from huggingface_hub import HfApi

sys.path.insert(0, str(Path(__file__).parents[1]))

from ra_ner.errors import clear_errors
from ra_ner.hub.repos import hub_errors

ROOT = Path(__file__).parents[1]
METRIC = ROOT / "metrics" / "entity_f1"
SCORER = ("prompting/answers.py", "prompting/alignment.py", "tasks/scoring.py")  # in ra_ner/


def publish(namespace: str, private: bool = True) -> str:
    """Upload the metric and its scorer in one commit.

    Args:
        namespace: user or organization that owns the Space.
        private: whether a new Space is private.

    Returns:
        The id of the commit.

    Raises:
        UserError: the Space can't be created or written.
    """
    repo_id = f"{namespace}/{METRIC.name}"
    with tempfile.TemporaryDirectory() as temporary, hub_errors(f"Space {repo_id!r} can't be published"):
        folder = shutil.copytree(METRIC, Path(temporary) / "space", ignore=shutil.ignore_patterns("__pycache__"))
        for name in SCORER:
            shutil.copy(ROOT / "ra_ner" / name, folder)
        wrapper = folder / f"{METRIC.name}.py"
        code = re.sub(r"from ra_ner\.\w+\.", "from .", wrapper.read_text(encoding="utf-8"))
        wrapper.write_text(code, encoding="utf-8")
        api = HfApi()
        api.create_repo(repo_id, repo_type="space", space_sdk="gradio", private=private, exist_ok=True)
        message = "The metric and its scorer"
        return api.upload_folder(repo_id=repo_id, repo_type="space", folder_path=folder, commit_message=message).oid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("namespace", help="user or organization that owns the Space")
    parser.add_argument(
        "--hub_private_repo", choices=["true", "false"], default="true", help="make a new Space private (default: true)"
    )
    arguments = parser.parse_args()
    commit = publish(arguments.namespace, private=arguments.hub_private_repo == "true")
    print(f"published {arguments.namespace}/{METRIC.name} at {commit}")


if __name__ == "__main__":
    with clear_errors():
        main()
