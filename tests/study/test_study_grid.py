"""Grid files: their keys, the cells they make, and that each cell is an ordinary recipe."""

from pathlib import Path

import pytest
from conftest import REPO, write_recipe

from ra_ner.errors import UserError
from ra_ner.recipe import load_recipe
from ra_ner.study.grid import find_vanilla, load_grid

EXPERIMENTS = REPO / "recipes" / "experiments"
GRIDS = ["strategies", "sizes", "inference", "k", "smollm2_mixed", "smollm2_size", "smollm2_gpu"]
GRIDS += ["gemma3_en", "gemma3_zh", "beyond_ner", "beyond_ner_relations"]


@pytest.fixture
def write_grid(tmp_path, monkeypatch):
    """Write a grid over a small base recipe in an empty folder, and load it."""
    monkeypatch.chdir(tmp_path)
    write_recipe(Path("base.yaml"), language="en", dataset={"corpus": "c.jsonl", "k": 2})

    def load(axes: dict, *overrides: str, recipes=("base.yaml",), seeds=(1, 2), **other):
        path = write_recipe(Path("grid.yaml"), recipes=recipes, axes=axes, seeds=seeds, **other)
        return load_grid(path, overrides)

    return load


def test_cells_are_the_product_of_recipes_seeds_and_axis_values(write_grid):
    write_recipe(Path("other.yaml"), extends="base.yaml")
    grid = write_grid({"dataset.strategy": ["none", "nn"], "k": [1, 2]}, recipes=["base.yaml", "other.yaml"])
    assert len(grid.cells) == 16
    assert [cell.name for cell in [*grid.cells[:5], grid.cells[8]]] == [
        "grid-base-none-1-seed1",
        "grid-base-none-2-seed1",
        "grid-base-nn-1-seed1",
        "grid-base-nn-2-seed1",
        "grid-other-none-1-seed1",
        "grid-base-none-1-seed2",
    ]
    cell = grid.cells[3]
    assert cell.values == {"dataset.strategy": "nn", "k": 2} and cell.seed == 1
    assert cell.output_dir == Path("outputs/grid-base-nn-2-seed1")
    assert cell.group == grid.cells[11].group != grid.cells[2].group


def test_a_cell_differs_from_its_vanilla_cell_in_its_examples_alone(write_grid):
    def twins(axes: dict) -> dict[str, str | None]:
        grid = write_grid(axes, seeds=[1])
        found = {cell.name: find_vanilla(cell, grid.cells) for cell in grid.cells if not cell.is_vanilla}
        return {name.removeprefix("grid-"): twin and twin.name.removeprefix("grid-") for name, twin in found.items()}

    none, nn = {"strategy": "none"}, {"strategy": "nn"}
    sizes = [{**none, "size": 1}, {**none, "size": 2}, {**nn, "size": 1}, {**nn, "size": 2}]
    assert twins({"dataset": sizes}) == {"nn-1-seed1": "none-1-seed1", "nn-2-seed1": "none-2-seed1"}
    assert twins({"dataset": [sizes[0], sizes[3]]}) == {"nn-2-seed1": None}
    filtered = {"strategy": "nn_bm25", "bm25_threshold": 5, "k": 4}
    assert list(twins({"dataset": [none, filtered]}).values()) == ["none-seed1"]
    assert twins({"strategy": ["none", "nn"]}) == {"nn-seed1": "none-seed1"}


def test_the_written_recipe_of_a_cell_reads_back_unchanged(write_grid):
    values = ["no", "12", "1e-4", "C:\\x 'y' \"z\" {a}: [b] # c", "\u4e2d\u6587", 0.0001, None, True]
    grid = write_grid({"dataset.encoder": values}, "train.learning_rate=1e-4", "evaluate.benchmarks=[a, b=C]")
    grid.write_recipes()
    for cell in grid.cells:
        assert load_recipe(grid.recipe_path(cell)) == grid.recipe(cell)
        sections = grid.recipe(cell).sections
        assert sections["dataset"]["encoder"] == cell.values["dataset.encoder"]
        assert (sections["dataset"]["seed"], sections["train"]["seed"]) == (cell.seed, cell.seed)
        assert sections["dataset"]["k"] == 2, "from the base recipe"
        assert sections["train"]["learning_rate"] == 1e-4 and sections["evaluate"]["benchmarks"] == ["a", "b=C"]
        assert "seed" not in sections["evaluate"], "all cells are evaluated on the same passages"


