"""The transformers engine: sharing the prefix changes the speed, not the answers."""

import pytest
import torch
from conftest import passage
from transformers import AutoModelForCausalLM, AutoTokenizer

from ra_ner.conversation import WORDINGS, opening
from ra_ner.errors import UserError
from ra_ner.inference import Request
from ra_ner.inference.transformers import TransformersEngine
from ra_ner.rendering import prompt_ids


def request(types, examples=(), text="The Rhine flows past Basel."):
    wording = WORDINGS["ra_it", "en"]
    return Request(text, opening(text, examples, wording), [wording.question.format(type=type_) for type_ in types])


@pytest.mark.parametrize(
    "types, examples",
    [
        (["city", "river", "a much longer type", "x"], []),
        (["city", "river"], [passage("In Bonn.", ("Bonn", "city"))]),
        (["city"], []),
        (["city", "city"], []),
        (["", "y"], []),
    ],
)
def test_answers_equal_those_of_plain_generation_one_by_one(models, types, examples):
    path = models / "lm"
    asked = request(types, examples)
    (shared,) = TransformersEngine(path, dtype="float32", max_new_tokens=12).answer([asked])
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path)
    for messages, answer in zip(asked.queries, shared, strict=True):
        ids = torch.tensor([prompt_ids(tokenizer, messages)])
        new = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        assert answer == tokenizer.decode(new[0, ids.shape[1] :], skip_special_tokens=True)
    assert any(shared), "a model that says nothing proves nothing"


def test_the_shared_prefix_is_run_once(models, monkeypatch):
    engine = TransformersEngine(models / "lm", dtype="float32", max_new_tokens=2)
    seen = []
    forward = engine.model.forward
    monkeypatch.setattr(
        engine.model,
        "forward",
        lambda ids=None, **k: (
            seen.append((ids if ids is not None else k["input_ids"]).numel())
            or (forward(ids, **k) if ids is not None else forward(**k))
        ),
    )
    types = ["city", "river", "lake", "sea"]
    engine.answer([request(types)])
    whole = [len(prompt_ids(engine.tokenizer, messages)) for messages in request(types).queries]
    assert sum(seen) < 0.6 * sum(whole)


def test_models_that_cannot_be_asked(models, tmp_path):
    with pytest.raises(UserError, match="nowhere.*can't be loaded"):
        TransformersEngine(tmp_path / "nowhere")
    tokenizer = AutoTokenizer.from_pretrained(models / "lm")
    tokenizer.chat_template = None
    AutoModelForCausalLM.from_pretrained(models / "lm").save_pretrained(tmp_path / "mute")
    tokenizer.save_pretrained(tmp_path / "mute")
    with pytest.raises(UserError, match="no chat template"):
        TransformersEngine(tmp_path / "mute")
