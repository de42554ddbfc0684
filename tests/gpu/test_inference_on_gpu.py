"""The shared-prefix engine on a CUDA device: the answers of plain generation, also where memory runs out."""

import pytest
import torch
from conftest import byte_level_tokenizer, passage, save_tiny_model
from test_transformers import ask, ask_for

from perf.random_model import random_model
from ra_ner.corpora.sources import load_corpus
from ra_ner.inference.engine import Request
from ra_ner.inference.transformers import TransformersEngine
from ra_ner.prompting.chat_template import prompt_ids

QUERIES = 200


@pytest.fixture(scope="module")
def requests() -> list[Request]:
    """Questions about the sample's test passages, half of them with two examples."""
    pool, asked = (load_corpus(f"data/sample/{name}.jsonl", "en").passages for name in ("en", "en_test"))
    types = ["person", "organization", "location", "date"]
    found = [
        request
        for i, one in enumerate(asked)
        for request in ask_for([*one.types, *types], pool[2 * i : 2 * i + 2] if i % 2 else [], one.text)
    ]
    return found[:QUERIES]


@torch.inference_mode()
def plain(engine: TransformersEngine, requests: list[Request]) -> list[str]:
    """What `generate` answers to each request, one by one, with the engine's own model."""
    answers = []
    for request in requests:
        ids = torch.tensor([prompt_ids(engine.tokenizer, request.messages)], device=engine.model.device)
        budget = engine._budget(request.text)
        new = engine.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=budget,
            do_sample=False,
            eos_token_id=sorted(engine.stop),
        )
        answers.append(engine.tokenizer.decode(new[0, ids.shape[1] :], skip_special_tokens=True))
    return answers


@pytest.mark.parametrize("dtype, least", [("float32", 1.0), ("bfloat16", 0.99)])
def test_answers_are_those_of_plain_generation(trained, requests, dtype, least):
    base, adapter = trained / "models" / "smollm2-135m-instruct", trained / "outputs" / "quickstart" / "adapter"
    engine = TransformersEngine(base, adapter, dtype=dtype, max_new_tokens=32, batch_size=16)
    assert engine.model.device.type == "cuda"
    answers, expected = ask(engine, requests), plain(engine, requests)
    same = sum(one == other for one, other in zip(answers, expected, strict=True)) / len(requests)
    print(f"\n{dtype}: {same:.1%} of {len(requests)} answers are those of plain generation")
    assert same >= least and len(set(expected)) > 5


def test_an_adapter_on_a_4_bit_base_answers_as_plain_generation_does(trained, requests):
    base, adapter = trained / "models" / "smollm2-135m-instruct", trained / "outputs" / "quickstart" / "adapter"
    engine = TransformersEngine(base, adapter, load_in_4bit=True, max_new_tokens=32, batch_size=16)
    few = requests[:48]
    same = sum(one == other for one, other in zip(ask(engine, few), plain(engine, few), strict=True))
    print(f"\n4 bits: {same} of {len(few)} answers are those of plain generation")
    assert same >= 0.9 * len(few)


def test_where_the_card_is_full_fewer_are_asked_at_once_and_no_answer_is_lost(byte_tokenizer, free_memory):
    """A real out-of-memory error: the process may take half of what a whole batch needs beside the weights."""
    with random_model("llama-3-8b", 2, byte_tokenizer) as folder:
        engine = TransformersEngine(folder, dtype="float32", max_new_tokens=6, batch_size=16)
    examples = [passage(f"In Bonn {'it rained ' * 150}", ("Bonn", "city"), id=str(i)) for i in range(2)]
    asked = [r for i in range(16) for r in ask_for(["city", "river"], examples, f"Text {i} about the Rhine.")]
    weights = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    expected = ask(engine, asked)
    assert engine.batch_size == 16
    needed = torch.cuda.max_memory_allocated() - weights
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((weights + needed / 2) / total)
    assert ask(engine, asked) == expected and len(expected) == 32
    print(f"\n{needed / 1e9:.1f} GB beside the weights for 16 texts; with half of it {engine.batch_size} at once")
    assert engine.batch_size in (1, 2, 4, 8)


def test_prompts_longer_than_a_sliding_window(tmp_path):
    layers = ["sliding_attention", "full_attention"]
    save_tiny_model("gemma3_text", byte_level_tokenizer(), tmp_path, sliding_window=16, layer_types=layers)
    engine = TransformersEngine(tmp_path, dtype="float32", max_new_tokens=12)
    asked = ask_for(["city", "river", "a much longer type"])
    assert ask(engine, asked) == plain(engine, asked)