def test_a_key_without_a_section_is_set_in_dataset_and_evaluate(write_grid):
    grid = write_grid({"k": [0, 4]})
    assert grid.sections["grid-4-seed2"]["dataset"]["k"] == grid.sections["grid-4-seed2"]["evaluate"]["k"] == 4


def test_the_settings_axis_makes_no_cells(write_grid):
    grid = write_grid({"dataset.strategy": ["none", "nn"], "evaluate.settings": ["zero_shot", "in_domain-nn"]})
    assert len(grid.cells) == 4 and "evaluate.settings" not in grid.cells[0].values
    assert all(keys["evaluate"]["settings"] == ["zero_shot", "in_domain-nn"] for keys in grid.sections.values())
    assert grid.axes["evaluate.settings"] == ["zero_shot", "in_domain-nn"]


def test_cells_that_differ_only_in_evaluation_share_an_adapter(write_grid):
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
        ({"dataset.labels": ["a.txt"]}, [], "section dataset has no key `labels`; it is called `tag_names` now"),
        ({"datset.k": [1]}, [], "no section is called `datset`; did you mean `dataset`"),
        ({"encodr": ["a"]}, [], "no section has such a key; did you mean `encoder`"),
        ({"k": 2}, [], "axis `k` needs a list of values"),
        ({"k": [1, 1]}, [], "`k` lists a value twice"),
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
def test_a_wrong_grid_is_refused_with_the_way_out(write_grid, axes, overrides, message):
    with pytest.raises(UserError, match=message):
        write_grid(axes, *overrides)


def test_a_grid_needs_recipes_axes_and_seeds_and_takes_no_other_key(write_grid):
    with pytest.raises(UserError, match="unknown key `axis`; did you mean `axes`"):
        write_grid({"k": [1]}, axis={})
    with pytest.raises(UserError, match="`seeds` is needed"):
        write_grid({"k": [1]}, seeds=[])
    with pytest.raises(UserError, match="`seeds` must be whole numbers"):
        write_grid({"k": [1]}, seeds=["a"])
    with pytest.raises(UserError, match=r"gone.yaml: no such recipe"):
        write_grid({"k": [1]}, recipes=["gone.yaml"])
    write_recipe(Path("labels.yaml"), extends="base.yaml", task="classification")
    with pytest.raises(UserError, match=r"its recipes are of several tasks \(ner, classification\)"):
        write_grid({"k": [1]}, recipes=["base.yaml", "labels.yaml"])


def test_a_base_recipe_lies_beside_the_grid_or_is_built_in(write_grid):
    grid = write_grid({"k": [1]}, recipes=["base.yaml", "quickstart", "zh_10k.yaml"])
    assert [cell.base for cell in grid.cells[:3]] == ["base", "quickstart", "zh_10k"]


def test_an_axis_that_is_a_section_sets_several_keys(write_grid):
    arms = [{"strategy": "none"}, {"strategy": "nn"}, {"strategy": "nn", "examples_probability": 0.5}]
    grid = write_grid({"dataset": arms}, seeds=[1])
    vanilla, always, half = grid.cells
    assert [cell.name for cell in grid.cells] == ["grid-none-seed1", "grid-nn-seed1", "grid-nn-0.5-seed1"]
    assert half.group == ("base", "strategy: nn, examples_probability: 0.5")
    assert grid.recipe(half).sections["dataset"]["examples_probability"] == 0.5
    assert "examples_probability" not in grid.recipe(always).sections["dataset"]
    assert find_vanilla(half, grid.cells) == find_vanilla(always, grid.cells) == vanilla
    with pytest.raises(UserError, match="axis `dataset`: section dataset has no key `stratgy`"):
        write_grid({"dataset": [{"stratgy": "nn"}]})
    with pytest.raises(UserError, match="each value of a section must be a mapping"):
        write_grid({"dataset": ["nn"]})


def test_a_value_of_an_axis_may_be_a_list(write_grid):
    grid = write_grid({"dataset.exclude": [["a"], ["a", "b"]]})
    assert [cell.values["dataset.exclude"] for cell in grid.cells[:2]] == [["a"], ["a", "b"]]
    assert len({cell.group for cell in grid.cells}) == 2, "groups are keys of dictionaries"


@pytest.mark.parametrize(
    "name", ["smollm2_mixed", "experiments/smollm2_mixed", "recipes/experiments/smollm2_mixed.yaml"]
)
def test_a_built_in_grid_runs_by_name_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grid = load_grid(name)
    assert len(grid.cells) == 15 and grid.name == "smollm2_mixed"
    grid.write_recipes()
    for cell in grid.cells:
        assert load_recipe(grid.recipe_path(cell)) == grid.recipe(cell)


