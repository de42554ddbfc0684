"""Rows that would train a broken model are refused before the first step, in one line that names the way out."""

import pytest
from conftest import byte_level_tokenizer, run_command
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_trainer import RECIPE, dataset_with_text
from transformers import AutoTokenizer, LlamaForCausalLM

from ra_ner.errors import UserError
from ra_ner.training.checks import check_prompts, check_rows, check_vocabulary, rows_that_fit, trained_runs

STOP, BOS = frozenset([9]), 7


def check(ids, labels):
    return check_rows([{"input_ids": ids, "labels": labels}], "train", STOP, BOS)


def test_a_good_row_passes_and_is_measured():
    assert check([7, 1, 2, 9, 3, 4, 9], [-100, -100, 2, 9, -100, 4, 9]) == [(7, 4)]
    # some templates train the newline after the end-of-turn token
    assert check([7, 1, 2, 9, 5], [-100, -100, 2, 9, 5]) == [(5, 3)]


@pytest.mark.parametrize(
    "ids, labels, message",
    [
        ([7, 1, 2], [-100] * 3, "train row 1 has no trained token"),
        ([7, 7, 1, 9], [-100, -100, 1, 9], "two BOS tokens"),
        ([7, 1, 2, 3], [-100, -100, 2, 3], "never stop: set `eos_token`"),
        ([7, 1, 9, 1, 2, 3], [-100, 1, 9, -100, 2, 3], "never stop"),
    ],
)
def test_bad_rows(ids, labels, message):
    with pytest.raises(UserError, match=message):
        check(ids, labels)


def test_rows_that_are_too_long_are_refused_or_dropped_never_cut():
    with pytest.raises(UserError, match=r"2 of 4 train rows are longer than `max_length: 5`.*`on_overflow: drop_row`"):
        rows_that_fit([5, 6, 2, 9], "train", 5, "error")
    assert rows_that_fit([5, 6, 2, 9], "train", 5, "drop_row") == [0, 2]
    assert rows_that_fit([5, 6, 2, 9], "train", 9, "error") == rows_that_fit([5, 6, 2, 9], "train", None, "error")
    with pytest.raises(UserError, match="2 of 2 train rows.*the longest has 9: raise `max_length`, or build"):
        rows_that_fit([6, 9], "train", 5, "drop_row")


def test_a_row_begins_with_the_prompt_that_evaluation_asks():
    row = {"id": "a", "prompt": [], "input_ids": [7, 1, 2, 9]}
    check_prompts([row], "train", lambda prompt: [7, 1])
    for asked in ([7, 2], [7, 1, 2, 9, 9]):
        with pytest.raises(UserError, match="train row 'a' does not begin with the prompt.*`chat_template_path`"):
            check_prompts([row], "train", lambda prompt, asked=asked: asked)


@given(st.lists(st.integers(min_value=0, max_value=3) | st.just(-100)))
def test_trained_runs_are_the_stretches_between_masks(labels):
    runs = trained_runs(labels)
    assert [label for run in runs for label in run] == [label for label in labels if label != -100]
    assert all(runs) and len(runs) <= labels.count(-100) + 1


def test_a_tokenizer_larger_than_the_embedding():
    check_vocabulary(100, 128)
    with pytest.raises(UserError, match="the tokenizer has 129 tokens, the model's embedding only 128"):
        check_vocabulary(129, 128)


# The same through the script, on models that have the fault.


def refuse(message, tmp_path, *args):
    with pytest.raises(UserError, match=message) as error:
        run_command("train", RECIPE, "--output_dir", tmp_path / "run", *args)
    assert "\n" not in str(error.value)
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


def model_with(tmp_path, models, tokenizer):
    LlamaForCausalLM.from_pretrained(models / "lm").save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    return ["--model_name_or_path", tmp_path / "lm"]


def test_script_refuses_a_row_without_an_answer(here, tmp_path):
    data = dataset_with_text(tmp_path / "d", "quickstart", ["a", "b"], answer=None)
    refuse("a row has no trained token|has no trained token", tmp_path, "--dataset_name", data)


