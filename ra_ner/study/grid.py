"""Read a grid file and expand it into cells: seeds x base recipes x axis values. Each cell is a recipe of its own.

recipes: [en.yaml, zh.yaml]          # base recipes: relative to this file, or built-in
axes:
  dataset.strategy: [none, nn]       # section.key; a bare key sets it in `dataset` and `evaluate`, wherever it exists
  dataset: [{strategy: nn}, {strategy: nn, examples_probability: 0.5}]   # a section: several keys in each value
  evaluate.settings: [zero_shot]     # the only axis that makes no cells: one evaluation covers all settings
seeds: [42, 43]                      # for the sections `dataset` and `train`
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
from ..errors import UserError, refuse_secrets
from ..paths import resource
from ..recipe import SECTIONS, Recipe, find_recipe, load_recipe, nearest_key, parse_yaml, read_yaml
from ..recipe_keys import DatasetConfig, EvaluateConfig

SETTINGS_AXIS = "evaluate.settings"
SEED_KEYS = ("dataset.seed", "train.seed")  # not evaluate.seed, so that all cells are evaluated on the same passages
# The keys of `train` are missing here because listing them would import TRL; `ra-ner train` checks them.
KEYS = {
    section: [key.name for key in dataclasses.fields(config)]
    for section, config in (("dataset", DatasetConfig), ("evaluate", EvaluateConfig))
}
# Keys that say which examples a row has: in these a cell and its vanilla cell may differ.
EXAMPLE_KEYS = {
    "dataset.strategy",
    "dataset.k",
    "dataset.examples_probability",
    "dataset.candidates",
    "dataset.mixed_nn_probability",
    "dataset.bm25_threshold",
    "dataset.threshold_scale",
    "dataset.encoder",
}

Sections = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        name: stem of the cell's recipe; the run is kept in outputs/<name>.
        base: stem of the base recipe.
        values: value of each axis, without `evaluate.settings`, in the grid's order.
        is_vanilla: trained without examples (strategy `none` or k 0).
    """

    name: str
    base: str
    values: dict[str, object]
    seed: int
    is_vanilla: bool

    @property
    def group(self) -> tuple[str, ...]:
        """Base recipe and axis values as text: equal for cells that differ only in their seed."""
        return (self.base, *map(show, self.values.values()))

    @property
    def output_dir(self) -> Path:
        return Path("outputs") / self.name


@dataclass(frozen=True)
class Grid:
    """The cells of a study and the content of their recipes.

    Attributes:
        name: stem of the grid file.
        axes: values of each axis, `evaluate.settings` included.
        cells: ordered by seed, then base recipe, then the axis values as the grid lists them.
        bases: each cell's base recipe, by cell name.
        sections: keys that each cell sets on top of its base recipe, by cell name.
        adapters: the cell that trains the adapter, by the name of the cell that evaluates it. Cells that differ only
            in section `evaluate` share the adapter of the first of them.
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
        """The cell's recipe, the same as `load_recipe` returns once `write_recipes` has written the file."""
        base, own = self.bases[cell.name], self.sections[cell.name]
        sections = {section: {**keys, **own.get(section, {})} for section, keys in base.sections.items()}
        return Recipe(self.recipe_path(cell), base.language, sections, base.task)

    def trains(self, cell: Cell) -> bool:
        """Whether the cell builds a dataset and trains, rather than evaluating the adapter of another cell."""
        return self.adapters[cell.name] == cell.name

    def write_recipes(self) -> None:
        """Write the recipe of each cell to outputs/<grid>/recipes."""
        for cell in self.cells:
            path = self.recipe_path(cell)
            lines = [f"# A cell of the study {self.name}."]
            lines += [f"extends: {_as_yaml(_reference(self.bases[cell.name].path, path.parent))}"]
            for section, keys in self.sections[cell.name].items():
                lines += ["", f"{section}:", *(f"  {key}: {_as_yaml(value)}" for key, value in keys.items())]
            write_text(path, "\n".join(lines) + "\n")


def _as_yaml(value: object) -> str:
    """A value as JSON, which is also YAML and keeps the type of strings such as "no" and "1e-4"."""
    return json.dumps(value, ensure_ascii=False)


def _reference(base: Path, folder: Path) -> str:
    """The path by which a recipe in `folder` extends `base`.

    Relative inside the current folder, so that the folder can be moved; absolute for a base outside of it, such as a
    built-in recipe of the installed package.
    """
    base = base.parent.resolve() / base.name
    return os.path.relpath(base, folder.resolve()) if base.is_relative_to(Path.cwd()) else str(base)


