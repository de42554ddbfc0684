"""Whatever goes wrong, a command ends in one line without secrets, and says how to see more."""

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import REPO, byte_level_tokenizer, run_command
from hostile import BOMB, outcome
from safetensors.torch import load_file, save_file

from ra_ner.errors import LONGEST, UserError, clear_errors
from ra_ner.hub.card import merge, new_card
from ra_ner.prompting import chat_template
from ra_ner.recipe import load_recipe
from ra_ner.retrieval.encode import Encoder

RECIPE = "recipes/quickstart.yaml"
SECRET = "hf_abcdefghijklmnop1234567890"


def ends(error: BaseException, capsys) -> tuple[int, str]:
    """The status and the message that a command ends with after an error."""
    with pytest.raises(SystemExit) as stopped, clear_errors():
        raise error
    return stopped.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    "error, status, message",
    [
        (UserError("a\nb"), 2, "a b"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x/y"), 1, "x/y: No such file or directory"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "the disk is full; free some space and run this again"),
        (MemoryError(), 1, "there is not enough memory (); lower the batch size"),
        (KeyError("a\nb"), 1, r"unexpected KeyError: 'a\nb'; set RA_NER_TRACEBACK=1 to see where it came from"),
        (UserError("a\x1b[2J\u202eb"), 2, r"a\x1b[2J\u202eb"),
        (ValueError(f"token {SECRET}"), 1, "unexpected ValueError: token ***; set RA_NER_TRACEBACK=1 to see where"),
    ],
)
def test_any_error_is_one_line(capsys, error, status, message):
    code, shown = ends(error, capsys)
    assert code == status and shown.startswith(f"ra-ner: error: {message}") and shown.count("\n") == 1


def test_a_message_is_short_however_long_a_name_is(capsys):
    _, shown = ends(UserError("x" * 5_000_000), capsys)
    assert len(shown) < LONGEST + 100 and shown.endswith("...\n")


def test_the_traceback_is_shown_on_demand_and_without_secrets(capsys, monkeypatch):
    monkeypatch.setenv("RA_NER_TRACEBACK", "1")
    _, shown = ends(ValueError(f"token {SECRET}"), capsys)
    assert shown.startswith("Traceback") and "raise error" in shown and SECRET not in shown
    assert shown.splitlines()[-1].startswith("ra-ner: error: ")


def ra_ner(*words: object, folder: Path, output: object = subprocess.PIPE, **environment: str):
    environment = {**os.environ, "PYTHONPATH": str(REPO), **environment}
    command = [sys.executable, "-m", "ra_ner", *map(str, words)]
    return subprocess.run(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.PIPE, timeout=120)


