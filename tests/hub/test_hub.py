"""Real client round trips over a loopback Hub: push, load by id, and every failure in one line."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from conftest import HUB, REAL_HUB, put_folder, run_command
from datasets import load_dataset
from huggingface_hub import DatasetCard, HfApi, ModelCard

from ra_ner.errors import UserError
from ra_ner.evaluation.publish import push_to_hub
from ra_ner.hub import card as cards
from ra_ner.hub import repos as ra_hub
from ra_ner.inference.models import find_model
from ra_ner.recipe import load_recipe
from ra_ner.training.card import OF_THE_WEIGHTS

RECIPE, VANILLA = "recipes/quickstart.yaml", "recipes/quickstart_vanilla.yaml"


@pytest.fixture
def no_waiting(monkeypatch):
    """The clients back off for half a minute before they give up; not here."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def push_dataset(recipe=RECIPE, repo="tester/data", *args) -> str:
    run_command("build", recipe, "--push_to_hub", "--hub_dataset_id", repo, *args)
    return HfApi().dataset_info(repo).sha


def test_dataset_adapter_and_scores_go_round(hub, here, models, tmp_path, capfd):
    base = put_folder("model", "tester/lm", models / "lm")

    # build -> push -> load by id
    data = push_dataset()
    local = load_dataset("outputs/quickstart/dataset", "quickstart")
    pushed = load_dataset("tester/data", "quickstart", revision=data)
    assert {split: part.to_list() for split, part in pushed.items()} == {s: p.to_list() for s, p in local.items()}
    streamed = load_dataset("tester/data", "quickstart", split="train", streaming=True)
    assert list(streamed) == local["train"].to_list()

    # train by id and revision -> push
    source = ["--dataset_name", "tester/data", "--dataset_revision", data, "--model_name_or_path", "tester/lm"]
    target = ["--push_to_hub", "--hub_model_id", "tester/adapter", "--output_dir", tmp_path / "run"]
    run_command("train", RECIPE, *source, *target, "--max_steps", "2")
    adapter = HfApi().model_info("tester/adapter").sha
    files = hub.files("model", "tester/adapter")
    assert {"adapter_model.safetensors", "tokenizer.json", "chat_template.jinja", "ra_it.json", "README.md"} <= set(
        files
    )
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    facts = json.loads(files["ra_it.json"])
    assert (facts["base"], facts["base_revision"]) == ("tester/lm", base)
    assert (facts["dataset"], facts["dataset_config"], facts["dataset_revision"]) == ("tester/data", "quickstart", data)
    assert json.loads(files["adapter_config.json"])["revision"] == base

    # the clients load it by its id alone
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert AutoPeftModelForCausalLM.from_pretrained("tester/adapter").peft_config["default"].r == 8
    assert AutoModelForCausalLM.from_pretrained("tester/adapter").active_adapters() == ["default"]
    assert "generation" in AutoTokenizer.from_pretrained("tester/adapter").chat_template

    # evaluate by id and revision -> push scores
    args = [
        "--models",
        "base",
        f"tester/adapter@{adapter}",
        "--settings",
        "zero_shot",
        "--output_dir",
        tmp_path / "scores",
    ]
    push = ["--push_to_hub", "--hub_model_id", "tester/adapter"]
    run_command("evaluate", RECIPE, *args, *push)
    files = hub.files("model", "tester/adapter")
    scores = json.loads(files["evaluation/quickstart/scores.json"])
    assert [(r["model"], r["revision"]) for r in scores["results"]][1] == (f"tester/adapter@{adapter}", adapter)
    assert {"evaluation/quickstart/predictions.jsonl", "evaluation/quickstart/report.md"} <= set(files)

    run_command("evaluate", RECIPE, *args, *push, "--hub_dataset_id", "tester/predictions")
    predictions = load_dataset("tester/predictions", "quickstart", split="test")
    assert len(predictions) == sum(result["queries"] for result in scores["results"])
    assert "evaluation/quickstart/predictions.jsonl" not in hub.files("model", "tester/adapter")

    # the card knows all of it, and its metadata is what the Hub expects
    card = ModelCard.load("tester/adapter")
    metadata = card.data.to_dict()
    assert (metadata["library_name"], metadata["base_model"]) == ("peft", "tester/lm")
    assert (metadata["base_model_relation"], metadata["datasets"]) == ("adapter", ["tester/data"])
    assert metadata["language"] == ["en"] and "named-entity-recognition" in metadata["tags"]
    (result,) = metadata["model-index"][0]["results"]
    assert result["dataset"]["name"] == "sample_en, zero_shot, a sample of 3 passages"
    figures = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert figures == {f"{n} F1": round(100 * scores["results"][1][n]["f1"], 2) for n in ("span", "grounded", "uniner")}
    for known in (base, data, "lora_r: 8", "## Scores: quickstart", "| zero_shot |"):
        assert known in card.text, known
    assert card.text.count("<!-- ra-ner: adapter -->") == 1

    # private unless told otherwise, and the token is nowhere
    assert all(repo.private for (kind, name), repo in hub.repos.items() if name != "tester/lm")
    everything = b"".join(data for key in hub.repos for data in hub.files(*key).values())
    for folder in (tmp_path, here / "outputs"):
        everything += b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    out, err = capfd.readouterr()
    assert hub.token.encode() not in everything + out.encode() + err.encode()
    assert out.count("pushed to tester/") == 5


