"""Entities in spaCy: the DocBin of the command, and the component of a pipeline."""

import pytest
import spacy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spacy.tokens import DocBin
from test_extractor import make  # noqa: F401 - a fixture
from test_outputs import NESTED, result

from ra_ner import Extractor
from ra_ner.errors import RequestError
from ra_ner.extraction.spacy_docs import write_spacy
from ra_ner.spacy_component import RaNer


def test_spacy_reads_the_doc_bin(tmp_path):
    write_spacy([NESTED, result("No one.")], tmp_path / "a.spacy", "en")
    first, second = DocBin().from_disk(tmp_path / "a.spacy").get_docs(spacy.blank("en").vocab)
    assert [(span.text, span.label_) for span in first.spans["ra_ner"]] == [
        ("New York Times", "paper"),
        ("New York", "city"),
    ]
    assert [(span.text, span.label_) for span in first.ents] == [("New York Times", "paper")]
    assert first.spans["ra_ner"].attrs == {"scores": [0.9, 0.9]} and second.text == "No one." and not second.ents


TEXT = "Ada Lovelace met Charles Babbage in London."
MENTIONS = {
    "person": ["Ada Lovelace", "Charles Babbage", "Babbage"],
    "city": ["London"],
    "人物": ["鲁迅"],
    "地点": ["绍兴"],
}


@pytest.fixture
def pipeline(make, monkeypatch):  # noqa: F811
    """Make a pipeline whose component asks a scripted engine."""

    def pipeline(language="en", fails_on=None, **config):
        loaded = []

        def from_pretrained(name, examples, **options):
            loaded.append({"model": name, "examples": examples, **options})
            return make(MENTIONS, fails_on=fails_on, batch_size=2)

        monkeypatch.setattr(Extractor, "from_pretrained", from_pretrained)
        nlp = spacy.blank(language)
        nlp.add_pipe("ra_ner", config={"model": "my/model", "labels": ["person", "city"], **config})
        nlp.loaded = loaded
        return nlp

    return pipeline


def test_ents_have_no_overlaps_and_spans_have_scores(pipeline):
    doc = pipeline()(TEXT)
    assert [(e.text, e.label_) for e in doc.ents] == [
        ("Ada Lovelace", "person"),
        ("Charles Babbage", "person"),
        ("London", "city"),
    ]
    assert not doc.spans
    doc = pipeline(style="span")(TEXT)
    assert [span.text for span in doc.spans["ra_ner"]] == ["Ada Lovelace", "Charles Babbage", "Babbage", "London"]
    assert doc.spans["ra_ner"].attrs["scores"] == [0.9048] * 4 and not doc.ents
    assert not pipeline(threshold=0.95)(TEXT).ents


def test_the_config_says_how_the_model_is_loaded(pipeline):
    nlp = pipeline("zh", labels={"人物": "真人"}, examples="sample_zh", options={"strategy": "nn", "k": 1})
    assert nlp.loaded == [{"model": "my/model", "examples": "sample_zh", "language": "zh", "strategy": "nn", "k": 1}]
    assert nlp.get_pipe("ra_ner").labels == ("人物",)
    server = {"url": "http://localhost:8000/v1", "concurrency": 4}
    nlp = pipeline(options={"server": server})
    assert nlp.loaded[0]["server"] == server
    nlp.config.to_str()  # what spaCy saves
    with pytest.raises(ValueError, match="style"):
        pipeline(style="both")
    with pytest.raises(ValueError, match="model"):
        spacy.blank("en").add_pipe("ra_ner")


def test_chinese_characters_are_joined(pipeline):
    doc = pipeline("zh", labels=["人物", "地点"])("鲁迅生于绍兴。")
    assert [(e.text, e.label_, e.start_char) for e in doc.ents] == [("鲁迅", "人物", 0), ("绍兴", "地点", 4)]


@pytest.mark.parametrize("mode, found", [("expand", ["Ada"]), ("contract", []), ("strict", [])])
def test_an_entity_that_cuts_a_token(make, mode, found):  # noqa: F811
    component = RaNer("ra_ner", make({"name": ["Ad"]}), ["name"], "ent", 0.0, mode)
    assert [e.text for e in component(spacy.blank("en").make_doc("Ada left.")).ents] == found


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40), st.lists(st.text(min_size=1, max_size=5), max_size=4), st.sampled_from(["en", "zh"]))
def test_any_text_and_mentions(make, text, mentions, language):  # noqa: F811
    for style in ("ent", "span"):
        component = RaNer("ra_ner", make({"name": mentions}, always=True), ["name"], style, 0.0, "expand")
        doc = component(spacy.blank(language).make_doc(text))
        (back,) = DocBin().from_bytes(DocBin(docs=[doc]).to_bytes()).get_docs(doc.vocab)
        assert [str(span) for span in back.spans.get("ra_ner", [])] == [str(s) for s in doc.spans.get("ra_ner", [])]
        assert [(e.start, e.end, e.label_) for e in back.ents] == [(e.start, e.end, e.label_) for e in doc.ents]


def test_pipe_asks_in_batches_and_keeps_the_order(pipeline):
    nlp = pipeline()
    texts = [f"Text {i} of London." for i in range(5)]
    docs = [(doc.text, context) for doc, context in nlp.pipe(zip(texts, range(5), strict=True), as_tuples=True)]
    assert docs == list(zip(texts, range(5), strict=True))
    assert len(nlp.get_pipe("ra_ner").extractor.engine.asked) == 10


def test_a_text_that_fails_is_left_to_spacys_error_handler(pipeline):
    nlp = pipeline(fails_on="bad")
    with pytest.raises(RequestError, match="does not fit"):
        nlp("bad")
    with pytest.raises(RequestError, match="does not fit"):
        list(nlp.pipe(["Ada.", "bad"]))
    nlp.set_error_handler(spacy.util.ignore_error)
    assert [doc.text for doc in nlp.pipe(["Ada.", "bad", "Bob."])] == ["Ada.", "Bob."]


def test_a_saved_pipeline_loads_the_model_by_its_config(pipeline, tmp_path):
    pipeline(threshold=0.2).to_disk(tmp_path / "nlp")
    nlp = spacy.load(tmp_path / "nlp")
    assert nlp.get_pipe("ra_ner").threshold == 0.2 and len(nlp(TEXT).ents) == 3
