"""No secret leaves: it is refused where it is configured, and never printed, written or pushed."""

import dataclasses
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import get_args

import pytest
from conftest import HUB, run_command, write_recipe
from hypothesis import given
from hypothesis import strategies as st

from ra_ner.commands import build, evaluate, train
from ra_ner.errors import UserError, clear_errors
from ra_ner.recipe import load_recipe
from ra_ner.redaction import find_secret, redact
from ra_ner.study.grid import load_grid

RECIPE = "recipes/quickstart.yaml"
LETTERS = "q7Wz" * 9
SECRETS = {
    "token of the Hub": f"hf_{LETTERS}",
    "token of the Hub without a digit": "hf_" + "qxWz" * 9,
    "key of a vendor": f"sk-proj-{LETTERS}",
    "token of GitHub": f"ghp_{LETTERS}",
    "URL with a password": f"http://me:{LETTERS}@127.0.0.1:8000/v1",
    "URL with a token": f"https://{LETTERS}@127.0.0.1/v1",
    "URL with a key": f"https://127.0.0.1/v1?api-version=1&api-key={LETTERS}",
    "header": f"Authorization: Bearer {LETTERS}",
    "mapping": json.dumps({"headers": {"X-Api-Key": LETTERS}}),
}
SECTIONS = {"dataset": build, "train": train, "evaluate": evaluate}


def keys_of_text(section: str) -> list[str]:
    """The keys of a section that take text, or a mapping or list with text."""
    hints = SECTIONS[section].make_parser().hints
    return sorted(key for key, hint in hints.items() if "str" in str([hint, *get_args(hint)]))


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("section", SECTIONS)
def test_a_secret_in_any_key_is_refused_and_not_shown(tmp_path, section, secret):
    keys, parser = keys_of_text(section), SECTIONS[section].make_parser()
    assert len(keys) > 5
    write_recipe(tmp_path / "plain.yaml", language="en")
    for key in keys:
        recipe = write_recipe(tmp_path / "r.yaml", language="en", **{section: {key: secret}})
        with pytest.raises(UserError) as error:
            load_recipe(recipe)
        assert LETTERS not in str(error.value) and f"{section}.{key}" in str(error.value)
        assert secret not in str(error.value)
    for key in [*keys[:: len(keys) // 4], "unknown"]:
        with pytest.raises(UserError) as error:
            parser.parse_recipe([str(tmp_path / "plain.yaml"), f"--{key}={secret}"])
        assert LETTERS not in str(error.value)


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "hub_token",
        "api_key",
        "aws_secret_access_key",
        "private_key",
        "X-Api-Key",
        "Authorization",
        "password",
        "secret",
    ],
)
def test_a_secret_is_known_by_its_key_too(tmp_path, key):
    nested = {"train": {"model_init_kwargs": {"headers": [{key: "short"}]}}}
    recipe = write_recipe(tmp_path / "r.yaml", language="en", **nested)
    with pytest.raises(UserError, match=f"r.yaml: `train.model_init_kwargs.headers.{key}` is not accepted, because it"):
        load_recipe(recipe)
    grid = {"recipes": ["r.yaml"], "axes": {f"train.{key}": ["short"]}, "seeds": [1]}
    with pytest.raises(UserError, match="is not accepted"):
        load_grid(write_recipe(tmp_path / "g.yaml", **grid))


def test_a_study_writes_no_recipe_with_a_secret(here, tmp_path):
    write_recipe(tmp_path / "g.yaml", recipes=[str(here / RECIPE)], axes={"k": [1]}, seeds=[1])
    for word in (f"train.model_init_kwargs={{token: {LETTERS}}}", f"evaluate.server_url=http://a:{LETTERS}@b/v1"):
        with pytest.raises(UserError, match="is not accepted") as error:
            load_grid(tmp_path / "g.yaml", [word])
        assert LETTERS not in str(error.value)


@pytest.mark.parametrize(
    "value",
    [
        {"eos_token": "<|im_end|>", "pad_token": "<pad>", "max_new_tokens": 256, "use_auth_token": True},
        {"server_url": "http://localhost:8000/v1", "models": ["Qwen/Qwen3-8B@refs/pr/1", "EmmaStrong/RA-IT-NER-8B"]},
        {"corpus": "data/sk-learn-dataset-version-2/train.jsonl", "encoder": "sentence-transformers/all-MiniLM-L6-v2"},
        {"types": ["password", "API key", "a basic amenity2", "token"]},
    ],
)
def test_what_is_no_secret_is_accepted(value):
    assert find_secret(value) is None and redact(json.dumps(value)) == json.dumps(value)