def test_leaderboards_get_the_scores_of_benchmarks_that_were_read_from_the_hub(hub, here, tmp_path):
    """Files of the user's own are not the Hub's dataset, although they go by its name."""
    names = ("crossner_ai", "crossner_music")
    scores = {
        "config": {"limit": None, "benchmarks": ["crossner_ai", "crossner_music=data/own"]},
        "labels": dict.fromkeys(names, "ra_ner"),
        "results": [
            {
                "model": model,
                "benchmark": name,
                "setting": "zero_shot",
                "span": {"f1": span},
                "grounded": {"f1": 0.7},
                "uniner": {"f1": 0.6},
            }
            for model, span in (("tester/adapter@v1", 0.4), ("quickstart", 0.5))
            for name in names
        ],
    }
    for name, content in (("scores.json", json.dumps(scores)), ("report.md", "# quickstart\n")):
        (tmp_path / name).write_text(content)
    for name in ("report.html", "predictions.jsonl"):
        (tmp_path / name).touch()
    ra_hub.prepare_push("model", "tester/adapter", True, "--hub_model_id")
    push_to_hub(tmp_path, load_recipe(RECIPE), "tester/adapter")
    (entry,) = yaml.safe_load(hub.files("model", "tester/adapter")[".eval_results/quickstart.yaml"])
    assert entry["dataset"] == {"id": "DFKI-SLT/cross_ner", "task_id": "ai_zero_shot"} and entry["value"] == 50
    results = ModelCard.load("tester/adapter").data.to_dict()["model-index"][0]["results"]
    assert [result["dataset"]["type"] for result in results] == list(names), "the card has all"
    assert [m["value"] for result in results for m in result["metrics"] if m["name"] == "span F1"] == [50, 50]


def test_public_if_told_so(hub, here):
    push_dataset(RECIPE, "tester/open", "--hub_private_repo", "false")
    assert not hub.repos["dataset", "tester/open"].private


def test_pushing_one_config_leaves_the_other_untouched(hub, here):
    def part(name: str) -> str:
        readme = hub.files("dataset", "tester/two")["README.md"].decode()
        return re.search(f"<!-- ra-ner: {name} -->.*<!-- /ra-ner: {name} -->", readme, re.DOTALL)[0]

    def rows(name: str) -> dict[str, bytes]:
        return {p: data for p, data in hub.files("dataset", "tester/two").items() if p.startswith(f"{name}/")}

    push_dataset(RECIPE, "tester/two")
    first = part("quickstart"), rows("quickstart")
    push_dataset(VANILLA, "tester/two")
    second = part("quickstart_vanilla"), rows("quickstart_vanilla")
    assert (part("quickstart"), rows("quickstart")) == first
    assert len(rows("quickstart")) == len(rows("quickstart_vanilla")) == 3

    folder = here / "outputs" / "bigger"
    push_dataset(RECIPE, "tester/two", "--seed", "1", "--output_dir", folder)
    assert (part("quickstart_vanilla"), rows("quickstart_vanilla")) == second
    assert len(rows("quickstart")) == 3 and rows("quickstart") != first[1], "old rows are gone"
    for name in ("quickstart", "quickstart_vanilla"):
        assert load_dataset("tester/two", name)["train"].num_rows == 10
    with pytest.raises(ValueError, match="Config name is missing"):
        load_dataset("tester/two")


