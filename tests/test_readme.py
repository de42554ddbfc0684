"""The README's code fences, run as they stand, in order."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from conftest import REPO
from test_commands import run
from test_recipes import hub_of_the_paper  # noqa: F401 - a fixture

from ra_ner.commands.models import QUICKSTART
from ra_ner.recipe import load_recipe

README = (REPO / "README.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w*\n(.*?)```", README, re.DOTALL))
COMMANDS = [
    line.partition("#")[0].strip()
    for fence in re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    for line in fence.splitlines()
]
SET_UP = ["make quickstart", "make test", "source .venv/bin/activate"]
OF_ONES_OWN = [command for command in COMMANDS if "my.yaml" in command]
EXTRACT = [command for command in COMMANDS if command.startswith("ra-ner extract")]
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
OF_THE_QUICKSTART = [command for command in COMMANDS if "quickstart.yaml" in command]


def test_every_command_is_run_by_a_test():
    assert [*SET_UP, *EXTRACT, *OF_THE_QUICKSTART, "pip install .", *OF_ONES_OWN] == COMMANDS
    assert len(OF_ONES_OWN) == len(OF_THE_QUICKSTART) == 3 and len(EXTRACT) == len(PYTHON) == 1
    assert FILES.keys() == {"my.conll", "my.yaml", "notes.txt"}


def test_six_lines_and_three_commands_train_on_data_of_ones_own(hub_of_the_paper, tmp_path):  # noqa: F811
    for name in ("my.conll", "my.yaml"):
        (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    (tmp_path / "my_test.conll").write_text("Grace B-person\nleft O\nParis B-city\n. O\n", encoding="utf-8")
    for command in OF_ONES_OWN:
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stderr
        assert not re.search("Traceback|Warning", done.stderr), done.stderr
    assert "| my | mine | zero_shot |" in done.stdout
    assert sorted(path.name for path in (tmp_path / "outputs" / "my").iterdir() if path.is_dir()) == [
        "adapter",
        "checkpoints",
        "dataset",
        "evaluation",
        "logs",
    ]


@pytest.mark.parametrize("command", OF_THE_QUICKSTART)
def test_the_scripts_run_on_the_shrunk_recipe(finished, command):
    done = run(command, finished)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    if "evaluate_ner" in command:
        assert "| quickstart_vanilla | sample_en | zero_shot |" in done.stdout


def test_entities_are_extracted_by_the_command_and_from_python(here):
    Path("notes.txt").write_text(FILES["notes.txt"], encoding="utf-8")
    done = run(EXTRACT[0], here)
    assert done.returncode == 0 and json.loads(done.stdout)["text"] == FILES["notes.txt"], done.stderr
    assert "Warning" not in done.stderr
    exec(PYTHON[0], {})


def plan_of(target: str, folder: Path) -> str:
    """What make would run in a fresh clone."""
    subprocess.run(["git", "clone", "-q", REPO, folder / "clone"], check=True)
    (folder / "clone" / "Makefile").write_bytes((REPO / "Makefile").read_bytes())
    return subprocess.run(["make", "-n", target], cwd=folder / "clone", capture_output=True, text=True).stdout


def test_make_chinese_encoder_unpacks_every_model_of_its_recipe(tmp_path):
    plan = plan_of("chinese-encoder", tmp_path)
    unpacked = {name for names in re.findall(r"ra-ner models(.*)", plan) for name in names.split() or QUICKSTART}
    recipe = load_recipe("quickstart_zh")
    needed = [recipe.sections["train"]["model_name_or_path"], recipe.dataset.encoder_for("zh")]
    assert {Path(model).name for model in needed} <= unpacked
    assert "requirements-chinese-encoder.txt" in plan


def test_make_quickstart_runs_the_same_commands(tmp_path):
    plan = plan_of("quickstart", tmp_path)
    for command in OF_THE_QUICKSTART:
        words = command.replace("accelerate launch", "accelerate launch --num_processes 1")
        assert words in plan
        if "evaluate" not in command:
            assert words.replace("quickstart.yaml", "quickstart_vanilla.yaml") in plan


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (REPO / target).exists(), target