def test_script_refuses_an_end_of_turn_that_is_no_stop_token(here, tmp_path, models):
    tokenizer = byte_level_tokenizer()
    tokenizer.eos_token = "<|endoftext|>"
    args = model_with(tmp_path, models, tokenizer)
    model = LlamaForCausalLM.from_pretrained(tmp_path / "lm")
    model.generation_config.eos_token_id = model.config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(tmp_path / "lm")
    refuse("never stop: set `eos_token`", tmp_path, *args)
    run_command("train", RECIPE, "--output_dir", tmp_path / "run", *args, "--max_steps", 1, "--eos_token", "<|im_end|>")
    assert AutoTokenizer.from_pretrained(tmp_path / "run" / "adapter").eos_token == "<|im_end|>"


def test_script_refuses_an_end_of_turn_that_is_not_trained(here, tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text(
        "{%- for m in messages -%}<|im_start|>{{ m['role'] }}\n{%- if m['role'] == 'assistant' -%}"
        "{% generation %}{{ m['content'] }}{% endgeneration %}{%- else -%}{{ m['content'] }}{%- endif -%}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    refuse("end-of-turn token is not trained", tmp_path, "--chat_template_path", template)


def test_script_refuses_a_doubled_bos(here, tmp_path):
    template = tmp_path / "t.jinja"
    twin = AutoTokenizer.from_pretrained("outputs/quickstart/adapter").chat_template
    template.write_text("{{- bos_token -}}\n" + twin)
    refuse("two BOS tokens", tmp_path, "--chat_template_path", template)


def test_script_refuses_a_template_that_opens_an_answer_otherwise_than_it_renders_one(here, tmp_path):
    template = tmp_path / "t.jinja"
    twin = AutoTokenizer.from_pretrained("outputs/quickstart/adapter").chat_template
    template.write_text(twin.replace("{{- '<|im_start|>assistant\\n' -}}", "{{- '<|im_start|>assistant\\n<think>' -}}"))
    refuse("train row .* does not begin with the prompt", tmp_path, "--chat_template_path", template)


def test_script_drops_rows_over_max_length_if_told_to_and_counts_them(here, tmp_path, capsys):
    lengths = [len(row) for row in rendered_rows()]
    limit = sorted(lengths)[len(lengths) // 2]
    keep = sum(length <= limit for length in lengths)
    run_command(
        "train", RECIPE, "--output_dir", tmp_path, "--max_length", limit, "--on_overflow", "drop_row",
        "--dry_run",
    )  # fmt: skip
    out = capsys.readouterr().out
    assert f"train: dropped {len(lengths) - keep} of {len(lengths)} rows: longer than `max_length: {limit}`" in out
    assert f"rows     {keep} train" in out and f"100% {max(n for n in lengths if n <= limit):,} tokens" in out


def rendered_rows() -> list[list[int]]:
    tokenizer = AutoTokenizer.from_pretrained("outputs/quickstart/adapter")
    rows = load_dataset("outputs/quickstart/dataset", "quickstart", split="train")
    return [tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=False) for row in rows]


def test_script_refuses_a_tokenizer_that_is_larger_than_the_embedding(here, tmp_path, models):
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens([f"<extra_{i}>" for i in range(9)])
    refuse(
        r"the tokenizer has \d+ tokens, the model's embedding only \d+",
        tmp_path,
        *model_with(tmp_path, models, tokenizer),
    )


@pytest.mark.parametrize(
    "args, message",
    [
        (["--lora_target_modules", "q_proj", "downproj"], "the base has no module 'downproj'"),
        (["--lora_target_modules", "q_proj", "--lora_modules_to_save", "lm_haed"], "the base has no module 'lm_haed'"),
        (["--lora_target_modules", "query_key_value"], "Target modules {'query_key_value'} not found"),
        (["--eos_token", "<|eot_id|>"], "`eos_token` .* is not found in the vocabulary"),
    ],
)
def test_script_refuses_modules_and_tokens_that_the_base_does_not_have(here, tmp_path, args, message):
    refuse(message, tmp_path, *args)


def test_script_refuses_a_base_that_is_an_adapter_or_no_model(here, tmp_path):
    refuse("is an adapter: train its base", tmp_path, "--model_name_or_path", "outputs/quickstart/adapter")
    refuse("quickstart is no model that can be trained", tmp_path, "--model_name_or_path", "outputs/quickstart")


def test_a_single_module_may_be_trained(here, tmp_path):
    run_command("train", RECIPE, "--max_steps", 1, "--output_dir", tmp_path, "--lora_target_modules", "q_proj")
    names = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert names and all("q_proj" in name for name in names)


def test_script_refuses_an_answer_cut_by_max_length(here, tmp_path):
    refuse("would lose answers", tmp_path, "--max_length", 600)
