"""The estimated cost of a study: token counts equal the commands' own, and seconds follow from them."""

import json
import re
from pathlib import Path

import pytest
from conftest import run_command, write_recipe

from ra_ner.commands.study import main
from ra_ner.errors import UserError
from ra_ner.inference.transformers import TransformersEngine
from ra_ner.study import cost
from ra_ner.study.grid import load_grid


def rows(text: str) -> dict[str, list[float]]:
    """Seeds, tokens and hours of each table row, by the row's name."""
    lines = [re.split(r" *\| *", line)[1:-1] for line in text.splitlines() if line.startswith("| ")]
    return {name: [float(word.replace(",", "")) for word in words] for name, *words in lines[2:]}


@pytest.fixture
def grid(workplace, monkeypatch):
    """Write a grid over the shrunk quickstart, whose benchmark is smaller than the sample that is counted."""
    monkeypatch.chdir(workplace)

    def write(axes: dict, **keys):
        write_recipe(Path("recipes/cost_base.yaml"), extends="quickstart.yaml", **keys)
        return load_grid(write_recipe(Path("recipes/cost.yaml"), recipes=["cost_base.yaml"], axes=axes, seeds=[1, 2]))

    return write


def test_training_tokens_equal_the_dry_run_of_train(grid, capsys):
    study = grid({"dataset.strategy": ["none", "nn"]}, train={"num_train_epochs": 3})
    counted = rows(cost.estimate(study))
    study.write_recipes()
    for cell in study.cells[:2]:
        run_command("build", study.recipe_path(cell))
        run_command("train", study.recipe_path(cell), "--dry_run")
        epoch = int(re.search(r"([\d,]+) tokens \w+ epoch", capsys.readouterr().out)[1].replace(",", ""))
        assert counted[f"cost_base {cell.values['dataset.strategy']}"][:2] == [2, 3 * epoch]
    total = [2 * (a + b) for a, b in zip(counted["cost_base none"][1:4], counted["cost_base nn"][1:4], strict=True)]
    assert counted["all cells"][:4] == [4, *total]


def test_prompt_tokens_equal_the_engine_s(grid, finished, monkeypatch):
    """The engine's tokens are counted where it adds them to its prefix tree; generated tokens are left out."""
    study = grid({"evaluate.k": [1]}, evaluate={"limit": None, "settings": ["zero_shot", "out_domain-random"]})
    counted = rows(cost.estimate(study))["cost_base 1"]
    added = []
    run_through = TransformersEngine._grow

    def count(engine, tree, branches, budgets):
        added.append(sum(len(branch.tokens) for row in branches for branch in row))
        added.append(sum(tree.shared_length(i) for i in range(len(branches))))
        return run_through(engine, tree, branches, budgets)

    monkeypatch.setattr(TransformersEngine, "_grow", count)
    study.write_recipes()
    adapter = "outputs/quickstart/adapter"
    path = study.recipe_path(study.cells[0])
    run_command("evaluate", path, "--models", adapter, "--max_new_tokens", 1)
    assert counted[2] == sum(added)
    predictions = (study.cells[0].output_dir / "evaluation" / "predictions.jsonl").read_text(encoding="utf-8")
    gold = [{entity["text"]: 0 for entity in json.loads(line)["gold"]} for line in predictions.splitlines()]
    assert counted[3] == sum(len(json.dumps(list(mentions), ensure_ascii=False).encode()) + 1 for mentions in gold)


def test_a_sample_is_scaled_to_the_size_of_the_recipe(grid):
    study = grid({"dataset.size": [40, 40_000], "dataset.strategy": ["none"]})
    counted = rows(cost.estimate(study))
    small, large = counted["cost_base 40 none"], counted["cost_base 40000 none"]
    assert large[1] == pytest.approx(1000 * small[1], rel=0.15)
    assert large[2:4] == small[2:4], "evaluation covers the same passages"
    assert large[4] == pytest.approx(1000 * small[4], rel=0.2)


def test_cells_that_share_an_adapter_train_it_once(grid):
    counted = rows(cost.estimate(grid({"evaluate.k": [1, 2]})))
    assert counted["cost_base 1"][1] > 0 == counted["cost_base 2"][1] == counted["cost_base 2"][4]
    assert counted["all cells"][1] == 2 * counted["cost_base 1"][1]


def test_activation_checkpointing_and_validation_add_their_passes(grid):
    def train_hours(**keys) -> float:
        keys = {"num_train_epochs": 2, **keys}
        study = grid({"dataset.size": [40_000], "dataset.strategy": ["none"]}, train=keys)
        return rows(cost.estimate(study))["cost_base 40000 none"][4]

    plain = train_hours()
    assert train_hours(activation_checkpointing=True) / plain == pytest.approx(6 / 4, rel=0.1)
    # A fifth of the passages is held out, and each of two epochs adds a forward pass over it.
    assert train_hours(eval_strategy="epoch") / plain == pytest.approx(1 + 2 / 4 * 0.2 / 0.8, rel=0.1)


def test_parameters_are_counted_without_weights(tmp_path):
    config = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32}
    config |= {"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert cost._parameters(str(tmp_path), None) == 8_030_261_248, "Llama-3-8B"


def test_dry_run_names_what_cannot_be_read(grid, workplace, capsys):
    study = grid({"k": [1]}, evaluate={"benchmarks": ["sample_en", "mit_movie=data/gone"]})
    text = cost.estimate(study)
    assert "Not counted: mit_movie=data/gone: benchmark mit_movie: data/gone does not exist" in text
    assert main(["recipes/cost.yaml", "--dry_run"]) == 0
    assert capsys.readouterr().out.strip().endswith(text)
    assert not (workplace / study.output_dir / "cells.json").exists(), "nothing is run"
    with pytest.raises(UserError, match="gone.jsonl"):
        main(["recipes/cost.yaml", "--dry_run", "--set", "dataset.corpus=gone.jsonl"])
