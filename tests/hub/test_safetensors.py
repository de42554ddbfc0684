"""The file that a model is read from is the one that was checked: no pickle beside a decoy in safetensors is read."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
from conftest import run_command
from transformers import AutoModelForCausalLM

from ra_ner.errors import UserError
from ra_ner.hub.repos import fetch_model

RECIPE = "recipes/quickstart.yaml"


class Attack:
    """Unpickled, it makes a file."""

    def __init__(self, made: Path):
        self.made = made

    def __reduce__(self):
        return Path.touch, (self.made,)


DECOYS = ["decoy.safetensors", "sub/model.safetensors", "adapter_model.safetensors", "model.safetensors.bak"]


@pytest.fixture
def pickled(models, tmp_path):
    """Makes a copy of a model whose weights are a pickle that runs code, and a decoy beside it."""

    def make(model: str, decoy: str) -> Path:
        folder = tmp_path / "pickled"
        shutil.copytree(models / model, folder)
        weights = next(folder.rglob("model.safetensors"))
        (folder / decoy).parent.mkdir(exist_ok=True)
        shutil.copyfile(weights, folder / decoy)
        weights.with_name("pytorch_model.bin").write_bytes(pickle.dumps(Attack(tmp_path / "attacked")))
        weights.unlink()
        return folder

    return make


@pytest.mark.parametrize("decoy", DECOYS)
def test_a_decoy_beside_a_pickle_is_refused_by_every_command(here, pickled, tmp_path, decoy):
    model, output = pickled("lm", decoy), ["--output_dir", tmp_path / "o"]
    refused = "has no weights in safetensors, and pickles are not read"
    with pytest.raises(UserError, match=refused):
        run_command("train", RECIPE, "--model_name_or_path", model, *output, "--max_steps", 1)
    with pytest.raises(UserError, match=refused):
        run_command("evaluate", RECIPE, "--models", model, *output)
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize("decoy", DECOYS)
def test_a_decoy_beside_the_pickle_of_an_encoder_is_refused(here, pickled, tmp_path, decoy):
    with pytest.raises(UserError, match="has no weights in safetensors"):
        run_command("build", RECIPE, "--encoder", pickled("encoder", decoy), "--output_dir", tmp_path / "o")
    assert not (tmp_path / "attacked").exists()


def test_an_adapter_of_a_pickle_is_refused(here, tmp_path):
    adapter = shutil.copytree("outputs/quickstart/adapter", tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").rename(adapter / "model.safetensors")
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Attack(tmp_path / "attacked")))
    with pytest.raises(UserError, match="has no weights in safetensors"):
        run_command("evaluate", RECIPE, "--models", adapter, "--output_dir", tmp_path / "o")
    assert not (tmp_path / "attacked").exists()


def test_pickles_beside_the_safetensors_that_are_read_do_no_harm(here, models, tmp_path):
    model = shutil.copytree(models / "lm", tmp_path / "lm")
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Attack(tmp_path / "attacked")))
    run_command("train", RECIPE, "--model_name_or_path", model, "--max_steps", 1, "--output_dir", tmp_path / "o")
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize("shard", ["pytorch_model.bin", "../lm/pytorch_model.bin", "gone.safetensors"])
def test_an_index_names_safetensors_that_exist(models, tmp_path, shard):
    AutoModelForCausalLM.from_pretrained(models / "lm").save_pretrained(tmp_path, max_shard_size="100KB")
    fetch_model(str(tmp_path))
    index = tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"] |= {"model.norm.weight": shard}
    index.write_text(json.dumps(content))
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(UserError, match=f"index.json names {shard}, which is missing or no safetensors file"):
        fetch_model(str(tmp_path))
