"""The metric: loaded from its folder, and published to and loaded from a Space of the loopback Hub."""

import re
import sys

import evaluate
import pytest
from conftest import REPO

from ra_ner.errors import UserError

sys.path.append(str(REPO / "tools"))
import publish_metric

TEXT = "Ada met Bob in Basel."
ADA, BOB, BASEL = ({"text": m, "start": TEXT.index(m), "end": TEXT.index(m) + len(m)} for m in ("Ada", "Bob", "Basel"))
PERSON = {"passage_id": "1", "text": TEXT, "type": "person", "gold": [ADA, {**BOB, "start": None, "end": None}]}
CITY = {"passage_id": "1", "text": TEXT, "type": "city", "gold": [BASEL]}


def compute(metric: evaluate.Metric) -> dict:
    return metric.compute(predictions=['["Ada", "Eve"]', "Basel it is"], references=[PERSON, CITY], samples=10)


def test_the_metric_loads_from_its_folder_and_reads_raw_answers(monkeypatch):
    monkeypatch.chdir(REPO)
    result = compute(evaluate.load("metrics/entity_f1"))
    assert (result["passages"], result["queries"], result["unparsed"]) == (1, 2, 1)
    assert {key: result["span"][key] for key in ("tp", "fp", "fn")} == {"tp": 1, "fp": 2, "fn": 2}
    assert {key: result["uniner"][key] for key in ("tp", "fp", "fn")} == {"tp": 1, "fp": 1, "fn": 2}
    assert result["errors"]["unparsed"] == {"fp": 1, "fn": 1}


def test_the_metric_grounds_mentions_as_evaluation_does(monkeypatch):
    monkeypatch.chdir(REPO)
    result = evaluate.load("metrics/entity_f1").compute(predictions=['["basel"]'], references=[CITY], samples=10)
    assert (result["span"]["tp"], result["grounded"]["tp"]) == (0, 1)


def test_two_texts_of_one_passage_id_are_refused(monkeypatch):
    monkeypatch.chdir(REPO)
    other = {**CITY, "text": "Eva is in Basel.", "gold": [{**BASEL, "start": 10, "end": 15}]}
    with pytest.raises(ValueError, match="two texts have the passage_id '1'"):
        evaluate.load("metrics/entity_f1").compute(predictions=["[]", "[]"], references=[CITY, other], samples=10)


def test_the_published_metric_stands_alone_and_gives_the_same(hub, monkeypatch):
    monkeypatch.chdir(REPO)
    here = compute(evaluate.load("metrics/entity_f1"))
    publish_metric.publish("tester")
    assert hub.repos["space", "tester/entity_f1"].private
    files = hub.files("space", "tester/entity_f1")
    assert {
        "README.md",
        "app.py",
        "requirements.txt",
        "entity_f1.py",
        "answers.py",
        "alignment.py",
        "scoring.py",
    } <= files.keys()
    assert files["scoring.py"] == (REPO / "ra_ner" / "tasks" / "scoring.py").read_bytes()
    assert not [name for name, data in files.items() if name.endswith(".py") and b"from ra_ner" in data]

    for name in [name for name in sys.modules if name.split(".")[0] == "ra_ner"]:
        monkeypatch.setitem(sys.modules, name, None)  # an import of the library would fail now
    metric = evaluate.load("tester/entity_f1")
    assert compute(metric) == here


def test_the_example_of_the_space_runs(hub):
    publish_metric.publish("tester", private=False)
    readme = hub.files("space", "tester/entity_f1")["README.md"].decode()
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1].replace("<namespace>", "tester")
    names: dict = {}
    exec(example.replace("metric.compute(", "result = metric.compute("), names)
    result = names["result"]
    assert result["span"]["f1"] == round(2 / 3, 6) and result["errors"]["hallucinated"]["fp"] == 1


def test_a_namespace_of_somebody_else_is_refused_in_one_line(hub):
    with pytest.raises(UserError, match="Space 'someone/entity_f1' can't be published: the token may not write there"):
        publish_metric.publish("someone")
