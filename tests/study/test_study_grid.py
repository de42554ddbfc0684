"""Grid files: what they may say, the cells they make, and that every cell is a recipe like any other."""

from pathlib import Path

import pytest
from conftest import REPO, write_recipe

from ra_ner.errors import UserError
from ra_ner.recipe import load_recipe
from ra_ner.study.grid import find_vanilla, load_grid

EXPERIMENTS = REPO / "recipes" / "experiments"
GRIDS = ["strategies", "sizes", "inference", "k", "smollm2"]


@pytest.fixture
def write_grid(tmp_path, monkeypatch):
    """Write a grid over a small base recipe and load it, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    write_recipe(Path("base.yaml"), language="en", dataset={"corpus": "c.jsonl", "k": 2})

    def load(axes: dict, *overrides: str, recipes=("base.yaml",), seeds=(1, 2), **other):
        path = write_recipe(Path("grid.yaml"), recipes=recipes, axes=axes, seeds=seeds, **other)
        return load_grid(path, overrides)

    return load


def test_cells_are_the_product_of_recipes_seeds_and_values(write_grid):
    write_recipe(Path("other.yaml"), extends="base.yaml")
    grid = write_grid({"dataset.strategy": ["none", "nn"], "k": [1, 2]}, recipes=["base.yaml", "other.yaml"])
    assert len(grid.cells) == 16
    assert [cell.name for cell in grid.cells[:5]] == [
        "grid-base-none-1-seed1",
        "grid-base-none-2-seed1",
        "grid-base-nn-1-seed1",
        "grid-base-nn-2-seed1",
        "grid-base-none-1-seed2",
    ]
    cell = grid.cells[3]
    assert cell.values == {"dataset.strategy": "nn", "k": 2} and cell.seed == 1
    assert cell.output_dir == Path("outputs/grid-base-nn-2-seed1")
    assert cell.group == grid.cells[7].group != grid.cells[2].group


def test_a_cell_is_a_recipe_that_reads_back_as_the_grid_says(write_grid):
    values = ["no", "12", "1e-4", "C:\\x 'y' \"z\" {a}: [b] # c", "\u4e2d\u6587", 0.0001, None, True]
    grid = write_grid({"dataset.encoder": values}, "train.learning_rate=1e-4", "evaluate.benchmarks=[a, b=C]")
    grid.write_recipes()
    for cell in grid.cells:
        assert load_recipe(grid.recipe_path(cell)) == grid.recipe(cell)
        sections = grid.recipe(cell).sections
        assert sections["dataset"]["encoder"] == cell.values["dataset.encoder"]
        assert (sections["dataset"]["seed"], sections["train"]["seed"]) == (cell.seed, cell.seed)
        assert sections["dataset"]["k"] == 2, "of the base"
        assert sections["train"]["learning_rate"] == 1e-4 and sections["evaluate"]["benchmarks"] == ["a", "b=C"]
        assert "seed" not in sections["evaluate"], "all cells are asked about the same passages"


def test_a_key_alone_is_set_in_each_section_that_has_it(write_grid):
    grid = write_grid({"k": [0, 4]})
    assert grid.sections["grid-4-seed2"]["dataset"]["k"] == grid.sections["grid-4-seed2"]["evaluate"]["k"] == 4


def test_settings_make_no_cells(write_grid):
    grid = write_grid({"dataset.strategy": ["none", "nn"], "evaluate.settings": ["zero_shot", "in_domain-nn"]})
    assert len(grid.cells) == 4 and "evaluate.settings" not in grid.cells[0].values
    assert all(keys["evaluate"]["settings"] == ["zero_shot", "in_domain-nn"] for keys in grid.sections.values())
    assert grid.axes["evaluate.settings"] == ["zero_shot", "in_domain-nn"]


def test_cells_that_differ_in_evaluation_alone_share_an_adapter(write_grid):
    grid = write_grid({"dataset.strategy": ["none", "nn"], "evaluate.k": [1, 2]})
    assert grid.adapters["grid-nn-2-seed1"] == grid.adapters["grid-nn-1-seed1"] == "grid-nn-1-seed1"
    assert grid.adapters["grid-nn-1-seed2"] == "grid-nn-1-seed2"
    assert grid.sections["grid-nn-1-seed1"]["evaluate"]["models"] == ["adapter"]
    assert grid.sections["grid-nn-2-seed1"]["evaluate"]["models"] == ["outputs/grid-nn-1-seed1/adapter"]


def test_a_cell_is_compared_with_the_vanilla_cell_of_the_same_seed_and_size(write_grid):
    grid = write_grid({"dataset.size": [5, 9], "dataset.strategy": ["none", "nn"], "k": [1, 2]})
    vanilla = {cell.name: find_vanilla(cell, grid.cells) for cell in grid.cells}
    assert vanilla["grid-9-nn-2-seed2"].name == "grid-9-none-2-seed2"
    assert vanilla["grid-9-none-2-seed2"] is None, "it is vanilla itself"
    grid = write_grid({"k": [0, 4]})
    assert [cell.is_vanilla for cell in grid.cells] == [True, False, True, False]
    assert find_vanilla(grid.cells[3], grid.cells) == grid.cells[2]
    grid = write_grid({"dataset.strategy": ["random", "nn"]})
    assert not any(find_vanilla(cell, grid.cells) for cell in grid.cells)


@pytest.mark.parametrize(
    "axes, overrides, message",
    [
        ({"dataset.stratgy": ["nn"]}, [], "axis `dataset.stratgy`: section dataset has no key .* mean `strategy`"),
        ({"datset.k": [1]}, [], "`datset` is not a section; did you mean `dataset`"),
        ({"encodr": ["a"]}, [], "no section has such a key; did you mean `encoder`"),
        ({"k": 2}, [], "axis `k` needs a list of values"),
        ({"k": [1, 1]}, [], "a value of `k` is repeated"),
        ({"k": [1], "dataset.k": [2]}, [], "`dataset.k` is set twice"),
        ({"dataset.seed": [1]}, [], "`dataset.seed` is set twice"),
        ({"evaluate.models": [["base"]]}, [], "each cell evaluates its own adapter"),
        ({"dataset.encoder": ["a/b", "a b"]}, [], "two cells would both be called grid-a_b-seed1"),
        ({"k": [1]}, ["evaluate.k=3"], "--set evaluate.k=3: the grid sets `evaluate.k` itself"),
        ({"k": [1]}, ["train.seed=3"], "the grid sets `train.seed` itself"),
        ({"k": [1]}, ["dataset.corpus"], "write section.key=value"),
        ({"k": [1]}, ["dataset.corpus=[a"], "not valid YAML"),
        ({"k": [1]}, ["dataset.corpsu=a"], "did you mean `corpus`"),
    ],
)
def test_a_wrong_grid_is_one_line_with_the_way_out(write_grid, axes, overrides, message):
    with pytest.raises(UserError, match=message):
        write_grid(axes, *overrides)


def test_a_grid_says_recipes_axes_and_seeds_and_nothing_else(write_grid):
    with pytest.raises(UserError, match="unknown key `axis`; did you mean `axes`"):
        write_grid({"k": [1]}, axis={})
    with pytest.raises(UserError, match="`seeds` is needed"):
        write_grid({"k": [1]}, seeds=[])
    with pytest.raises(UserError, match="`seeds` are whole numbers"):
        write_grid({"k": [1]}, seeds=["a"])
    with pytest.raises(UserError, match=r"gone.yaml: no such recipe"):
        write_grid({"k": [1]}, recipes=["gone.yaml"])


@pytest.mark.parametrize("name", GRIDS)
def test_every_cell_of_our_grids_is_read_by_all_three_scripts(name, tmp_path, monkeypatch):
    """A cell's recipe differs from another's in values alone, so one of each group and seed is enough for TRL's."""
    from ra_ner.commands import build as build_ra_dataset
    from ra_ner.commands import evaluate as evaluate_ner
    from ra_ner.commands import train as train_sft
    from ra_ner.evaluation.example_pools import check_settings

    grid = load_grid(EXPERIMENTS / f"{name}.yaml")
    monkeypatch.chdir(tmp_path)
    grid.write_recipes()
    train = train_sft.make_parser()
    for cell in grid.cells:
        path = str(grid.recipe_path(cell))
        _, dataset, *_ = build_ra_dataset.make_parser().parse_recipe([path])
        _, evaluate, _, output, _ = evaluate_ner.make_parser().parse_recipe([path])
        _, _, model, args, _ = train.parse_recipe([path])
        assert dataset.seed == args.seed == cell.seed and evaluate.seed == 42
        assert evaluate.models == ["adapter"] and output.output_dir == str(cell.output_dir / "evaluation")
        assert cell.is_vanilla == (dataset.strategy == "none" or dataset.k == 0)
        check_settings(evaluate.settings)
        for axis, value in cell.values.items():
            key = axis.rpartition(".")[2]
            assert value in (vars(dataset).get(key), vars(model).get(key), vars(args).get(key))


def test_the_grids_of_the_paper_vary_what_it_varied_in_both_languages():
    grids = {name: load_grid(EXPERIMENTS / f"{name}.yaml") for name in GRIDS}
    assert {name: len(grid.cells) for name, grid in grids.items()} == {
        "strategies": 36,
        "sizes": 36,
        "inference": 12,
        "k": 24,
        "smollm2": 6,
    }
    for name in GRIDS[:4]:
        assert {cell.base for cell in grids[name].cells} == {"en", "zh"}
        assert all(cell.is_vanilla or find_vanilla(cell, grids[name].cells) for cell in grids[name].cells)
