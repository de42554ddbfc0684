"""What a model is: where its base lies, how much it reads, and what was chosen for it."""

import json
import shutil
from pathlib import Path

import pytest

from ra_ner.errors import UserError
from ra_ner.evaluation.run import resolve_model
from ra_ner.hub.repos import LocalModel
from ra_ner.inference.engine import answer_budget
from ra_ner.inference.models import Model, find_model
from ra_ner.passage import Passage
from ra_ner.recipe import load_recipe
from ra_ner.recipe_keys import EvaluateConfig
from ra_ner.retrieval.on_demand import OnDemand
from ra_ner.retrieval.retriever import Example


@pytest.mark.parametrize("key", ["max_position_embeddings", "n_positions", "max_seq_len", "seq_length"])
def test_how_much_a_model_reads_stands_under_several_names(tmp_path, key):
    model = Model("m", LocalModel(tmp_path, ""), None, "ra_it", "en")
    (tmp_path / "config.json").write_text(json.dumps({key: 512}))
    assert model.max_length == 512


def test_the_base_of_an_adapter_is_found_from_any_folder(here, tmp_path, monkeypatch):
    """Training named it from the folder in which it ran."""
    shutil.copytree(here / "outputs" / "quickstart" / "adapter", tmp_path / "run" / "outputs" / "adapter")
    config = tmp_path / "run" / "outputs" / "adapter" / "adapter_config.json"
    content = json.loads(config.read_text())
    shutil.copytree(content["base_model_name_or_path"], tmp_path / "run" / "models" / "lm")
    config.write_text(json.dumps(content | {"base_model_name_or_path": "models/lm"}))
    monkeypatch.chdir(tmp_path)
    assert find_model("run/outputs/adapter").base.path == tmp_path / "run" / "models" / "lm"
    shutil.rmtree(tmp_path / "run" / "models")
    with pytest.raises(UserError, match="the base of adapter run/outputs/adapter: model 'models/lm' is no folder"):
        find_model("run/outputs/adapter")


def test_a_run_is_no_model_but_holds_one(here):
    with pytest.raises(UserError, match=r"'outputs/quickstart' is no model: .*; name outputs/quickstart/adapter$"):
        find_model("outputs/quickstart")


def test_nothing_in_the_current_folder_was_chosen_for_the_model_of_a_vendor(here, tmp_path, monkeypatch):
    recipe = load_recipe("recipes/quickstart.yaml")
    monkeypatch.chdir(tmp_path)
    OnDemand(None, 30, "other", 2).save(Path("on_demand.json"))
    config = EvaluateConfig(models=["big-one"], engine="server", server_api="chat", server_url="http://localhost/v1")
    assert resolve_model("big-one", recipe, config).on_demand is None


def test_only_a_list_of_mentions_is_as_short_as_its_text():
    assert [answer_budget(tokens, 256, lists_mentions=True) for tokens in (4, 400)] == [24, 256]
    assert answer_budget(4, 256, lists_mentions=False) == 256


def test_examples_leave_room_for_an_answer_that_may_be_longer_than_its_text(here):
    model = find_model("outputs/quickstart/adapter")
    examples = [Example(Passage("1", "Ada lived in London.", ()), 1.0)]

    def prompt(shown):
        return [*model.opening("Ada ran.", shown), model.question("person")]

    def shown(room, lists_mentions):
        room += model.count_tokens(prompt([example.passage for example in examples]))
        return len(model.fitting_examples("Ada ran.", examples, prompt, room, 256, lists_mentions))

    assert shown(40, lists_mentions=True) == 1 and shown(40, lists_mentions=False) == 0
    assert shown(256, lists_mentions=False) == 1
