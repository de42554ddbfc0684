"""The transformers engine: sharing the prefix changes the speed, not the answers."""

import pytest
import torch
from conftest import byte_level_tokenizer, passage, save_tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from ra_ner.errors import UserError
from ra_ner.inference.engine import Request
from ra_ner.inference.transformers import TransformersEngine
from ra_ner.prompting.chat_template import prompt_ids
from ra_ner.prompting.conversation import WORDINGS, query


def ask_for(types, examples=(), text="The Rhine flows past Basel.") -> list[Request]:
    """A request for each type."""
    wording = WORDINGS["ra_it", "en"]
    return [Request(text, query(text, type_, examples, wording)) for type_ in types]


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
    asked = ask_for(types, examples)
    shared = ask(TransformersEngine(models / "lm", dtype="float32", max_new_tokens=12), asked)
    assert shared == plain(models / "lm", asked)
    assert any(shared), "a model that says nothing proves nothing"


def ask(engine, requests) -> list[str]:
    """The answers in the order of the requests."""
    answers = {id(request): answer.text for request, answer in engine.answer(requests)}
    return [answers[id(request)] for request in requests]


def plain(path, requests, max_new_tokens=12) -> list[str]:
    """What `generate` answers to each request, one by one."""
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path)
    answers = []
    for request in requests:
        ids = torch.tensor([prompt_ids(tokenizer, request.messages)])
        new = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False)
        answers.append(tokenizer.decode(new[0, ids.shape[1] :], skip_special_tokens=True))
    return answers


PASSAGES = [
    *ask_for(["city", "river", "a much longer type"]),
    *ask_for(["x"], [passage("In Bonn.", ("Bonn", "city"))], text="Bonn"),
    *ask_for(["a", "b", "c", "d", "e"], text="A text that is longer than the others, and asked more often."),
]


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma3_text", "gemma2"])
def test_passages_asked_together_get_the_answers_they_get_alone(tmp_path, architecture):
    save_tiny_model(architecture, byte_level_tokenizer(), tmp_path)
    answers = ask(TransformersEngine(tmp_path, dtype="float32", max_new_tokens=12), PASSAGES)
    assert answers == plain(tmp_path, PASSAGES)


@pytest.mark.parametrize("architecture", ["gemma3_text", "gemma2", "mistral"])
def test_prompts_longer_than_a_sliding_window_get_the_answers_of_plain_generation(tmp_path, architecture):
    """Gemma has layers of both kinds, all layers of Mistral have a window. Gemma 2 has eager attention alone."""
    layers = {} if architecture == "mistral" else {"layer_types": ["sliding_attention", "full_attention"]}
    save_tiny_model(architecture, byte_level_tokenizer(), tmp_path, sliding_window=16, **layers)
    answers = ask(TransformersEngine(tmp_path, dtype="float32", max_new_tokens=12), PASSAGES)
    assert answers == plain(tmp_path, PASSAGES) and any(answers)


def test_an_answer_comes_with_its_tokens_and_their_probabilities(models):
    asked = ask_for(["city", "river"])
    engine = TransformersEngine(models / "lm", dtype="float32", max_new_tokens=6, with_pieces=True)
    model = AutoModelForCausalLM.from_pretrained(models / "lm")
    for request, answer in engine.answer(asked):
        assert "".join(text for text, _ in answer.pieces) == answer.text
        ids = torch.tensor([prompt_ids(engine.tokenizer, request.messages)])
        output = model.generate(
            ids, max_new_tokens=6, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
        expected = [logits[0].log_softmax(-1).max().item() for logits in output.logits]
        assert [value for _, value in answer.pieces] == pytest.approx(expected[: len(answer.pieces)], abs=1e-4)


def test_a_conversation_gets_the_answers_of_plain_generation(models):
    asked = ask_for(["city", "river", "lake"])
    answers = TransformersEngine(models / "lm", dtype="float32", max_new_tokens=12).converse(asked)
    messages = list(asked[0].opening)
    for request, answer in zip(asked, answers, strict=True):
        messages.append(request.messages[-1])
        assert plain(models / "lm", [Request(request.text, messages)]) == [answer]
        messages.append({"role": "assistant", "content": answer})


def test_the_answer_is_bounded_by_the_text(models):
    engine = TransformersEngine(models / "lm", dtype="float32", max_new_tokens=1000)
    (answer,) = ask(engine, ask_for(["city"], text="Rhine"))
    assert 0 < len(answer) <= 2 * 5 + 16, "this tokenizer's tokens are bytes"


@pytest.mark.parametrize("mode", ["query", "conversation"])
def test_what_questions_share_is_run_once(models, monkeypatch, mode):
    engine = TransformersEngine(models / "lm", dtype="float32", max_new_tokens=2)
    seen, forward = [], engine.model.forward
    monkeypatch.setattr(engine.model, "forward", lambda **k: seen.append(k["input_ids"].numel()) or forward(**k))
    asked = ask_for(["city", "river", "lake", "sea"])
    ask(engine, asked) if mode == "query" else engine.converse(asked)
    whole = [len(prompt_ids(engine.tokenizer, request.messages)) for request in asked]
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
    assert ask(engine, PASSAGES) == expected and max(sizes) > 400 and engine.batch_size == 1
    monkeypatch.setattr(engine.model, "forward", lambda **arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ask(engine, PASSAGES)


def test_models_that_cannot_be_asked(models, tmp_path):
    with pytest.raises(UserError, match="nowhere.*can't be loaded"):
        TransformersEngine(tmp_path / "nowhere")
    tokenizer = AutoTokenizer.from_pretrained(models / "lm")
    tokenizer.chat_template = None
    AutoModelForCausalLM.from_pretrained(models / "lm").save_pretrained(tmp_path / "mute")
    tokenizer.save_pretrained(tmp_path / "mute")
    with pytest.raises(UserError, match="no chat template"):
        TransformersEngine(tmp_path / "mute")
