"""The demo as a Space: what is pushed, and that the pushed files serve the demo."""

import json
import os
import re
import subprocess
import sys
import time

import httpx
import pytest
import yaml
from conftest import HUB, put_folder
from test_demo_page import ask, free_port

from ra_ner import cli
from ra_ner.demo.space import GRADIO

ROW = {"id": "carl", "text": "Carl left Bern.", "entities": [{"text": "Carl", "type": "person"}]}


def wait_for(url: str, process: subprocess.Popen) -> None:
    for _ in range(120):
        assert process.poll() is None, "the app ended"
        try:
            httpx.get(url)
            return
        except httpx.TransportError:
            time.sleep(0.5)
    raise AssertionError("the app does not answer")


def test_a_private_space_serves_the_demo(hub, models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ra_ner.demo.space.requires", lambda _: ["torch>=2", "spacy>=3; extra == 'spacy'"])
    put_folder("model", "tester/lm", models / "lm")
    (tmp_path / "mine.jsonl").write_text(json.dumps(ROW), encoding="utf-8")
    (tmp_path / "labels.json").write_text('{"PER": "person"}')
    arguments = [
        "tester/space",
        "--model",
        "tester/lm",
        "--examples",
        str(tmp_path / "mine.jsonl"),
        "--strategy",
        "bm25",
    ]
    assert cli.run("push_demo", [*arguments, "--dry_run"]) == 0 and not hub.repos.get(("space", "tester/space"))
    assert cli.run("push_demo", arguments) == 0
    assert "if the model or the examples are private, add a token" in capsys.readouterr().err
    assert hub.repos["space", "tester/space"].private
    files = hub.files("space", "tester/space")
    assert files["requirements.txt"].decode().split() == ["torch>=2"] and "ra_ner/extractor.py" in files
    assert json.loads(files["examples/labels.json"]) == {"PER": "person"}
    assert not [name for name in files if "__pycache__" in name or name.startswith("tests")]
    card = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert (card["sdk"], card["sdk_version"], card["app_file"]) == ("gradio", GRADIO, "app.py")
    for name, content in files.items():
        (tmp_path / "space" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "space" / name).write_bytes(content)
    port = free_port()
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "PYTHONPATH": ""}
    app = subprocess.Popen([sys.executable, "app.py"], cwd=tmp_path / "space", env=environment)
    try:
        wait_for(f"http://127.0.0.1:{port}", app)
        kind, (found,) = ask(f"http://127.0.0.1:{port}", text="Ada met Bob.")
        assert kind == "complete" and [e["id"] for e in found["in_context"]["examples_used"]] == ["carl"]
    finally:
        app.kill()
        app.wait()


def test_a_second_push_leaves_nothing_of_the_examples_before(hub, tmp_path):
    for folder, beside in (("first", "labels.json"), ("second", "notes.txt")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.jsonl").write_text(json.dumps(ROW), encoding="utf-8")
        (tmp_path / folder / beside).write_text('{"person": "river"}')
        arguments = ["tester/space", "--model", "tester/lm@v1", "--examples", str(tmp_path / folder / "mine.jsonl")]
        assert cli.run("push_demo", arguments) == 0
    files = hub.files("space", "tester/space")
    assert [name for name in files if name.startswith("examples")] == ["examples/mine.jsonl"]
    assert json.loads(files["settings.json"])["name"] == "tester/lm@v1"
    assert yaml.safe_load(files["README.md"].decode().split("---")[1])["models"] == ["tester/lm"]


def test_what_is_refused(hub, models, capsys):
    with pytest.raises(SystemExit):
        cli.run("push_demo", ["tester/space", "--model", str(models / "lm")])
    assert "push it to the Hub" in capsys.readouterr().err
    for wrong in (["--examples", str(models)], ["--examples", "/gone.jsonl"], ["--encoder", str(models / "encoder")]):
        with pytest.raises(SystemExit):
            cli.run("push_demo", ["tester/space", "--model", "tester/lm", "--dry_run", *wrong])
        assert re.search("neither a file nor the id|a folder on this machine", capsys.readouterr().err)
    with pytest.raises(SystemExit):
        cli.run("push_demo", ["others/space", "--model", "tester/lm"])
    assert "the token may not write there" in capsys.readouterr().err and not HUB.repos
