"""The transformers engine: sharing the prefix changes the speed, not the answers."""

import pytest
import torch
from conftest import byte_level_tokenizer, passage, save_tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from ra_ner.errors import UserError
from ra_ner.inference.engine import Request
from ra_ner.inference.transformers import TransformersEngine
from ra_ner.prompting.chat_template import prompt_ids
from ra_ner.prompting.conversation import WORDINGS, opening


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
    (shared,) = ask(TransformersEngine(path, dtype="float32", max_new_tokens=12), [asked])
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path)
    for messages, answer in zip(asked.queries, shared, strict=True):
        ids = torch.tensor([prompt_ids(tokenizer, messages)])
        new = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        assert answer == tokenizer.decode(new[0, ids.shape[1] :], skip_special_tokens=True)
    assert any(shared), "a model that says nothing proves nothing"


def ask(engine, requests):
    """The answers by request."""
    answers = [[""] * len(asked.questions) for asked in requests]
    for i, j, answer in engine.answer(requests):
        answers[i][j] = answer
    return answers


def plain(path, queries, max_new_tokens=12):
    """What `generate` says to each query, one by one."""
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path)
    answers = []
    for messages in queries:
        ids = torch.tensor([prompt_ids(tokenizer, messages)])
        new = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False)
        answers.append(tokenizer.decode(new[0, ids.shape[1] :], skip_special_tokens=True))
    return answers


PASSAGES = [
    request(["city", "river", "a much longer type"]),
    request(["x"], [passage("In Bonn.", ("Bonn", "city"))], text="Bonn"),
    request(["a", "b", "c", "d", "e"], text="A text that is longer than the others, and asked more often."),
]


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma3_text"])
def test_passages_asked_together_get_the_answers_they_get_alone(tmp_path, architecture):
    save_tiny_model(architecture, byte_level_tokenizer(), tmp_path)
    answers = ask(TransformersEngine(tmp_path, dtype="float32", max_new_tokens=12), PASSAGES)
    assert answers == [plain(tmp_path, asked.queries) for asked in PASSAGES]


def test_a_conversation_gets_the_answers_of_plain_generation(models):
    asked = request(["city", "river", "lake"])
    answers = TransformersEngine(models / "lm", dtype="float32", max_new_tokens=12).converse(asked)
    messages = list(asked.opening)
    for question, answer in zip(asked.questions, answers, strict=True):
        messages.append({"role": "user", "content": question})
        assert plain(models / "lm", [messages]) == [answer]
        messages.append({"role": "assistant", "content": answer})


def test_the_answer_is_bounded_by_the_text(models):
    engine = TransformersEngine(models / "lm", dtype="float32", max_new_tokens=1000)
    ((answer,),) = ask(engine, [request(["city"], text="Rhine")])
    assert 0 < len(answer) <= 2 * 5 + 16, "this tokenizer's tokens are bytes"


@pytest.mark.parametrize("mode", ["query", "conversation"])
def test_what_questions_share_is_run_once(models, monkeypatch, mode):
    engine = TransformersEngine(models / "lm", dtype="float32", max_new_tokens=2)
    seen, forward = [], engine.model.forward
    monkeypatch.setattr(engine.model, "forward", lambda **k: seen.append(k["input_ids"].numel()) or forward(**k))
    asked = request(["city", "river", "lake", "sea"])
    ask(engine, [asked]) if mode == "query" else engine.converse(asked)
    whole = [len(prompt_ids(engine.tokenizer, messages)) for messages in asked.queries]
    assert sum(seen) < 0.7 * sum(whole)


def test_where_memory_runs_out_fewer_are_asked_at_once(models, monkeypatch):
    engine = TransformersEngine(models / "lm", dtype="float32", max_new_tokens=4)
    expected = ask(engine, PASSAGES)
    forward, sizes = engine.model.forward, []

    def small_memory(**arguments):
        sizes.append(arguments["input_ids"].numel())
        if sizes[-1] > 400:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(**arguments)

    monkeypatch.setattr(engine.model, "forward", small_memory)
    assert ask(engine, PASSAGES) == expected and max(sizes) > 400 and engine.most_passages == 1
    monkeypatch.setattr(engine.model, "forward", lambda **arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ask(engine, PASSAGES)


def test_a_model_with_a_short_window_is_refused_a_longer_prompt(tmp_path):
    save_tiny_model("gemma3_text", byte_level_tokenizer(), tmp_path, sliding_window=64)
    with pytest.raises(UserError, match="longer than the model's attention window of 64: use a server"):
        ask(TransformersEngine(tmp_path, dtype="float32"), PASSAGES)


def test_models_that_cannot_be_asked(models, tmp_path):
    with pytest.raises(UserError, match="nowhere.*can't be loaded"):
        TransformersEngine(tmp_path / "nowhere")
    tokenizer = AutoTokenizer.from_pretrained(models / "lm")
    tokenizer.chat_template = None
    AutoModelForCausalLM.from_pretrained(models / "lm").save_pretrained(tmp_path / "mute")
    tokenizer.save_pretrained(tmp_path / "mute")
    with pytest.raises(UserError, match="no chat template"):
        TransformersEngine(tmp_path / "mute")