def find_vanilla(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """The vanilla cell that a cell is compared with: same base recipe, same seed, same values of the other axes.

    Returns:
        None if the cell is vanilla itself, or if the grid has no such cell.
    """
    if cell.is_vanilla:
        return None

    def other_keys(values: Mapping[str, object]) -> dict[str, object]:
        """The values by key of a section, without those that choose examples; a bare `k` is both of them."""
        keys = {}
        for axis, value in values.items():
            if axis in SECTIONS and isinstance(value, dict):
                keys |= {f"{axis}.{key}": its_value for key, its_value in value.items()}
            elif axis != "k":
                keys[axis if "." in axis else f"dataset.{axis}"] = value
        return {key: value for key, value in keys.items() if key not in EXAMPLE_KEYS}

    def shared_values(other: Cell) -> int:
        return sum(other.values[axis] == value for axis, value in cell.values.items())

    candidates = [
        other
        for other in cells
        if other.is_vanilla
        and (other.base, other.seed) == (cell.base, cell.seed)
        and other_keys(other.values) == other_keys(cell.values)
    ]
    # With axes `dataset.strategy` and `k` there are several candidates; the one with this cell's k fits best.
    return max(candidates, key=shared_values, default=None)


def find_grid(name: str) -> Path:
    """The grid file that a name means: a path, or else a built-in grid.

    `k`, `experiments/k` and `recipes/experiments/k.yaml` all name the built-in grid k.

    Raises:
        UserError: there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    files = sorted((resource("recipes") / "experiments").glob("*.yaml"))
    built_in = {file.stem: file for file in files if "axes" in read_yaml(file)}
    short = name.removeprefix("recipes/").removeprefix("experiments/").removesuffix(".yaml")
    if short in built_in:
        return built_in[short]
    hint = nearest_key(path.stem, list(built_in)) or f"; built-in grids are {', '.join(built_in)}"
    raise UserError(f"{name}: no such grid (looked in {path.parent.resolve()} and among the built-in grids){hint}")


def load_grid(path: str | Path, overrides: Sequence[str] = ()) -> Grid:
    """Read a grid file and make its cells.

    Args:
        path: a file, or the name of a built-in grid such as `smollm2_mixed`.
        overrides: words `section.key=value` that set a key of all cells; the value is YAML.

    Raises:
        UserError: the file or an override is wrong; the message names the nearest valid key.

    Example:
        >>> grid = load_grid("smollm2_mixed", ["evaluate.limit=10"])
        >>> [cell.name for cell in grid.cells][:2]
        ['smollm2_mixed-none-seed42', 'smollm2_mixed-nn-seed42']
    """
    path = find_grid(str(path))
    content = _read(path)
    axes, seeds = content["axes"], content["seeds"]
    axis_keys = {axis: _axis_keys(axis, values, f"{path}: axis `{axis}`") for axis, values in axes.items()}
    grid_keys = [*SEED_KEYS, *itertools.chain(*axis_keys.values())]
    for key in grid_keys:
        if grid_keys.count(key) > 1:
            raise UserError(f"{path}: `{key}` is set twice, by two axes or by an axis and `seeds`; remove one")
    shared = _parse_overrides(overrides, grid_keys)
    if SETTINGS_AXIS in axes:
        shared[SETTINGS_AXIS] = axes[SETTINGS_AXIS]

    varied = {axis: values for axis, values in axes.items() if axis != SETTINGS_AXIS}
    cells, bases, cell_sections, adapters = [], {}, {}, {}
    recipes = [load_recipe(find_recipe(str(name), path.parent)) for name in content["recipes"]]
    if len(tasks := dict.fromkeys(recipe.task for recipe in recipes)) > 1:
        raise UserError(f"{path}: its recipes are of several tasks ({', '.join(tasks)}), whose scores share no table")
    first_cells: dict[str, str] = {}  # training configuration -> the first cell that has it
    # One seed after the other: a study that has not ended can be read with the seeds that it has.
    for seed, base, *values in itertools.product(seeds, recipes, *varied.values()):
        keys = {**shared, **dict.fromkeys(SEED_KEYS, seed)}
        for axis, value in zip(varied, values, strict=True):
            own = {f"{axis}.{key}": value[key] for key in value} if axis in SECTIONS else None
            keys |= own or dict.fromkeys(axis_keys[axis], value)
        sections = _to_sections(keys)
        dataset = {**base.sections["dataset"], **sections["dataset"]}
        base_words = [base.name] if len(recipes) > 1 else []
        name = "-".join(_file_word(word) for word in [path.stem, *base_words, *values, f"seed{seed}"])
        if name in bases:
            raise UserError(f"{path}: two cells would both be called {name}; values must differ in letters or digits")
        training = json.dumps([str(base.path), sections["dataset"], sections.get("train")], sort_keys=True)
        adapters[name] = first_cells.setdefault(training, name)
        adapter = "adapter" if adapters[name] == name else f"outputs/{adapters[name]}/adapter"
        sections.setdefault("evaluate", {})["models"] = [adapter]
        cells.append(
            Cell(
                name=name,
                base=base.name,
                values=dict(zip(varied, values, strict=True)),
                seed=seed,
                is_vanilla=dataset.get("strategy") == "none" or dataset.get("k") == 0,
            )
        )
        bases[name], cell_sections[name] = base, sections
    return Grid(path.stem, axes, cells, bases, cell_sections, adapters)


def _read(path: Path) -> dict[str, Any]:
    """Read a grid file and check its form: known keys, non-empty lists, no repeated value, whole numbers as seeds."""
    content, known = read_yaml(path), {"recipes": list, "axes": dict, "seeds": list}
    if "extends" in content or "language" in content:
        raise UserError(f"{path}: this is a recipe, not a grid; run it with `ra-ner build`, `train` and `evaluate`")
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
            raise UserError(f"{path}: `{name}` lists a value twice; remove one")
    if not all(type(seed) is int for seed in content["seeds"]):
        raise UserError(f"{path}: `seeds` must be whole numbers")
    return content


def _parse_overrides(overrides: Sequence[str], grid_keys: Sequence[str]) -> dict[str, object]:
    """The words of `--set` as `section.key` -> value. Keys that the grid sets itself are refused."""
    parsed: dict[str, object] = {}
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals:
            raise UserError(f"--set {word}: write section.key=value")
        try:
            value = parse_yaml(text)
        except yaml.YAMLError:
            raise UserError(f"--set {word}: the value is not valid YAML; quote it") from None
        refuse_secrets({key: value}, "--set ")
        for section_key in _section_keys(key, f"--set {word}"):
            if section_key in grid_keys:
                raise UserError(f"--set {word}: the grid sets `{section_key}` itself, by an axis or by `seeds`")
            parsed[section_key] = value
    return parsed


def _axis_keys(axis: str, values: Sequence[object], where: str) -> list[str]:
    """Each `section.key` that an axis sets. The values of an axis that is a section are mappings of its keys."""
    if axis not in SECTIONS:
        return _section_keys(axis, where)
    if not all(isinstance(value, dict) and value for value in values):
        raise UserError(f"{where}: each value of a section must be a mapping, such as {{strategy: nn, k: 2}}")
    keys = dict.fromkeys(key for value in values for key in value)
    return [name for key in keys for name in _section_keys(f"{axis}.{key}", where)]


def _section_keys(key: str, where: str) -> list[str]:
    """Each `section.key` that a key of a grid sets; a key without a section sets it in `dataset` and in `evaluate`.

    Args:
        where: start of the error message.
    """
    section, dot, name = key.partition(".")
    if not dot:
        if found := [f"{section}.{key}" for section, keys in KEYS.items() if key in keys]:
            return found
        raise UserError(f"{where}: no section has such a key{nearest_key(key, list(itertools.chain(*KEYS.values())))}")
    if section not in SECTIONS:
        raise UserError(f"{where}: no section is called `{section}`{nearest_key(section, list(SECTIONS))}")
    if section in KEYS and name not in KEYS[section]:
        raise UserError(f"{where}: section {section} has no key `{name}`{nearest_key(name, KEYS[section])}")
    if key == "evaluate.models":
        raise UserError(f"{where}: a study sets this key itself, as each cell evaluates its own adapter; remove it")
    return [key]


def _to_sections(keys: Mapping[str, object]) -> Sections:
    """`section.key` -> value as nested sections, in the order of a recipe."""
    sections: Sections = {}
    for section in SECTIONS:
        own = {key.partition(".")[2]: value for key, value in keys.items() if key.startswith(f"{section}.")}
        if own:
            sections[section] = own
    return sections


def show(value: object) -> str:
    """The value of an axis as text."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {show(item)}" for key, item in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _file_word(value: object) -> str:
    """The value of an axis as part of a file name."""
    if isinstance(value, dict):
        return "-".join(map(_file_word, value.values()))
    return re.sub(r"[^\w.-]+", "_", show(value)).strip("_")