def test_a_terminal_that_is_not_utf8_shows_escapes(tmp_path):
    (tmp_path / "x.yaml").write_text("language: 中文\n", encoding="utf-8")
    done = ra_ner("benchmarks", folder=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and rb"\u" in done.stdout
    done = ra_ner("build", "x.yaml", folder=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 2 and rb"\u4e2d\u6587" in done.stderr


def test_a_reader_that_goes_away_ends_a_command_in_silence(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = ra_ner("benchmarks", folder=tmp_path, output=writing)
    os.close(writing)
    assert done.returncode == 141 and done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_an_output_that_is_full_is_one_line(tmp_path):
    with open("/dev/full", "wb") as full:
        done = ra_ner("benchmarks", folder=tmp_path, output=full)
    assert done.returncode == 1 and done.stderr.startswith(b"ra-ner: error: the disk is full")
    assert done.stderr.count(b"\n") == 1


def test_folders_that_can_not_be_used_are_one_line(here, tmp_path):
    (tmp_path / "file").touch()
    for name in ("recipes", "data"):
        (tmp_path / name).symlink_to(here / name)
    (tmp_path / "outputs").touch()  # a file where the folder is to be
    done = ra_ner("build", RECIPE, folder=tmp_path)
    assert done.returncode == 2 and b"outputs is a file" in done.stderr and done.stderr.count(b"\n") == 1
    nowhere = {"HOME": str(tmp_path / "file"), "HF_HOME": str(tmp_path / "file" / "hf")}
    done = ra_ner("extract", "x.txt", "--model", "tester/m", "--types", "a", folder=tmp_path, **nowhere)
    assert done.returncode in (1, 2) and b"Traceback" not in done.stderr


# Models


@pytest.fixture
def lm(models, tmp_path):
    return shutil.copytree(models / "lm", tmp_path / "lm")


def train(folder: Path, model: Path, *words: object) -> None:
    steps = ["--max_steps", 2, "--save_steps", 1]
    run_command("train", RECIPE, "--model_name_or_path", model, "--output_dir", folder, *steps, *words)


@pytest.fixture(scope="module")
def trained(finished, models, tmp_path_factory) -> Path:
    """A run of two steps with its checkpoints."""
    run = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finished)
        train(run, models / "lm")
    return run


def tear(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def without_a_layer(file: Path) -> None:
    weights = load_file(file)
    del weights[next(name for name in weights if "up_proj" in name)]
    save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.parametrize("fault, message", [(tear, "can't be loaded"), (without_a_layer, r"1 are missing \(.*up_proj")])
def test_a_base_is_checked_before_it_is_trained(here, lm, tmp_path, fault, message):
    fault(lm / "model.safetensors")
    with pytest.raises(UserError, match=f"model .*lm.*{message}"):
        train(tmp_path / "run", lm)
    assert not (tmp_path / "run" / "adapter").exists()


@pytest.mark.parametrize(
    "fault, message",
    [
        (lambda folder: tear(folder / "optimizer.pt"), r"optimizer.pt is torn"),
        (lambda folder: tear(folder / "rng_state.pth"), r"rng_state.pth is torn"),
        (lambda folder: tear(folder / "adapter_model.safetensors"), r"adapter_model.safetensors is torn"),
        (lambda folder: tear(folder / "trainer_state.json"), r"trainer_state.json: can't be read as JSON"),
        (lambda folder: without_a_layer(folder / "adapter_model.safetensors"), r"1 are missing \(.*up_proj.lora"),
    ],
)
def test_a_checkpoint_is_checked_before_a_run_resumes_from_it(here, trained, models, tmp_path, fault, message):
    shutil.copytree(trained, tmp_path / "run")
    fault(tmp_path / "run" / "checkpoints" / "checkpoint-2")
    with pytest.raises(UserError, match=message):
        train(tmp_path / "run", models / "lm", "--resume_from_checkpoint", "true")


@pytest.mark.parametrize(
    "fault, message",
    [
        (lambda file: file.write_text(file.read_text().replace('"r": 8', '"r": 9999999')), "each rank .* up to 8192"),
        (lambda file: file.write_text(file.read_text().replace('"r": 8', '"r": 16')), "have another shape"),
        (lambda file: tear(file.with_name("adapter_model.safetensors")), "can't be loaded"),
        (lambda file: file.write_text("{"), "can't be read as JSON"),
        (lambda file: tear(file.with_name("ra_it.json")), "ra_it.json: can't be read as JSON"),
        (lambda file: tear(file.with_name("tokenizer.json")), "the tokenizer of .* can't be loaded"),
    ],
)
def test_a_broken_adapter_is_refused(here, tmp_path, fault, message):
    adapter = shutil.copytree("outputs/quickstart/adapter", tmp_path / "adapter")
    fault(adapter / "adapter_config.json")
    with pytest.raises(UserError, match=message):
        run_command("evaluate", RECIPE, "--models", adapter, "--limit", 1, "--output_dir", tmp_path / "o")


def test_a_torn_encoder_is_refused_and_a_torn_cache_is_made_again(models, tmp_path, capsys):
    from ra_ner.hub.repos import fetch_model

    encoder = fetch_model(str(models / "encoder"))
    vectors = Encoder(encoder, tmp_path).encode(["one", "two"], "document")
    (cache,) = tmp_path.glob("*.safetensors")
    tear(cache)
    assert torch.equal(Encoder(encoder, tmp_path).encode(["one", "two"], "document"), vectors)
    assert "can't be read" in capsys.readouterr().out
    torn = shutil.copytree(models / "encoder", tmp_path / "encoder")
    tear(next(torn.rglob("model.safetensors")))
    with pytest.raises(UserError, match="encoder .* can't be loaded"):
        Encoder(fetch_model(str(torn)), tmp_path).encode(["one"], "document")


TEMPLATES = {
    "raises": "{{ raise_exception('never') }}",
    "is torn": "{% for message in messages %}",
    "divides by zero": "{{ 1 // 0 }}",
    "looks for what is not there": "{{ messages[99].content }}",
    "has no end": "{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}",
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("mark", ["", "{% generation %}{% endgeneration %}"], ids=["asked", "trained"])
def test_a_chat_template_that_fails_is_one_line(lm, monkeypatch, template, mark):
    monkeypatch.setattr(chat_template, "RENDER_SECONDS", 0.3)
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = template + mark
    tokenizer.save_pretrained(lm)
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"the chat template of .*lm fails: |no training template"):
        if mark:
            chat_template.load_training_tokenizer(str(lm))
        else:
            loaded = chat_template.load_tokenizer(lm)
            chat_template.prompt_ids(loaded, [{"role": "user", "content": "x"}])
    assert time.monotonic() - begun < 5


# Cards, recipes and redirects


def test_aliases_that_stand_for_millions_of_values_are_counted(tmp_path):
    begun = time.monotonic()
    (tmp_path / "x.yaml").write_bytes(b"language: en\ndataset:\n  " + BOMB.replace(b"\n", b"\n  "))
    with pytest.raises(UserError, match=r"x.yaml: not valid YAML \(more than 100,000 values\)"):
        load_recipe(tmp_path / "x.yaml")
    with pytest.raises(UserError, match=r"the metadata of README.md there can't be read \(more than 100,000 values\)"):
        merge(f"---\n{BOMB.decode()}---\ntext\n", new_card({"license": "mit"}, "t", "p", "b"))
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("card", ["---\n" * 100_000, "\n" * 1_000_000, "<!-- ra-ner: p -->" * 100_000])
def test_a_long_card_takes_no_longer_than_its_length(card):
    begun = time.monotonic()
    assert outcome(lambda: merge(card, new_card({"license": "mit"}, "t", "p", "b"))) in ("read", "refused")
    assert time.monotonic() - begun < 5


def test_redirects_without_end_are_one_line(hub, here, monkeypatch):
    from ra_ner.inference.models import find_model

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.create("model", "tester/round")
    hub.put("model", "tester/round", {"config.json": b"{}"})
    hub.fail("/resolve/", 302, times=999, headers={"Location": "/tester/round/resolve/main/config.json"})
    with pytest.raises(UserError, match=r"model 'tester/round' is no folder in .*, and can't be fetched: "):
        find_model("tester/round")
