"""The code of docs/extraction.md, run as it stands, in order."""

import json
import re
import shlex
from pathlib import Path

import matplotlib
import pytest
from conftest import REPO
from matplotlib.figure import Figure
from test_recipes import hub_of_the_paper  # noqa: F401 - a fixture
from test_server import server  # noqa: F401 - a fixture

import ra_ner.spacy_component  # noqa: F401 - spaCy finds it by the entry point, see test_install
from ra_ner import cli
from ra_ner.inference.engine import Generation
from ra_ner.inference.transformers import TransformersEngine

PAGE = (REPO / "docs" / "extraction.md").read_text(encoding="utf-8")
FENCES = re.findall(r"(?:<!-- file: (\S+) -->\n)?^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def name_words(engine, requests):
    """The tiny model of the tests finds nothing: name the words with a capital letter instead."""
    for request in requests:
        raw = json.dumps(re.findall(r"\b[A-Z]\w+", request.text)[:3])
        yield request, Generation(raw, tuple((character, -0.1 - len(raw) / 999) for character in raw))


@pytest.fixture
def pdf(here) -> None:
    figure = Figure()
    figure.text(0.1, 0.5, "Ada met Bob in Rome.")
    with matplotlib.rc_context({"pdf.fonttype": 42}):
        figure.savefig("report.pdf")


def test_the_page_runs(hub_of_the_paper, server, here, pdf, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(TransformersEngine, "answer", name_words)
    Path("notes.txt").write_text("Ada met Bob in Rome.", encoding="utf-8")
    Path("texts.jsonl").write_text('{"text": "Ada met Bob."}\n', encoding="utf-8")
    for name, _, content in FENCES:
        if name:
            Path(name).write_text(content, encoding="utf-8")
    names: dict = {}
    for _, language, content in FENCES:
        if language == "python":
            exec(content, names)
        elif language == "sh":
            for line in content.replace("\\\n", " ").replace("http://localhost:8000/v1", server.url).splitlines():
                program, command, *arguments = shlex.split(line)
                assert program == "ra-ner" and cli.run(command, arguments) == 0
    assert set(names["on_page"]) == {("Ada", 1), ("Bob", 1), ("Rome", 1)}
    assert names["dataset"][0]["entities"] == names["table"]["entities"][0] != []
    assert [entity.text for entity in names["doc"].ents] == ["Ada", "Bob", "Rome"]
    assert names["in_spacy"] == ["Ada", "Bob", "Rome", "No"]
    assert len(names["prompts"]) == 2 and "What describes city in the text?" in names["prompts"][1]
    assert len(names["shown"]) == 2 and all(text for _, text in names["shown"])
    assert json.loads(Path("million.jsonl").read_text())["unaligned"], "the server's answer, not ours"
    assert Path("my_calibration.json").is_file() and "| calibrated |" in capsys.readouterr().out
