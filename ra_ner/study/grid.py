"""Grid files: base recipes x values of axes x seeds -> cells. Each cell is a recipe that extends a base recipe.

recipes: [en.yaml, zh.yaml]          # base recipes, relative to this file
axes:
  dataset.strategy: [none, nn]       # section.key; a key without a section is set in dataset and evaluate
  evaluate.settings: [zero_shot]     # the only axis that makes no cells: one evaluation covers all settings
seeds: [42, 43]                      # of section dataset and section train
"""

import dataclasses
import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..atomic_files import write_text
from ..errors import UserError
from ..recipe import (
    SECTIONS,
    DatasetConfig,
    EvaluateConfig,
    Recipe,
    find_recipe,
    load_recipe,
    nearest_key,
    parse_yaml,
    read_yaml,
)

SETTINGS_AXIS = "evaluate.settings"
SEED_KEYS = ("dataset.seed", "train.seed")  # evaluate.seed stays the same: all cells get the same passages
# Sections whose keys are known without importing TRL. `train` checks its own.
KEYS = {
    section: [key.name for key in dataclasses.fields(config)]
    for section, config in (("dataset", DatasetConfig), ("evaluate", EvaluateConfig))
}
VANILLA_AXES = ("dataset.strategy", "dataset.k", "k")  # in which a cell and its vanilla cell may differ

Sections = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Cell:
    """One run of a study, with a recipe of its own."""

    name: str  # the stem of its recipe, and of outputs/<name>
    base: str  # stem of the base recipe
    values: dict[str, object]  # axis -> value, in the grid's order, without the settings and the seed
    seed: int
    is_vanilla: bool  # trained without examples: strategy none, or k 0

    @property
    def group(self) -> tuple[object, ...]:
        """What cells that differ only in their seed have in common."""
        return (self.base, *self.values.values())

    @property
    def output_dir(self) -> Path:
        return Path("outputs") / self.name


@dataclass(frozen=True)
class Grid:
    """A study's cells, and what their recipes hold.

    Attributes:
        name: stem of the grid file.
        axes: axis -> values, `evaluate.settings` among them.
        cells: by base recipe, then seed, then the values of the axes in the grid's order.
        bases: each cell's base recipe, by the cell's name.
        sections: what each cell's recipe says beside `extends`, by the cell's name.
        adapters: by the cell's name, the cell whose adapter it evaluates: itself, or the first cell that differs only
            in section evaluate.
    """

    name: str
    axes: dict[str, list]
    cells: list[Cell]
    bases: dict[str, Recipe]
    sections: dict[str, Sections]
    adapters: dict[str, str]

    @property
    def output_dir(self) -> Path:
        return Path("outputs") / self.name

    def recipe_path(self, cell: Cell) -> Path:
        return self.output_dir / "recipes" / f"{cell.name}.yaml"

    def recipe(self, cell: Cell) -> Recipe:
        """The cell's recipe, as it is read once it is written."""
        base, own = self.bases[cell.name], self.sections[cell.name]
        sections = {section: {**keys, **own.get(section, {})} for section, keys in base.sections.items()}
        return Recipe(self.recipe_path(cell), base.language, sections)

    def write_recipes(self) -> None:
        """Write each cell's recipe. Values are written as JSON, which is valid YAML."""
        for cell in self.cells:
            path = self.recipe_path(cell)
            base = _reference(self.bases[cell.name].path, path.parent)
            lines = [f"# A cell of the study {self.name}.", f"extends: {json.dumps(base, ensure_ascii=False)}"]
            for section, keys in self.sections[cell.name].items():
                lines += ["", f"{section}:"]
                lines += [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items()]
            write_text(path, "\n".join(lines) + "\n")


def _find_grid(name: str) -> Path:
    """A grid file: a path, or a built-in grid, which `experiments/` holds."""
    is_name = "/" not in name and not Path(name).is_file()
    return find_recipe(f"experiments/{name}" if is_name else name, Path())


def _reference(recipe: Path, folder: Path) -> str:
    """How a recipe in `folder` names another one: relative if that is in the current folder, else absolute."""
    is_near = recipe.resolve().is_relative_to(Path.cwd())
    return os.path.relpath(recipe, folder) if is_near else str(recipe.resolve())


