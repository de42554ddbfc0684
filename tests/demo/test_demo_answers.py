"""What the demo answers, and what it refuses."""

import json

import pytest
from conftest import passage
from test_extractor import make  # noqa: F401 - a fixture

from ra_ner.demo.answers import EXAMPLES, TEXT, Demo
from ra_ner.errors import UserError

ADA = "Ada met Bob in Rome."
PASTED = json.dumps({"id": "carl", "text": "Carl left Bern.", "entities": [{"text": "Carl", "type": "person"}]})


@pytest.fixture
def demo(make):  # noqa: F811
    return Demo(make({"person": ["Ada", "Bob"], "city": ["Rome"]}))


def mentions(result: dict) -> list[str]:
    return [entity["text"] for entity in result["entities"]]


def test_zero_shot_beside_pasted_examples(demo):
    found = demo.extract(ADA, ["person", "city"])
    assert mentions(found["zero_shot"]) == ["Ada", "Bob", "Rome"] and found["in_context"] is None
    for pasted in (PASTED, f"[{PASTED}]", "Carl B-person\nleft O\nBern O\n"):
        found = demo.extract(ADA, ["person"], pasted)
        assert mentions(found["in_context"]) == ["Ada", "Bob"]
        assert len(found["in_context"]["examples_used"]) == 1 and not found["zero_shot"]["examples_used"]
    assert mentions(demo.extract(ADA, ["river"], PASTED)["in_context"]) == []
    assert not demo.in_context.pool, "the examples of one request are not those of the next"


def test_the_demos_own_examples_are_shown_where_none_are_pasted(make):  # noqa: F811
    own = passage("Dora left Bonn.", ("Dora", "person"), id="dora")
    demo = Demo(make({"person": ["Ada"]}, examples=[own], strategy="random", k=1))
    assert [e["id"] for e in demo.extract(ADA, ["person"])["in_context"]["examples_used"]] == ["dora"]
    assert [e["id"] for e in demo.extract(ADA, ["person"], PASTED)["in_context"]["examples_used"]] == ["carl"]


def test_definitions_are_in_the_prompts_that_are_shown(demo):
    first, second = demo.prompts(ADA, ["person", "city: a town", " "], PASTED)
    assert "What describes person in the text?" in first and "Carl left Bern." in first
    assert "What describes city (a town) in the text?" in second and second.endswith("assistant\n")
    assert "What describes city (a town) in the text?" in demo.prompts(ADA, ["city：a town"])[0], "as Chinese has it"
    demo.extract(ADA, ["person", "city: a town"], PASTED, threshold=1)
    (asked,) = [r.messages for r in demo.in_context.engine.asked if r.type == "city" and r.examples]
    assert all(message["content"] in second for message in asked)


@pytest.mark.parametrize(
    "request_, message",
    [
        (("", ["city"]), "give a text"),
        (("a" * (TEXT + 1), ["city"]), "the text has 20,001 characters; at most 20,000"),
        ((ADA, [f"type {i}" for i in range(21)]), "there are 21 types; at most 20"),
        ((ADA, ["x" * 501]), "line of types has 501 characters"),
        ((ADA, [": a town"]), "names no type"),
        ((ADA, ["city"], "x" * (EXAMPLES + 1)), "the examples have 200,001 characters"),
        ((ADA, ["city"], "no corpus"), "^examples: unknown form"),
        ((ADA, ["city"], '{"id": 1'), "^examples: line 1: not JSON"),
        ((ADA, ["city"], '{"id": "a", "text": 1, "entities": []}'), "^examples: "),
        ((ADA, "city"), "`types` a list of texts"),
        ((ADA, [1]), "`types` a list of texts"),
        ((None, ["city"]), "must be texts"),
        ((ADA, ["city"], "", "high"), "`threshold` a number"),
    ],
)
def test_what_is_refused(demo, request_, message):
    with pytest.raises(UserError, match=message):
        demo.extract(*request_)
