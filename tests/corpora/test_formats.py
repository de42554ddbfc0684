"""The forms of corpora: each is recognised and read exactly, and all places name the same."""

import re

import pytest
from conftest import REPO
from corpus_forms import SAMPLES, entities

from ra_ner.commands.build import make_parser
from ra_ner.corpora.formats import FORMS, OURS, form_names
from ra_ner.corpora.sources import load_corpus
from ra_ner.errors import UserError


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.form)
def test_each_form_is_read_exactly(sample, write):
    paths = [write(content, name) for name, content in sample.files.items()]
    corpus = load_corpus(paths[0], sample.language)
    assert [passage.text for passage in corpus.passages] == sample.texts
    assert list(map(entities, corpus.passages)) == sample.entities
    assert corpus.form.startswith("tagged text" if sample.form == "CoNLL text" else sample.form)


GUESSED = [sample for sample in SAMPLES if sample.form != OURS.name]  # our own form leaves nothing to guess


@pytest.mark.parametrize("sample", GUESSED, ids=lambda sample: sample.form)
def test_what_was_decided_is_shown_once_with_sample_entities(sample, write, capsys):
    paths = [write(content, name) for name, content in sample.files.items()]
    corpus = load_corpus(paths[0], sample.language)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "read as" in line]
    mention, type_, _, _ = next(entity for passage in sample.entities for entity in passage)
    assert line.startswith(f"{paths[0]}: read as {corpus.form}; for example {mention!r} ({type_})")
    assert line.count(" (") <= 3 + corpus.form.count(" (")


def test_every_form_has_a_sample():
    assert {form.name for form in FORMS} == {sample.form for sample in SAMPLES} | {"spaCy DocBin"}


def documented_forms() -> list[str]:
    text = (REPO / "docs" / "corpora.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \|", text.partition("| form |")[2].partition("\n\n")[0], re.MULTILINE)
    return [re.sub(r"[`\\]", "", row) for row in rows if set(row) != {"-", " "} and row != "---"]


def test_the_error_the_help_and_the_documentation_name_the_same_forms(write, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    names = [form.name for form in FORMS]
    with pytest.raises(UserError) as error:
        load_corpus(write("nothing known"), "en")
    assert re.search(r"Known are: (.*?)\. docs/corpora\.md", str(error.value))[1] == form_names() == "; ".join(names)
    assert form_names() in " ".join(make_parser().format_help().split())
    assert sorted(documented_forms()) == sorted(names)
