"""The model's card: made from data, escaped, and its code runs."""

import json
import re

import pytest
import yaml
from conftest import byte_level_tokenizer, put_folder, run_command
from huggingface_hub import ModelCard, RepoCard
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_ner.hub.card import REPO, license_of, merge
from ra_ner.prompting.chat_template import TEMPLATES, end_of_turn
from ra_ner.training.card import merged_card, model_card

RECIPE = "recipes/quickstart.yaml"
FACTS = {
    "recipe": "r",
    "language": "en",
    "wording": "ra_it",
    "strategy": "nn",
    "k": 2,
    "base": "org/base",
    "base_revision": "b" * 40,
    "dataset": "org/data",
    "dataset_config": "r",
    "dataset_revision": "d" * 40,
    "effective_batch_size": 8,
    "config": {"lora_r": 8},
    "base_license": "apache-2.0",
    "dataset_license": "apache-2.0",
}


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = (TEMPLATES / "smollm2.jinja").read_text()
    return tokenizer


def make_card(tokenizer, **facts) -> RepoCard:
    return RepoCard(model_card({**FACTS, **facts}, tokenizer, [], None))


def code(card: str) -> str:
    return "\n".join(re.findall(r"```python\n(.*?)\n```", card, re.DOTALL))


@pytest.mark.parametrize(
    "base, data, license, words",
    [
        ("apache-2.0", "apache-2.0", "apache-2.0", ["apache-2.0"]),
        ("apache-2.0", "cc-by-nc-4.0", "other", ["apache-2.0", "cc-by-nc-4.0"]),
        (None, "cc0-1.0", None, ["unknown, see its page", "cc0-1.0"]),
        ("mit", None, None, ["mit", "unknown, ask its authors"]),
    ],
)
def test_both_licenses_are_named_and_none_is_made_up(tokenizer, base, data, license, words):
    card = make_card(tokenizer, base_license=base, dataset_license=data)
    assert card.data.to_dict().get("license") == license
    assert all(word in card.text for word in words)


def test_the_license_of_a_base_is_read_from_its_card(tmp_path):
    readme = tmp_path / "README.md"
    assert license_of(tmp_path) is None
    for text, license in [
        ("---\nlicense: mit\n---\n", "mit"),
        ("---\nlicense: other\nlicense_name: llama3\n---\n", "llama3"),
        ("---\ntags: [x]\n---\n", None),
        ("---\nlicense: [mit\n---\n", None),
        ("no metadata", None),
    ]:
        readme.write_text(text)
        assert license_of(tmp_path) == license, text


def test_the_prompt_is_shown_as_the_model_reads_it(tokenizer):
    text = make_card(tokenizer).text
    assert "<|im_start|>user\nHere are some examples" in text
    assert '<|im_start|>assistant\n["London"]<|im_end|>' in text
    assert "Here are some examples" not in make_card(tokenizer, k=0, strategy="none").text
    assert "<|im_start|>user\n文本： 鲁迅生于绍兴。<|im_end|>" in make_card(tokenizer, language="zh").text


@settings(max_examples=30, deadline=None)
@given(evil=st.text(max_size=40) | st.sampled_from(["```\n# Owned", "| a |\n# Owned", "<!-- /ra-ner: adapter -->"]))
def test_text_from_outside_opens_no_heading_and_ends_no_part(tokenizer, evil):
    card = make_card(tokenizer, config={"run": evil}, dataset_config=evil, base_license=evil, strategy=evil)
    outside_code = re.sub(r"^(`{3,})\w*\n.*?\n\1$", "", card.text, flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"^#+ .*", outside_code, re.MULTILINE) == ["# r", "## Training"]
    assert re.findall(r"<!-- .*? -->", card.text) == [
        f"<!-- {end}ra-ner: {part} -->" for part in ("adapter", "training") for end in ("", "/")
    ]


