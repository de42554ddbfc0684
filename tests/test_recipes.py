"""The paper's recipes, run whole by their own Hub ids, which a loopback Hub serves with tiny models."""

import json

import pytest
from conftest import HUB, REPO, byte_level_tokenizer, put_folder, run_script, save_tiny_model

from ra_ner.corpus import read_corpus
from ra_ner.rendering import TEMPLATES


def conversations(language: str) -> bytes:
    """The sample corpus as ShareGPT conversations, the form of Pile-NER-type and Sky-NER."""
    from ra_ner.conversation import find_wording, training_conversation

    rows = []
    for passage in read_corpus(REPO / "data" / "sample" / f"{language}.jsonl")[:30]:
        prompt, completion = training_conversation(passage, passage.types, [], find_wording("ra_it", language))
        turns = [{"from": m["role"], "value": m["content"]} for m in prompt + completion]
        rows.append({"id": passage.id, "conversations": turns})
    return json.dumps(rows, ensure_ascii=False).encode()


@pytest.fixture
def hub_of_the_paper(hub, models, tmp_path):
    """The corpora, encoders and base models that the recipes name."""
    qwen = byte_level_tokenizer()
    qwen.bos_token = None  # as Qwen1.5
    qwen.chat_template = (TEMPLATES / "chatml.jinja").read_text(encoding="utf-8")
    qwen.chat_template = qwen.chat_template.replace("{%- generation -%}", "").replace("{%- endgeneration -%}", "")
    save_tiny_model("qwen2", qwen, tmp_path / "qwen")
    put_folder("model", "Qwen/Qwen1.5-7B-Chat", tmp_path / "qwen")
    llama = byte_level_tokenizer()
    llama.chat_template = None  # a base model
    llama.add_special_tokens({"additional_special_tokens": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]})
    llama.bos_token, llama.eos_token = "<|im_start|>", "<|endoftext|>"
    save_tiny_model("llama", llama, tmp_path / "llama")
    put_folder("model", "meta-llama/Meta-Llama-3-8B", tmp_path / "llama")
    for name in ("thenlper/gte-large", "thenlper/gte-large-zh"):
        put_folder("model", name, models / "encoder")
    for name, language in (("Universal-NER/Pile-NER-type", "en"), ("EmmaStrong/Sky-NER", "zh")):
        HUB.create("dataset", name)
        HUB.put("dataset", name, {"train.json": conversations(language)})


@pytest.mark.parametrize("name", ["en_10k", "zh_10k", "zh_5k_vanilla"])
def test_a_recipe_of_the_paper_runs_whole(hub_of_the_paper, workplace, monkeypatch, capsys, name):
    monkeypatch.chdir(workplace)
    recipe = REPO / "recipes" / f"{name}.yaml"
    run_script("build_ra_dataset", recipe, "--max_length", 9000)
    run_script("train_sft", recipe, "--max_length", 9000, "--max_steps", 2, "--eval_steps", 2, "--save_steps", 2)
    scores = run_script("evaluate_ner", recipe, "--models", "adapter", "--limit", 2, "--max_new_tokens", 2)
    facts = json.loads((workplace / "outputs" / name / "adapter" / "ra_it.json").read_text())
    assert facts["k"] == (0 if "vanilla" in name else 2)
    assert [result["model"] for result in scores["results"]] == [name, name]
    template = (workplace / "outputs" / name / "adapter" / "chat_template.jinja").read_text()
    assert template == (TEMPLATES / ("chatml.jinja" if name.startswith("zh") else "llama3.jinja")).read_text()


@pytest.mark.parametrize("name", [f"{language}_{size}" for language in ("en", "zh") for size in ("5k", "10k", "50k")])
def test_sizes_and_twins_differ_in_one_key(name):
    from ra_ner.recipe import load_recipe

    names = (f"{name[:2]}_10k", name, f"{name}_vanilla")
    ten, recipe, twin = (load_recipe(REPO / "recipes" / f"{n}.yaml").sections for n in names)
    assert twin["dataset"].pop("strategy") == "none" and recipe["dataset"].pop("strategy") == "nn"
    assert twin == recipe
    assert recipe["dataset"].pop("size") == int(name[3:-1]) * 1000
    ten["dataset"].pop("size"), ten["dataset"].pop("strategy")
    assert recipe == ten