def test_a_card_written_by_hand_keeps_its_words_and_metadata(hub, here):
    hub.create("dataset", "tester/mine")
    hub.put(
        "dataset", "tester/mine", {"README.md": b"---\nlicense: cc0-1.0\ntags: [mine]\n---\n\n# My words\n\nStay.\n"}
    )
    push_dataset(RECIPE, "tester/mine")
    readme = hub.files("dataset", "tester/mine")["README.md"].decode()
    assert "# My words\n\nStay." in readme and "license: cc0-1.0" in readme and "- mine" in readme
    assert load_dataset("tester/mine", "quickstart")["train"].num_rows == 10


def test_a_card_saved_by_a_windows_editor_keeps_its_metadata_and_one_in_latin_1_is_left_alone(hub, here):
    hub.create("dataset", "tester/mine")
    hub.put("dataset", "tester/mine", {"README.md": b"\xef\xbb\xbf---\nextra_gated_prompt: Ask.\n---\n# Mine\n"})
    push_dataset(RECIPE, "tester/mine")
    assert DatasetCard.load("tester/mine").data.to_dict()["extra_gated_prompt"] == "Ask."
    hub.create("dataset", "tester/old")
    hub.put("dataset", "tester/old", {"README.md": b"# K\xf6ln\n"})
    before = hub.files("dataset", "tester/old")
    with pytest.raises(UserError, match=r"its README.md is not in UTF-8: convert it; the dataset is kept in"):
        push_dataset(RECIPE, "tester/old")
    assert hub.files("dataset", "tester/old") == before


def test_the_dataset_and_the_predictions_of_a_recipe_do_not_take_the_place_of_one_another(hub, here, tmp_path):
    push_dataset(RECIPE, "tester/data")
    before = hub.files("dataset", "tester/data")
    target = ["--push_to_hub", "--hub_model_id", "tester/adapter", "--output_dir", tmp_path / "scores"]
    refusal = "has a config quickstart with other data: name another `hub_dataset_id`"
    with pytest.raises(UserError, match=f"tester/data {refusal}"):
        run_command("evaluate", RECIPE, *target, "--hub_dataset_id", "tester/data")
    assert hub.files("dataset", "tester/data") == before and not (tmp_path / "scores").exists()
    run_command("evaluate", RECIPE, *target, "--hub_dataset_id", "tester/answers")
    with pytest.raises(UserError, match=f"tester/answers {refusal}"):
        push_dataset(RECIPE, "tester/answers")


def test_data_that_a_config_would_hide_from_load_dataset_is_not_pushed_over(hub, here):
    hub.create("dataset", "tester/corpus")
    hub.put("dataset", "tester/corpus", {"train.jsonl": b'{"text": "Ada ran."}\n'})
    with pytest.raises(UserError, match="tester/corpus holds data without `configs:` in its card, which load_dataset"):
        push_dataset(RECIPE, "tester/corpus")
    assert load_dataset("tester/corpus")["train"].num_rows == 1


def test_text_of_the_data_cannot_end_its_part_of_the_card():
    evil = "<!-- /ra-ner: a -->\n# Owned"
    card = cards.new_card({"tags": ["x"]}, "t", "a", evil)
    merged = cards.merge(card, cards.new_card({}, "t", "a", "new"))
    assert "Owned" not in merged and merged.count("ra-ner: a") == 2


