"""The rooms of the package: imports run one way, and nothing that a command does not need is imported early."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO

PACKAGE = REPO / "ra_ner"
# Each room may import from itself and from the rooms before it.
ROOMS = [
    ["redaction"],
    ["errors", "paths", "terminal", "atomic_files", "distributed", "markdown", "passage"],
    ["foreign_files"],
    ["recipe_keys"],
    ["recipe", "output_folder"],
    ["prompting"],
    ["hub"],
    ["corpora"],
    ["tasks"],
    ["retrieval"],
    ["dataset"],
    ["inference"],
    ["extraction"],
    ["extractor"],
    ["bulk", "spacy_component", "demo"],
    ["training", "evaluation"],
    ["study"],
    ["embedded_models"],
    ["commands"],
    ["cli"],
]
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name not in ("__init__.py", "__main__.py")]


def imported(path: Path) -> set[tuple[str, ...]]:
    """The modules of ra_ner that a module imports, anywhere in its code, as names below the package."""
    here = path.relative_to(PACKAGE).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level + 1] + tuple((node.module or "").split(".") if node.module else ())
            for alias in node.names:
                name = (*base, alias.name)
                is_module = PACKAGE.joinpath(*name).with_suffix(".py").is_file() or PACKAGE.joinpath(*name).is_dir()
                found.add(name if is_module else base)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not [name for name in names if name and name.split(".")[0] == "ra_ner"], "imports are relative"
    return {name for name in found if name}  # `from .. import __version__` imports no room


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_from_lower_rooms_alone(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    for name in imported(path):
        other = name[0]
        assert other == own or FLOOR[other] < FLOOR[own], (
            f"{own} imports {'.'.join(name)}, which stands above or beside"
        )


def test_no_module_of_a_room_imports_another_in_a_circle():
    graph = {path.relative_to(PACKAGE).with_suffix("").parts: imported(path) for path in MODULES}
    done: set[tuple[str, ...]] = set()

    def visit(name: tuple[str, ...], trail: list[tuple[str, ...]]) -> None:
        assert name not in trail, f"circle: {' -> '.join('.'.join(step) for step in [*trail, name])}"
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_help_imports_no_library():
    code = "import sys; sys.argv = ['ra-ner', '--help']; from ra_ner.cli import main; main(); "
    code += "print({'torch', 'transformers', 'datasets', 'numpy', 'yaml'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()" and "ra-ner COMMAND" in done.stdout