@pytest.mark.parametrize("template, stop", [("smollm2", "<|im_end|>"), ("chatml", "<|im_end|>")])
def test_the_token_that_ends_a_turn_is_the_templates(tokenizer, template, stop):
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = (TEMPLATES / f"{template}.jinja").read_text()
    tokenizer.eos_token = "<|endoftext|>"  # what some bases call it is not what ends a turn
    assert end_of_turn(tokenizer) == stop


def test_a_pushed_card_tells_of_the_run_and_its_code_runs(hub, here, models, tmp_path, capsys):
    put_folder("model", "tester/lm", models / "lm")
    hub.put("model", "tester/lm", {"README.md": b"---\nlicense: apache-2.0\n---\n"})
    args = ["--model_name_or_path", "tester/lm", "--push_to_hub", "--hub_model_id", "tester/card"]
    args += ["--max_steps", "2", "--logging_steps", "1", "--eval_strategy", "steps", "--eval_steps", "1"]
    run_command("train", RECIPE, *args, "--learning_rate", "2e-4", "--output_dir", tmp_path)

    files = hub.files("model", "tester/card")
    assert files["training_curves.png"].startswith(b"\x89PNG")
    card = ModelCard.load("tester/card")
    assert "(training_curves.png)" in card.text and REPO not in card.text
    used = yaml.safe_load(re.search(r"```yaml\n(.*?)\n```", card.text, re.DOTALL)[1])["train"]
    assert (used["learning_rate"], used["max_steps"], used["lora_r"]) == (2e-4, 2, 8), "flags, recipe and defaults"
    assert (used["lora_alpha"], used["lr_scheduler_type"], used["max_length"]) == (16, "cosine", 8192)
    assert json.loads(files["ra_it.json"])["config"] == used
    assert str(tmp_path) not in card.text
    losses = [entry["loss"] for entry in log_history(tmp_path) if "loss" in entry]
    table = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", card.text, re.MULTILINE))
    assert table["last training loss"] == f"{losses[-1]:.4f}" and "last validation loss" in table
    assert table["steps"] == "2" and table["license of the base model"] == "apache-2.0"
    assert (
        re.fullmatch(r"1 x .+ \(cpu\)", table["hardware"].replace("\\", ""))
        and "GB" in table["peak memory of a process"]
    )
    assert re.fullmatch(r"\d:\d\d:\d\d", table["training time since the last start"])

    assert {"no example", 'one example: "The Rhine flows past Basel.", city "Basel"'} <= set(table)
    capsys.readouterr()
    exec(code(card.text), {})  # the code of our own card, as a reader would run it
    assert "Traceback" not in capsys.readouterr().err


def log_history(run) -> list[dict]:
    (last,) = (run / "checkpoints").glob("checkpoint-2")
    return json.loads((last / "trainer_state.json").read_text())["log_history"]


def test_the_card_shows_what_the_model_answered_as_text(tokenizer):
    answers = {"no example": "[]", "one example": '["<b>London"] | # x'}
    card = RepoCard(model_card(FACTS, tokenizer, [], None, answers))
    assert 'was asked for city in "Ada Lovelace lived in London." and answered:' in card.text
    assert "| no example | [] |" in card.text.replace("\\", "") and "<b>" not in card.text
    assert [entry["output"]["text"] for entry in card.data.to_dict()["widget"]] == list(answers.values())
    merged = RepoCard(merge(str(card), str(card)))
    assert merged.data.to_dict()["widget"] == card.data.to_dict()["widget"]
    vanilla = model_card({**FACTS, "k": 0}, tokenizer, [], None, {"no example": "[]"})
    assert "one example" not in vanilla and "examples=" not in code(vanilla)


def test_findings_of_a_merge_are_text_of_the_card(tokenizer):
    adapter = model_card(FACTS, tokenizer, [], None)
    card = RepoCard(merged_card(adapter, FACTS, tokenizer, ["a *finding*"]))
    assert r"- a \*finding\*" in card.text and "lora_r: 8" in card.text
    assert (card.data.library_name, card.data.base_model_relation) == ("transformers", "finetune")
    assert "AutoModelForCausalLM.from_pretrained" in code(card.text) and "AutoPeft" not in card.text