def test_a_grid_of_one_s_own_comes_before_a_built_in_one(write_grid):
    write_grid({"k": [1]})
    Path("grid.yaml").rename("k.yaml")
    assert len(load_grid("k.yaml").cells) == 2 and len(load_grid("k").cells) == 24


def test_a_missing_grid_names_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"smolm2_mixed: no such grid .looked in {tmp_path} .* mean `smollm2_mixed`"):
        load_grid("smolm2_mixed")
    with pytest.raises(
        UserError,
        match="no such .* grids are beyond_ner, beyond_ner_relations, gemma3_en, gemma3_zh, inference, k, sizes",
    ):
        load_grid("gone/x.yaml")
    with pytest.raises(UserError, match="quickstart.yaml: this is a recipe, not a grid"):
        load_grid(REPO / "recipes" / "quickstart.yaml")


@pytest.mark.parametrize("inside", [True, False])
def test_a_cell_finds_its_base_inside_and_outside_of_the_current_folder(inside, tmp_path, monkeypatch):
    """Inside the path is relative, so that the folder can be moved. `outputs` is a link to another disk here."""
    here, disk = tmp_path / "here", tmp_path / "disk" / "far" / "away"
    here.mkdir()
    disk.mkdir(parents=True)
    (here / "outputs").symlink_to(disk)
    monkeypatch.chdir(here)
    folder = Path("recipes") if inside else tmp_path / "package" / "recipes"
    write_recipe(folder / "base.yaml", language="en", dataset={"corpus": "c.jsonl"})
    grid = load_grid(write_recipe(folder / "grid.yaml", recipes=["base.yaml"], axes={"k": [1]}, seeds=[1]))
    grid.write_recipes()
    path = grid.recipe_path(grid.cells[0])
    assert load_recipe(path) == grid.recipe(grid.cells[0])
    assert (f'extends: "{folder.resolve()}' in path.read_text()) is not inside


@pytest.mark.parametrize("name", GRIDS)
def test_every_cell_of_the_built_in_grids_is_read_by_all_three_commands(name, tmp_path, monkeypatch):
    from ra_ner.commands import build, evaluate, train
    from ra_ner.evaluation.example_pools import check_settings

    grid = load_grid(EXPERIMENTS / f"{name}.yaml")
    monkeypatch.chdir(tmp_path)
    grid.write_recipes()
    train_parser = train.make_parser()
    for cell in grid.cells:
        path = str(grid.recipe_path(cell))
        _, dataset, *_ = build.make_parser().parse_recipe([path])
        _, config, _, output, _ = evaluate.make_parser().parse_recipe([path])
        _, _, model, args, _ = train_parser.parse_recipe([path])
        assert dataset.seed == args.seed == cell.seed and config.seed == 42
        assert config.models == ["adapter"] and output.output_dir == str(cell.output_dir / "evaluation")
        assert cell.is_vanilla == (dataset.strategy == "none" or dataset.k == 0)
        check_settings(config.settings)
        for axis, value in cell.values.items():
            keys = value if isinstance(value, dict) else {axis.rpartition(".")[2]: value}
            for key, wanted in keys.items():
                assert wanted in (vars(dataset).get(key), vars(model).get(key), vars(args).get(key))


def test_the_built_in_grids_cover_the_experiments_of_the_paper_in_both_languages():
    grids = {name: load_grid(EXPERIMENTS / f"{name}.yaml") for name in GRIDS}
    assert {name: len(grid.cells) for name, grid in grids.items()} == {
        "strategies": 36,
        "sizes": 36,
        "inference": 12,
        "k": 24,
        "smollm2_mixed": 15,
        "smollm2_size": 2,
        "smollm2_gpu": 8,
        "gemma3_en": 12,
        "gemma3_zh": 12,
        "beyond_ner": 24,
        "beyond_ner_relations": 24,
    }
    for name in GRIDS[:4]:
        assert {cell.base for cell in grids[name].cells} == {"en", "zh"}
        assert all(cell.is_vanilla or find_vanilla(cell, grids[name].cells) for cell in grids[name].cells)


@pytest.mark.parametrize("name", GRIDS)
def test_no_two_cells_of_a_built_in_grid_are_the_same_experiment(name):
    """A key that one arm sets and another leaves to its base recipe may be the same in both."""
    grid = load_grid(name)
    trained = [(cell.base, vars(grid.recipe(cell).dataset)) for cell in grid.cells]
    assert all(trained.count(one) == 1 for one in trained)
