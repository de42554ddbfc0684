"""The READMEs' code fences, run as they stand, in order."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import REPO, run_quickstart
from test_commands import run
from test_recipes import hub_of_the_paper  # noqa: F401 - a fixture

from ra_ner.commands.models import PACKAGES, QUICKSTART
from ra_ner.recipe import load_recipe


@dataclass(frozen=True)
class Readme:
    """A README, the target of make and the recipe of its quickstart, and the commands that it has besides."""

    name: str
    target: str
    recipe: str
    corpus: str
    others: tuple[str, ...]

    @property
    def text(self) -> str:
        return (REPO / self.name).read_text(encoding="utf-8")

    @property
    def files(self) -> dict[str, str]:
        return dict(re.findall(r"<!-- file: (\S+) -->\n```\w*\n(.*?)```", self.text, re.DOTALL))

    @property
    def commands(self) -> list[str]:
        fences = re.findall(r"^```sh\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)
        return [line.partition("#")[0].strip() for fence in fences for line in fence.splitlines()]

    @property
    def of_the_quickstart(self) -> list[str]:
        return [command for command in self.commands if f"{self.recipe}.yaml" in command]

    @property
    def extract(self) -> list[str]:
        return [command for command in self.commands if command.startswith("ra-ner extract")]

    @property
    def python(self) -> list[str]:
        return re.findall(r"^```python\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)


OF_ONES_OWN = ("ra-ner build my.yaml", "accelerate launch -m ra_ner train my.yaml", "ra-ner evaluate my.yaml")
ENGLISH = Readme("README.md", "quickstart", "quickstart", "sample_en", ("pip install .", *OF_ONES_OWN))
CHINESE = Readme("README.zh.md", "quickstart-zh", "quickstart_zh", "sample_zh", ())
every_readme = pytest.mark.parametrize("readme", [ENGLISH, CHINESE], ids=lambda readme: readme.name)


@pytest.fixture(scope="module")
def workplace_of(workplace, finished):
    """The workplace after the whole path of a README's quickstart."""

    def run_once(readme: Readme) -> Path:
        if not (workplace / "outputs" / readme.recipe).exists():
            run_quickstart(workplace, readme.recipe)
        return workplace

    return run_once


@every_readme
def test_every_command_is_run_by_a_test(readme):
    set_up = [f"make {readme.target}", "make test", "source .venv/bin/activate"]
    assert [*set_up, *readme.extract, *readme.of_the_quickstart, *readme.others] == readme.commands
    assert len(readme.of_the_quickstart) == 3 and len(readme.extract) == len(readme.python) == 1


def test_six_lines_and_three_commands_train_on_data_of_ones_own(hub_of_the_paper, tmp_path):  # noqa: F811
    for name in ("my.conll", "my.yaml"):
        (tmp_path / name).write_text(ENGLISH.files[name], encoding="utf-8")
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


@every_readme
def test_the_scripts_run_on_the_shrunk_recipe(workplace_of, readme):
    for command in readme.of_the_quickstart:
        done = run(command, workplace_of(readme))
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    assert f"| {readme.recipe}_vanilla | {readme.corpus} | zero_shot |" in done.stdout


@every_readme
def test_entities_are_extracted_by_the_command_and_from_python(workplace_of, readme, monkeypatch):
    monkeypatch.chdir(workplace_of(readme))
    (command,), (code,) = readme.extract, readme.python
    notes = Path(command.split()[2])
    notes.write_text(readme.files[notes.name], encoding="utf-8")
    done = run(command, Path())
    assert done.returncode == 0 and json.loads(done.stdout)["text"] == readme.files[notes.name], done.stderr
    assert "Warning" not in done.stderr
    exec(code, {})


def plan_of(target: str, folder: Path) -> str:
    """What make would run in a fresh clone."""
    subprocess.run(["git", "clone", "-q", REPO, folder / "clone"], check=True)
    (folder / "clone" / "Makefile").write_bytes((REPO / "Makefile").read_bytes())
    return subprocess.run(["make", "-n", target], cwd=folder / "clone", capture_output=True, text=True).stdout


@every_readme
def test_make_runs_the_same_commands_on_models_that_it_unpacks(tmp_path, readme):
    plan = plan_of(readme.target, tmp_path)
    for command in readme.of_the_quickstart:
        words = command.replace("accelerate launch", "accelerate launch --num_processes 1")
        assert words in plan
        if "evaluate" not in command:
            assert words.replace(".yaml", "_vanilla.yaml") in plan
    unpacked = {name for names in re.findall(r"ra-ner models(.*)", plan) for name in names.split() or QUICKSTART}
    recipe = load_recipe(readme.recipe)
    needed = [recipe.sections["train"]["model_name_or_path"], recipe.dataset.encoder]
    assert {Path(model).name for model in needed} == unpacked
    installed = {
        line
        for name in re.findall(r"requirements-\S+", plan)
        for line in (REPO / name).read_text(encoding="utf-8").splitlines()
    }
    assert {package for model in unpacked for package in PACKAGES[model]} <= installed