def test_the_column_of_tokens_is_no_secret():
    columns = {"token": "sentence", "tag": "labels"}
    for value in ({"dataset": {"columns": columns}}, {"columns": columns}, {"columns": json.dumps(columns)}):
        assert find_secret(value) is None
    secret = SECRETS[min(SECRETS)]
    for value in ({"columns": {"token": secret}}, {"columns": json.dumps({"token": "a", "x": secret})}, {"token": "a"}):
        assert find_secret(value)


@given(st.text(), st.sampled_from(sorted(SECRETS.values())), st.text())
def test_a_message_never_shows_a_secret(before, secret, after):
    assert LETTERS not in str(UserError(f"{before} {secret} {after}"))


@pytest.mark.parametrize("piece", ["sk-", "hf_a", "eyJ-", "://", "?key", "token:", "Bearer ", "x-api-key ", "_", "a-"])
def test_a_long_message_takes_no_longer_than_its_length(piece):
    begun = time.perf_counter()
    redact(piece * 20_000)
    assert time.perf_counter() - begun < 2


def test_the_secrets_of_the_environment_are_not_shown_whatever_they_look_like(monkeypatch):
    monkeypatch.setenv("MY_SERVER_PASSWORD", "correct horse battery")
    monkeypatch.setenv("TOKENIZER_MODEL", "Qwen/Qwen3-8B")
    assert str(UserError("no 'correct horse battery' for Qwen/Qwen3-8B")) == "no '***' for Qwen/Qwen3-8B"


class Echo(BaseHTTPRequestHandler):
    """A server that shows the whole request in its error, or in the headers of its answer."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status, padding = self.server.status, "x" * self.server.padding
        shown = {"error": {"message": f"{padding}Incorrect API key: {self.headers['Authorization']}"}}
        answer = {"choices": [{"message": {"role": "assistant", "content": "[]"}}]}
        data = json.dumps(answer if status == 200 else shown).encode()
        self.send_response(status, self.headers["Authorization"])
        self.send_header("X-Echo", self.headers["Authorization"])
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def echo(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"plain{LETTERS}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.padding, server.url = 0, f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status, padding", [(400, 0), (401, 0), (403, 0), (401, 250), (401, 270), (401, 280)])
def test_a_key_that_a_server_echoes_is_not_shown(here, tmp_path, echo, capsys, status, padding):
    echo.status, echo.padding = status, padding
    words = ["--engine", "server", "--server_api", "chat", "--server_url", echo.url, "--models", "m"]
    with pytest.raises(SystemExit), clear_errors():
        run_command("evaluate", RECIPE, *words, "--limit", 1, "--output_dir", tmp_path / "o")
    shown = "".join(capsys.readouterr())
    assert f"refused ({status})" in shown and LETTERS[:8] not in shown
    assert not any(LETTERS[:8].encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_no_file_stream_or_repo_holds_a_secret_of_the_environment(here, tmp_path, hub, echo, capfd, monkeypatch):
    """Dataset, adapter and scores are made and pushed, with a server that echoes its key."""
    echo.status = 200
    monkeypatch.setenv("WANDB_API_KEY", f"wandb{LETTERS}")
    push = ["--push_to_hub", "true", "--hub_dataset_id", "tester/data"]
    run_command("build", RECIPE, *push, "--output_dir", tmp_path / "dataset")
    steps = ["--max_steps", 1, "--logging_steps", 1, "--report_to", "tensorboard"]
    push = ["--push_to_hub", "true", "--hub_model_id", "tester/model"]
    run_command("train", RECIPE, *push, *steps, "--output_dir", tmp_path / "run")
    words = ["--engine", "server", "--server_api", "chat", "--server_url", echo.url, "--models", "m", "--limit", 1]
    run_command("evaluate", RECIPE, *push, *words, "--output_dir", tmp_path / "evaluation")

    pushed = {**HUB.files("dataset", "tester/data"), **HUB.files("model", "tester/model")}
    written = {str(file): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert len(pushed) > 10 and any("events.out" in name for name in written)
    streams = dict(zip(("stdout", "stderr"), map(str.encode, capfd.readouterr()), strict=True))
    for name, data in {**pushed, **written, **streams}.items():
        assert LETTERS[:8].encode() not in data and HUB.token.encode() not in data, name


def test_every_config_is_looked_through():
    """A new section of a recipe belongs into `SECTIONS` above."""
    from ra_ner.recipe import SECTIONS as ALL

    assert ALL.keys() == SECTIONS.keys()
    for module in SECTIONS.values():
        assert all(dataclasses.is_dataclass(cls) for cls in module.make_parser().dataclass_types)
