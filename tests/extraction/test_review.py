"""The review page: what it holds, and that no text becomes markup."""

import json
import re
from pathlib import Path

import pytest
from conftest import passage
from html_pages import HOSTILE, Page
from hypothesis import given
from hypothesis import strategies as st
from test_outputs import result

from ra_ner import cli
from ra_ner.extraction.review import write_review

OTHERS = {"examples_used": [], "windows": [[0, 5]], "unaligned": [], "copied": [], "unparsed": []}


def data(file: Path, element: str) -> list[dict]:
    """The JSON Lines that the page holds in a script element."""
    page = file.read_text(encoding="utf-8")
    found = re.search(rf'<script type="application/json" id="{element}">(.*?)</script>', page, re.DOTALL)[1]
    return [json.loads(line) for line in found.split("\n") if line]


def test_the_page_holds_results_and_the_examples_that_were_shown(tmp_path):
    used = [{"id": "near", "score": 0.8, "window": 0}]
    row = result("Ada left.", ("Ada", "person"), id="a", **{**OTHERS, "examples_used": used}, year=1843)
    pool = [passage("Bob left.", ("Bob", "person"), id="near"), passage("Not shown.", id="far")]
    write_review([row], tmp_path / "a.html", pool, {"model": "mine"})
    assert data(tmp_path / "a.html", "rows") == [{key: value for key, value in row.items() if key != "year"}]
    assert data(tmp_path / "a.html", "examples") == [
        {"id": "near", "text": "Bob left.", "entities": [{"text": "Bob", "type": "person", "start": 0, "end": 3}]}
    ]
    assert "model" in Page((tmp_path / "a.html").read_text()).content


@given(st.lists(st.text(max_size=30) | st.sampled_from([*HOSTILE, "</script><!--", "\u2028", "\u202e", "\ud800"])))
def test_no_text_leaves_its_place(tmp_path_factory, texts):
    """Whatever texts, types, ids and names hold, the page has the same elements, and its data say the same."""
    file = tmp_path_factory.getbasetemp() / "hostile.html"

    def write(texts: list[str]) -> list:
        rows = [result(f"{text}.", (f"{text}.", f"{text}!"), id=text, **OTHERS) for text in texts]
        for row in rows:
            row["examples_used"] = [{"id": row["id"], "score": 1.0, "window": 0}]
        examples = [passage(f"{text}.", (f"{text}.", f"{text}!"), id=text) for text in texts]
        write_review(rows, file, examples, {"model": "".join(texts)})
        assert data(file, "rows") == rows and [e["id"] for e in data(file, "examples")] == texts
        return Page(file.read_text(encoding="utf-8")).tags

    assert write(texts) == write([])


def test_the_command_writes_the_page(finished, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(finished)
    texts = tmp_path / "texts.txt"
    texts.write_text("Ada met Bob in Rome.\nNo one was there.\n", encoding="utf-8")
    arguments = [
        texts,
        "--lines",
        "--model",
        "outputs/quickstart/adapter",
        "--types",
        "person,city",
        "--format",
        "html",
    ]
    arguments += ["--examples", "data/sample/en.jsonl", "--strategy", "nn", "--max_new_tokens", 4]
    page = tmp_path / "review.html"
    assert cli.run("extract", [*map(str, arguments), "--output", str(page)]) == 0
    assert [row["text"] for row in data(page, "rows")] == ["Ada met Bob in Rome.", "No one was there."]
    shown = {example["id"] for row in data(page, "rows") for example in row["examples_used"]}
    assert shown == {example["id"] for example in data(page, "examples")} != set()
    with pytest.raises(SystemExit):
        cli.run("extract", list(map(str, arguments)))
    assert "--format html needs --output" in capsys.readouterr().err