def find_vanilla(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """The vanilla cell that a cell is compared with: same base recipe, same seed, and equal in all other axes.

    None for a vanilla cell, and if the grid has no such cell.
    """
    if cell.is_vanilla:
        return None

    def others(values: Mapping[str, object]) -> dict[str, object]:
        return {axis: value for axis, value in values.items() if axis not in VANILLA_AXES}

    fitting = [
        other
        for other in cells
        if other.is_vanilla
        and (other.base, other.seed) == (cell.base, cell.seed)
        and others(other.values) == others(cell.values)
    ]
    # With axes strategy and k there are several; one of them has this cell's k too.
    agreeing = [sum(other.values[axis] == value for axis, value in cell.values.items()) for other in fitting]
    return fitting[agreeing.index(max(agreeing))] if fitting else None


def load_grid(path: str | Path, overrides: Sequence[str] = ()) -> Grid:
    """Read a grid file and make its cells.

    Args:
        path: a file, or the name of a built-in grid such as `smollm2`.
        overrides: words `section.key=value` that apply to all cells; the value is YAML.

    Raises:
        UserError: the file or an override is wrong.
    """
    path = _find_grid(str(path))
    content = _read(path)
    axes, seeds = content["axes"], content["seeds"]
    places = {axis: _places(axis, f"{path}: axis `{axis}`") for axis in axes}
    taken = [*SEED_KEYS, *itertools.chain(*places.values())]
    for place in taken:
        if taken.count(place) > 1:
            raise UserError(f"{path}: `{place}` is set twice, by two axes or by an axis and `seeds`")
    shared = _shared(overrides, taken)
    if SETTINGS_AXIS in axes:
        shared[SETTINGS_AXIS] = axes[SETTINGS_AXIS]

    varied = {axis: values for axis, values in axes.items() if axis != SETTINGS_AXIS}
    cells, bases, contents, adapters = [], {}, {}, {}
    recipes = [load_recipe(path.parent / str(name)) for name in content["recipes"]]
    trained: dict[str, str] = {}  # the name of the first cell of each adapter
    for base, seed, *values in itertools.product(recipes, seeds, *varied.values()):
        keys = {**shared, **dict.fromkeys(SEED_KEYS, seed)}
        for axis, value in zip(varied, values, strict=True):
            keys |= dict.fromkeys(places[axis], value)
        sections = _sections(keys)
        dataset = {**base.sections["dataset"], **sections["dataset"]}
        base_words = [base.name] if len(recipes) > 1 else []
        name = "-".join(_safe(word) for word in [path.stem, *base_words, *values, f"seed{seed}"])
        if name in contents:
            raise UserError(f"{path}: two cells would both be called {name}; values must differ in letters or digits")
        identity = json.dumps([str(base.path), sections["dataset"], sections.get("train")], sort_keys=True)
        adapters[name] = trained.setdefault(identity, name)
        own = adapters[name] == name
        sections.setdefault("evaluate", {})["models"] = ["adapter" if own else f"outputs/{adapters[name]}/adapter"]
        cells.append(
            Cell(
                name=name,
                base=base.name,
                values=dict(zip(varied, values, strict=True)),
                seed=seed,
                is_vanilla=dataset.get("strategy") == "none" or dataset.get("k") == 0,
            )
        )
        bases[name], contents[name] = base, sections
    return Grid(path.stem, axes, cells, bases, contents, adapters)


def _read(path: Path) -> dict[str, Any]:
    """Read a grid file, and check that it has lists of distinct values."""
    content, known = read_yaml(path), {"recipes": list, "axes": dict, "seeds": list}
    for key in content:
        if key not in known:
            raise UserError(f"{path}: unknown key `{key}`{nearest_key(str(key), list(known))}")
    for key, type_ in known.items():
        if not isinstance(content.get(key), type_) or not content[key]:
            raise UserError(f"{path}: `{key}` is needed: {'axes and their values' if type_ is dict else 'a list'}")
    content["axes"] = {str(axis): values for axis, values in content["axes"].items()}
    for axis, values in content["axes"].items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{path}: axis `{axis}` needs a list of values")
    for name, values in {**content, **content["axes"]}.items():
        if isinstance(values, list) and any(values.count(value) > 1 for value in values):
            raise UserError(f"{path}: a value of `{name}` is repeated")
    if not all(type(seed) is int for seed in content["seeds"]):
        raise UserError(f"{path}: `seeds` are whole numbers")
    return content


def _shared(overrides: Sequence[str], taken: Sequence[str]) -> dict[str, object]:
    """The overrides as `section.key` -> value. None may set what an axis or `seeds` sets."""
    shared: dict[str, object] = {}
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals:
            raise UserError(f"--set {word}: write section.key=value")
        try:
            value = parse_yaml(text)
        except yaml.YAMLError:
            raise UserError(f"--set {word}: the value is not valid YAML; quote it") from None
        for place in _places(key, f"--set {word}"):
            if place in taken:
                raise UserError(f"--set {word}: the grid sets `{place}` itself, with an axis or `seeds`")
            shared[place] = value
    return shared


def _places(key: str, where: str) -> list[str]:
    """The `section.key` that an axis sets. A key without a section is set in dataset and evaluate, where it exists."""
    section, dot, name = key.partition(".")
    if not dot:
        if places := [f"{section}.{key}" for section, keys in KEYS.items() if key in keys]:
            return places
        raise UserError(f"{where}: no section has such a key{nearest_key(key, list(itertools.chain(*KEYS.values())))}")
    if section not in SECTIONS:
        raise UserError(f"{where}: `{section}` is not a section{nearest_key(section, list(SECTIONS))}")
    if section in KEYS and name not in KEYS[section]:
        raise UserError(f"{where}: section {section} has no key `{name}`{nearest_key(name, KEYS[section])}")
    if key == "evaluate.models":
        raise UserError(f"{where}: each cell evaluates its own adapter")
    return [key]


def _sections(keys: Mapping[str, object]) -> Sections:
    """Sections from `section.key` -> value, in the order of a recipe."""
    sections: Sections = {}
    for section in SECTIONS:
        of_section = {key.partition(".")[2]: value for key, value in keys.items() if key.startswith(f"{section}.")}
        if of_section:
            sections[section] = of_section
    return sections


def show(value: object) -> str:
    """The value of an axis as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _safe(value: object) -> str:
    """A value as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", show(value)).strip("_")
