"""The package as a user installs it: a wheel in an empty environment, used from a folder of one's own."""

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import REPO
from packaging.requirements import Requirement

SCRIPTS = ("build_ra_dataset.py", "train_sft.py", "evaluate_ner.py")
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, REPO]
    subprocess.run(build, check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The `bin` of an environment that holds the wheel, and borrows its dependencies from this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel]
    subprocess.run(install, check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return folder / "bin"


@pytest.fixture
def own_folder(models, tmp_path) -> Path:
    """A folder outside of the clone with the models that the quickstart names, here tiny ones."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "smollm2-135m-instruct").symlink_to(models / "lm")
    (tmp_path / "models" / "all-minilm-l6-v2").symlink_to(models / "encoder")
    return tmp_path


def run(command: list, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_is_small_and_holds_all_that_ships(wheel):
    assert wheel.stat().st_size < 2_000_000
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = [f"resources/{path.relative_to(REPO)}" for path in (REPO / "recipes").rglob("*.yaml")]
    shipped += [f"resources/{path.relative_to(REPO)}" for path in (REPO / "accelerate_configs").glob("*.yaml")]
    shipped += [f"resources/{path.relative_to(REPO)}" for path in (REPO / "data" / "sample").rglob("*.*")]
    for ending in ("jinja", "css", "js"):
        shipped += [str(path.relative_to(REPO / "ra_ner")) for path in (REPO / "ra_ner").rglob(f"*.{ending}")]
    shipped += ["retrieval/stopwords_zh.txt"]
    assert not {f"ra_ner/{name}" for name in shipped} - names
    assert not [name for name in names if name.startswith(("tests/", "perf/"))]


def test_the_command_works_from_any_folder_with_built_in_recipes(installed, own_folder):
    assert str(installed.parent) in run([installed / "ra-ner", "--help"], own_folder)
    plan = run([installed / "ra-ner", "build", "quickstart", "--max_length", 9000, "--dry_run"], own_folder)
    assert "A dry run" in plan and not (own_folder / "outputs" / "quickstart").exists()
    run([installed / "ra-ner", "build", "quickstart", "--max_length", 9000], own_folder)
    plan = run(
        [installed / "python", "-m", "ra_ner", "train", "quickstart", "--max_length", 9000, "--dry_run"], own_folder
    )
    assert "⟦" in plan
    assert "unknown command" in subprocess.run([installed / "ra-ner", "biuld"], capture_output=True, text=True).stderr


def test_spacy_finds_the_component(installed, tmp_path):
    code = "import spacy; print(spacy.blank('en').get_factory_meta('ra_ner').default_config['style'])"
    assert run([installed / "python", "-c", code], tmp_path) == "ent\n"


def test_models_that_are_not_unpacked_are_named(installed, tmp_path):
    done = subprocess.run([installed / "ra-ner", "build", "quickstart", "--dry_run"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    message = (
        f"models/smollm2-135m-instruct does not exist (looked in {tmp_path}): unpack it with `ra-ner models smollm2"
    )
    assert message in done.stderr.decode() and done.stderr.count(b"\n") == 1


def test_the_scripts_work_by_absolute_path_from_another_folder(own_folder):
    for script, flags in zip(
        SCRIPTS, (["--max_length", 9000], ["--max_length", 9000, "--dry_run"], ["--dry_run"]), strict=True
    ):
        models = ["--models", "base"] if script == "evaluate_ner.py" else []
        run([sys.executable, REPO / script, REPO / "recipes" / "quickstart_vanilla.yaml", *flags, *models], own_folder)
    assert (own_folder / "outputs" / "quickstart_vanilla" / "dataset" / "README.md").is_file()


def script_dependencies(script: str) -> list[str]:
    """The dependencies of a script's PEP 723 header."""
    text = (REPO / script).read_text(encoding="utf-8")
    block = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", text, re.MULTILINE)[1]
    header = tomllib.loads("".join(line.removeprefix("#").removeprefix(" ") for line in block.splitlines(True)))
    assert header["requires-python"] == PROJECT["requires-python"]
    return header["dependencies"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_script_headers_have_the_projects_dependencies(script):
    assert script_dependencies(script) == PROJECT["dependencies"]


def test_the_versions_of_the_tests_are_within_the_ranges():
    lines = (REPO / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = {name: version for name, _, version in (line.partition("==") for line in lines if "==" in line)}
    ranges = {Requirement(line).name: Requirement(line).specifier for line in PROJECT["dependencies"]}
    assert pinned.keys() == ranges.keys()
    assert not [name for name, version in pinned.items() if version not in ranges[name]]


def test_every_library_that_is_imported_is_a_dependency():
    names = {Requirement(line).name.lower().replace("-", "_") for line in PROJECT["dependencies"]}
    names |= {Requirement(line).name for extra in PROJECT["optional-dependencies"].values() for line in extra}
    names |= {
        "yaml",
        "sklearn",
        "pyarrow",
        "gguf",
        "tokenizers",
    }  # PyYAML; scikit-learn; of datasets; of `ra-ner models`; of transformers
    for path in (REPO / "ra_ner").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            roots = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            roots += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for root in {name.split(".")[0] for name in roots} - set(sys.stdlib_module_names):
                assert root in names, f"{path}: {root}"
