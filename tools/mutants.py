"""Mutation testing over a list: each mutant is a small fault in an important line, and its tests must notice it.

    python tools/mutants.py                 # all mutants of tools/mutants.toml; `make mutants`
    python tools/mutants.py interval coin   # those whose name contains one of the words

A mutant that survives, or whose line is no longer there, is printed, and the exit status is 1.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

REPO = Path(__file__).parents[1]
PARTS = ["ra_ner", "tests", "data", "recipes", "accelerate_configs", "metrics", "pyproject.toml", "README.md"]


def run_tests(folder: Path, tests: list[str]) -> bool:
    """Whether the tests pass in a copy of the repository."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", "-p", "no:warnings", *tests]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=600)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main(words: list[str]) -> int:
    mutants = tomllib.loads((REPO / "tools" / "mutants.toml").read_text(encoding="utf-8"))["mutant"]
    chosen = [mutant for mutant in mutants if not words or any(word in mutant["name"] for word in words)]
    alive = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in PARTS:
            copy = shutil.copytree if (REPO / part).is_dir() else shutil.copyfile
            copy(REPO / part, folder / part)
        for mutant in chosen:
            file = folder / mutant["file"]
            code = file.read_text(encoding="utf-8")
            if code.count(mutant["old"]) != 1:
                end = f"its line stands {code.count(mutant['old'])} times in {mutant['file']}"
            else:
                file.write_text(code.replace(mutant["old"], mutant["new"]), encoding="utf-8")
                end = "survived" if run_tests(folder, mutant["tests"]) else "killed"
                file.write_text(code, encoding="utf-8")
            alive += [mutant["name"]] * (end != "killed")
            print(f"{mutant['name']}: {end}", flush=True)
    print(f"\n{len(chosen) - len(alive)} of {len(chosen)} mutants were killed")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
