"""The adapter merged into its base: what the folder holds, what is measured, and what is refused."""

import contextlib
import io
import json
import re
import shutil

import pytest
import torch
from conftest import byte_level_tokenizer, content, print_messages, run_command, save_tiny_model

from ra_ner.commands import merge
from ra_ner.errors import UserError
from ra_ner.hub.card import REPO
from ra_ner.output_folder import new_folder
from ra_ner.training.merge import compare, tolerance

RECIPE = "recipes/quickstart.yaml"


def copy_run(here, folder):
    """The finished adapter in a folder of the test's own, which `--output_dir` names."""
    shutil.copytree(here / "outputs" / "quickstart" / "adapter", folder / "adapter")
    return folder


@pytest.fixture(scope="module")
def merging(finished, tmp_path_factory):
    """The folder of a run whose finished adapter was merged, and what was printed."""
    run = copy_run(finished, tmp_path_factory.mktemp("run"))
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.chdir(finished)
        print_messages()  # this fixture comes before those of single tests
        run_command("train", RECIPE, "--merge", "--output_dir", run)
    return run, out.getvalue()


@pytest.fixture
def merged(merging):
    return merging[0] / "merged"


def change(file, **values):
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_the_merged_folder_is_a_model_of_its_own(here, merged):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(merged)
    tokenizer = AutoTokenizer.from_pretrained(merged)
    assert model.dtype == torch.bfloat16 and not hasattr(model, "peft_config")
    assert tokenizer.decode(model.generation_config.eos_token_id) == "<|im_end|>"
    assert not model.generation_config.do_sample
    adapter = here / "outputs" / "quickstart" / "adapter"
    for name in ("ra_it.json", "chat_template.jinja", "training_curves.png"):
        assert (merged / name).read_bytes() == (adapter / name).read_bytes()
    assert not [file for file in merged.iterdir() if file.name.startswith("adapter") or file.suffix == ".bin"]


def test_a_finished_adapter_is_merged_without_training_and_the_differences_are_told(here, merging):
    run, printed = merging
    assert "nothing is trained" in printed and not (run / "checkpoints").exists()
    card = (run / "merged" / "README.md").read_text()
    for found in (
        "likeliest token is the same at 100.0% of positions",
        "The base without the adapter",
        "greedy answers",
    ):
        assert found in printed and found in re.sub(r"\\(?=\W)", "", card), found


def test_with_no_adapter_yet_it_is_trained_first(here, tmp_path):
    run_command("train", RECIPE, "--merge", "--max_steps", "1", "--output_dir", tmp_path)
    assert (tmp_path / "adapter" / "ra_it.json").is_file() and (tmp_path / "merged" / "model.safetensors").is_file()


@pytest.mark.parametrize("case", ["trained in 16 bits", "asked by a server alone"])
def test_a_comparison_that_was_not_made_is_not_claimed(here, tmp_path, case):
    """The engine can't ask models with layers that are not attention, but a server can ask the merged model."""
    changed = ["--load_in_4bit", "false"]
    if case == "asked by a server alone":
        layers = {"layer_types": ["conv", "full_attention"]}
        save_tiny_model("lfm2", byte_level_tokenizer(), tmp_path / "base", **layers)
        changed = ["--model_name_or_path", tmp_path / "base"]
    run_command("train", RECIPE, "--max_steps", "1", "--output_dir", tmp_path / "run", *changed)
    merge.main([RECIPE, "--output_dir", str(tmp_path / "run")])
    card = (tmp_path / "run" / "merged" / "README.md").read_text()
    assert "Compared with the adapter on the same base" in card and "4-bit base" not in card


def test_the_merged_model_is_evaluated_in_its_own_words(here, merged, tmp_path):
    from ra_ner.inference.models import find_model

    model = find_model(str(merged))
    assert (model.base, model.wording, model.language) == (None, "ra_it", "en")
    args = ["--models", merged, "--settings", "zero_shot", "--limit", "1", "--output_dir", tmp_path]
    assert run_command("evaluate", RECIPE, *args)["results"][0]["queries"] > 0


def test_the_card_is_that_of_a_full_model_and_its_code_runs(merged, capsys):
    from huggingface_hub import ModelCard

    card = ModelCard.load(merged / "README.md")
    assert card.data.library_name == "transformers" and "lora_r: 8" in card.text, "how it was trained is kept"
    code = "\n".join(re.findall(r"```python\n(.*?)\n```", card.text, re.DOTALL))
    assert "Extractor" in code
    exec(code.replace(REPO, str(merged)), {})  # the code of our own card, as a reader would run it
    assert "Traceback" not in capsys.readouterr().err


def test_a_quantised_base_is_refused(here, models, tmp_path):
    run = copy_run(here, tmp_path)
    shutil.copytree(models / "lm", tmp_path / "base")
    change(tmp_path / "base" / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    change(run / "adapter" / "adapter_config.json", base_model_name_or_path=str(tmp_path / "base"))
    from ra_ner.hub.repos import fetch_model

    change(run / "adapter" / "ra_it.json", base_revision=fetch_model(str(tmp_path / "base")).revision)
    with pytest.raises(UserError, match="is quantised, so merging would round the adapter away"):
        run_command("train", RECIPE, "--merge", "--output_dir", run)
    assert not (run / "merged").exists()


def test_another_base_than_that_of_training_is_refused(here, tmp_path):
    run = copy_run(here, tmp_path)
    change(run / "adapter" / "ra_it.json", base_revision="0000")
    with pytest.raises(UserError, match="was trained on .* at 0000"):
        run_command("train", RECIPE, "--merge", "--output_dir", run)


def test_a_broken_adapter_leaves_the_merged_model_of_before(here, tmp_path):
    from safetensors.torch import load_file, save_file

    run = copy_run(here, tmp_path)
    with new_folder(run / "merged", "merged model") as before:
        (before / "config.json").touch()
    file = run / "adapter" / "adapter_model.safetensors"
    weights = {name: torch.full_like(tensor, torch.nan) for name, tensor in load_file(file).items()}
    save_file(weights, file)
    with pytest.raises(UserError, match="can't be merged: NaNs"):
        run_command("train", RECIPE, "--merge", "--output_dir", run)
    assert [path.name for path in run.iterdir() if path.name != "adapter"] == ["merged"]
    assert content(run / "merged")["config.json"] == b""


@pytest.mark.parametrize(
    "args, message",
    [(["--push_to_hub", "--hub_model_id", "tester/m"], "pushes nothing.*hf upload"), (["--merge_to", "x"], "unknown")],
)
def test_bad_flags_are_one_line(here, tmp_path, args, message):
    with pytest.raises(UserError, match=message):
        run_command("train", RECIPE, "--merge", "--output_dir", copy_run(here, tmp_path), *args)


def test_rounding_to_bfloat16_agrees_and_a_lost_adapter_does_not():
    torch.manual_seed(0)
    logits = torch.randn(32, 500) * 5
    rounded = compare(logits, logits.bfloat16().float() + 3.0)  # a shift that softmax does not see
    assert 0 < rounded.relative < tolerance(layers=2) and rounded.same_token > 0.98
    assert compare(logits, logits).largest == 0
    without_adapter = compare(logits, logits + torch.randn(32, 500))
    assert without_adapter.relative > tolerance(layers=32)
    assert not compare(logits, logits * torch.nan).relative <= tolerance(layers=32)