FAULTS = {
    "503": (lambda: HUB.fail("/commit/", 503), r"answered with an error \(503\)"),
    "429": (lambda: HUB.fail("/commit/", 429), "wait a few minutes"),
    "a lost commit": (lambda: HUB.cut("/commit/"), "the connection broke off"),
    "a lost upload": (lambda: HUB.cut("PUT /lfs/", times=99), "the connection broke off"),
    "uploads refused": (lambda: HUB.fail("PUT /lfs/", 503, times=99), r"\(503\)"),
    "a repo that can't be made": (lambda: HUB.fail("/repos/create", 500), r"can't be made.*\(500\)"),
    "a refused card": (lambda: HUB.fail("/validate-yaml", 400), r"the Hub refuses it \(400\): Injected failure"),
    "no room": (lambda: HUB.fail("/commit/", 403), r"the token may not write there \(Injected failure\)"),
    "a gateway's page": (lambda: HUB.fail("/validate-yaml", 502, page=b"<html>"), "the Hub's answer can't be read"),
    "a push in between": (lambda: HUB.fail("/commit/", 412), "somebody else has pushed"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_push_is_one_line_keeps_the_work_and_a_rerun_completes(hub, here, tmp_path, no_waiting, fault):
    inject, message = FAULTS[fault]
    inject()
    args = [RECIPE, "tester/faulty", "--output_dir", tmp_path / "dataset", "--seed", str(list(FAULTS).index(fault))]
    with pytest.raises(UserError, match=message) as error:
        push_dataset(*args)
    assert "\n" not in str(error.value) and hub.token not in str(error.value)
    if "can't be made" not in message:
        assert "kept in" in str(error.value) and (tmp_path / "dataset" / "README.md").is_file()
        assert not any(path.startswith("quickstart/") for path in hub.files("dataset", "tester/faulty")), (
            "all or nothing"
        )
    hub.heal()
    push_dataset(*args)
    assert load_dataset("tester/faulty", "quickstart")["train"].num_rows == 10


@pytest.mark.parametrize(
    "token, repo, message",
    [
        ("hf_wrong", "tester/x", "the token is wrong or expired"),
        (None, "other/x", "the token may not write there"),
        (None, "other/public", "the token may not write there"),
    ],
)
def test_a_token_that_may_not_write_is_refused_before_any_work(hub, here, tmp_path, monkeypatch, token, repo, message):
    for repo_type in ("model", "dataset"):
        hub.create(repo_type, "other/public")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    for script, flag in (
        ("build", "--hub_dataset_id"),
        ("train", "--hub_model_id"),
        ("evaluate", "--hub_model_id"),
    ):
        with pytest.raises(UserError, match=message) as error:
            run_command(script, RECIPE, "--push_to_hub", flag, repo, "--output_dir", tmp_path / "o")
        assert "hf_wrong" not in str(error.value)
        for target in ([], [flag, "x"]):
            with pytest.raises(UserError, match="give `hub_.*_id: namespace/name`"):
                run_command(script, RECIPE, "--push_to_hub", *target, "--output_dir", tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_a_training_whose_push_failed_is_completed_without_training_again(hub, here, tmp_path, capfd):
    args = [RECIPE, "--output_dir", tmp_path, "--max_steps", "2", "--push_to_hub", "--hub_model_id", "tester/late"]
    hub.fail("/commit/", 503)
    with pytest.raises(UserError, match=r"the adapter is kept in .*--resume_from_checkpoint true"):
        run_command("train", *args)
    weights = (tmp_path / "adapter" / "adapter_model.safetensors").read_bytes()
    run_command("train", *args, "--resume_from_checkpoint", "true")
    assert hub.files("model", "tester/late")["adapter_model.safetensors"] == weights


def test_what_was_calibrated_for_other_weights_does_not_stay_with_new_ones(hub, here, tmp_path):
    hub.create("model", "tester/adapter")
    hub.put("model", "tester/adapter", {"calibration.json": b"{}", "on_demand.json": b"{}", "notes.md": b"Mine"})
    target = ["--push_to_hub", "--hub_model_id", "tester/adapter", "--output_dir", tmp_path]
    run_command("train", RECIPE, *target, "--max_steps", "1")
    files = hub.files("model", "tester/adapter")
    assert files["notes.md"] == b"Mine" and not {"calibration.json", "on_demand.json"} & files.keys()


@pytest.mark.parametrize(
    "prepare, name, message",
    [
        (lambda: None, "tester/none", "there is no such repo, or it is private"),
        (lambda: HUB.create("model", "other/secret", private=True), "other/secret", "there is no such repo"),
        (lambda: HUB.create("model", "other/gated", gated=True), "other/gated", "it is gated: ask for access"),
        (lambda: HUB.create("model", "tester/m"), "tester/m@v9", "no such revision"),
        (lambda: None, "not a name", "neither a folder that exists nor a repo id"),
        (
            lambda: (HUB.create("model", "tester/e"), HUB.fail("/resolve/", 503, 99)),
            "tester/e",
            r"\(503\)|not be reached",
        ),
    ],
)
def test_models_that_cannot_be_fetched(hub, here, no_waiting, prepare, name, message):
    prepare()
    for key in list(hub.repos):
        hub.put(*key, {"config.json": f'{{"{name}": 1}}'.encode()})
    with pytest.raises(UserError, match=message) as error:
        find_model(name)
    assert "\n" not in str(error.value)


def test_weights_in_other_formats_are_never_fetched(hub, models):
    put_folder("model", "tester/pickles", models / "lm")
    hub.put("model", "tester/pickles", {"pytorch_model.bin": b"pickle", "training_args.bin": b"pickle"})
    fetched = ra_hub.fetch_model("tester/pickles")
    assert {path.name for path in fetched.path.iterdir()} == {path.name for path in (models / "lm").iterdir()}


def test_a_model_of_pickles_alone_is_refused_and_found_at_a_revision_with_safetensors(hub, here, models, tmp_path):
    files = {path.name: path.read_bytes() for path in (models / "lm").iterdir()}
    weights = files.pop("model.safetensors")
    hub.create("model", "tester/pickled")
    hub.put("model", "tester/pickled", files | {"pytorch_model.bin": b"pickle"})
    pull_request = files | {"model.safetensors": weights}
    converted = hub.repos["model", "tester/pickled"].commit("refs/pr/1", pull_request, "Convert")
    refused = r"'tester/pickled' has no weights in safetensors.*: convert them, or name the revision of a pull request"
    args = [RECIPE, "--output_dir", tmp_path]
    with pytest.raises(UserError, match=refused):
        run_command("evaluate", *args, "--models", "tester/pickled")
    with pytest.raises(UserError, match=refused):
        run_command("train", *args, "--model_name_or_path", "tester/pickled")
    assert ra_hub.fetch_model("tester/pickled", "refs/pr/1").revision == converted.sha


def test_an_adapter_whose_base_has_changed_is_refused(hub, here, tmp_path):
    adapter = here / "outputs" / "quickstart" / "adapter"
    facts = json.loads((adapter / "ra_it.json").read_text())
    (tmp_path / "adapter").mkdir()
    for file in adapter.iterdir():
        (tmp_path / "adapter" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "adapter" / "ra_it.json").write_text(json.dumps({**facts, "base_revision": "0000"}))
    with pytest.raises(UserError, match=r"was trained on .* at 0000, but that is now at"):
        adapter = str(tmp_path / "adapter")
        find_model(adapter)


RELEASED_PROMPTS = {
    "EmmaStrong/RA-IT-NER-zh-7B": (
        "zh",
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n文本： ",
        "<|im_start|>assistant\n我已读完这段文本。<|im_end|>\n<|im_start|>user\n文本中属于",
        "的实体有哪些？<|im_end|>\n<|im_start|>assistant\n",
    ),
    "Universal-NER/UniNER-7B-type": (
        "en",
        " A virtual assistant answers questions from a user based on the provided text. USER: Text: ",
        " ASSISTANT: I've read this text.</s> USER: What describes ",
        " in the text? ASSISTANT:",
    ),
    "EmmaStrong/RA-IT-NER-8B": (
        "en",
        "<|start_header_id|>system<|end_header_id|>\n\nA virtual assistant answers questions from a user based on the "
        "provided text.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nText: ",
        "<|start_header_id|>assistant<|end_header_id|>\n\nI’ve read this text.<|eot_id|>",
        " in the text?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
}


@pytest.mark.parametrize("name", RELEASED_PROMPTS)
def test_released_checkpoints_are_asked_in_their_own_words_and_chat_format(
    hub, here, models, tmp_path, monkeypatch, name
):
    from ra_ner.inference.transformers import TransformersEngine

    put_folder("model", name, models / "lm")
    language, begins, contains, ends = RELEASED_PROMPTS[name]
    prompts, generate = [], TransformersEngine.answer

    def recorded(engine, requests):
        from ra_ner.prompting.chat_template import prompt_ids

        prompts.extend(engine.tokenizer.decode(prompt_ids(engine.tokenizer, r.messages)) for r in requests)
        return generate(engine, requests)

    monkeypatch.setattr(TransformersEngine, "answer", recorded)
    recipe = tmp_path / "released.yaml"
    recipe.write_text(f"extends: {here / RECIPE}\nlanguage: {language}\n")
    args = ["--models", name, "--benchmarks", f"sample_{language}", "--settings", "zero_shot", "--limit", "2"]
    scores = run_command("evaluate", recipe, *args, "--output_dir", tmp_path / "o")
    assert scores["results"][0]["model"] == name and scores["results"][0]["queries"] == len(prompts) > 4
    for prompt in prompts:
        bos = "" if begins.startswith("<|im_start|>") else "<|im_start|>"  # of the tiny tokenizer
        text = prompt.removeprefix(bos)
        assert text.startswith(begins) and contains in text and text.endswith(ends)


def test_what_the_user_wrote_into_the_metadata_of_a_card_stays():
    mine = "---\nlanguage:\n- en\n- no\nversion: 1.10\nscore: 0.5\nsize: 12\ntags: [on, true]\n---\n# Mine\n"
    merged = cards.merge(mine, cards.new_card({"tags": ["ra-it"]}, "t", "a", "new"))
    metadata = yaml.safe_load(merged.split("---")[1])
    assert metadata["language"] == ["en", "no"] and metadata["tags"] == ["on", True, "ra-it"]
    assert (metadata["version"], metadata["score"], metadata["size"]) == ("1.10", 0.5, 12)


def test_what_the_card_says_of_other_weights_does_not_stay_with_new_ones(hub):
    hub.create("model", "tester/adapter")
    facts = {"base_model": "org/a", "base_model_relation": "adapter", "datasets": ["org/old"], "license": "mit"}
    hub.put("model", "tester/adapter", {"README.md": cards.new_card(facts, "t", "adapter", "old").encode()})
    new = cards.new_card({"datasets": ["org/new"]}, "t", "adapter", "trained on a base in a folder")
    ra_hub.push("model", "tester/adapter", {}, new, "m", "", card_keys=OF_THE_WEIGHTS)
    assert ModelCard.load("tester/adapter").data.to_dict() == {"license": "mit", "datasets": ["org/new"]}


def test_a_copied_model_is_the_same_model(tmp_path):
    for name in ("one", "copy"):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "model.safetensors").open("wb") as weights:
            weights.truncate(300 * 2**20)  # zeros that take no room
    copied = tmp_path / "copy" / "model.safetensors"
    os.utime(copied, (0, 0))
    one = ra_hub.fetch_model(str(tmp_path / "one")).revision
    assert ra_hub.fetch_model(str(tmp_path / "copy")).revision == one
    with copied.open("r+b") as weights:
        weights.seek(-1, os.SEEK_END)
        weights.write(b"1")
    assert ra_hub.fetch_model(str(tmp_path / "copy")).revision != one


def test_files_in_subfolders_are_part_of_a_model_but_download_records_and_the_card_are_not(tmp_path):
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "model.safetensors").touch()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    before = ra_hub.fetch_model(str(folder)).revision
    (folder / ".cache" / "huggingface").mkdir(parents=True)
    (folder / ".cache" / "huggingface" / "model.safetensors.metadata").write_text("1764273261.5")
    (folder / "README.md").write_text("# A card")
    (folder / "training_curves.png").write_bytes(b"a chart, which a resumed run draws otherwise")
    assert ra_hub.fetch_model(str(folder)).revision == before
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    assert ra_hub.fetch_model(str(folder)).revision != before
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    (folder / "1_Pooling").rename(folder / "2_Pooling")
    assert ra_hub.fetch_model(str(folder)).revision != before, "paths count"


@pytest.mark.hub_live
def test_the_real_hub_takes_a_private_dataset_and_gives_it_back(here):
    """Needs HF_TOKEN with write access; makes a private repo in the account's namespace and deletes it again."""
    if not REAL_HUB.get("HF_TOKEN"):
        pytest.skip("HF_TOKEN is not set; give a token with write access to test against the real Hub")
    code = """
import sys, uuid
from datasets import load_dataset
from huggingface_hub import HfApi
from ra_ner.commands import build as build_ra_dataset
api = HfApi()
repo = f"{api.whoami()['name']}/ra-ner-test-{uuid.uuid4().hex[:8]}"
try:
    args = [sys.argv[1], "--push_to_hub", "--hub_dataset_id", repo]
    build_ra_dataset.run(*build_ra_dataset.make_parser().parse_recipe(args))
    assert api.dataset_info(repo).private
    assert load_dataset(repo, "quickstart")["train"].num_rows == 10
finally:
    api.delete_repo(repo, repo_type="dataset", missing_ok=True)
"""
    environment = {key: value for key, value in os.environ.items() if key not in HUB.environment("")} | REAL_HUB
    subprocess.run([sys.executable, "-c", code, RECIPE], cwd=here, env=environment, check=True)


def test_a_push_of_somebody_else_in_between_is_noticed(hub, here, tmp_path, monkeypatch):
    push_dataset(RECIPE, "tester/between", "--output_dir", tmp_path / "d")
    merge = ra_hub.merge

    def merge_slowly(*args):
        hub.put("dataset", "tester/between", {"other.txt": b"theirs"})
        return merge(*args)

    monkeypatch.setattr(ra_hub, "merge", merge_slowly)
    with pytest.raises(UserError, match="somebody else has pushed in the meantime"):
        push_dataset(RECIPE, "tester/between", "--output_dir", tmp_path / "d", "--seed", "1")
    assert hub.files("dataset", "tester/between")["other.txt"] == b"theirs"
