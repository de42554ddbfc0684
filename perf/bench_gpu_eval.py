"""Evaluation on a GPU: the engine against `generate` and vLLM. `bench_gpu.py` runs it."""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING
from unittest.mock import patch

import torch
from bench_eval import NEW_TOKENS, TYPES, Batch, ask, batches, generate, in_turns, prompts, ratio
from card import IS_CPU, memory, now, peak, reset_peak

import ra_ner.inference.transformers as engine_module
from ra_ner.inference.shared_prefix import SHARED, Branch, Tree
from ra_ner.inference.transformers import TransformersEngine

if TYPE_CHECKING:
    from bench_gpu import Subject

ENGINE_TEXTS, GENERATE_QUERIES = (4, 16, 32), (64, 256)  # at once
PREFIX = (4, 2048)  # rows and tokens
Answers = dict[int, str]  # by the id of the request


def bench_evaluate(subject: "Subject") -> None:
    before, start = memory(), now()
    engine = TransformersEngine(subject.folder, dtype="bfloat16", max_new_tokens=NEW_TOKENS)
    subject.show("evaluate_load_seconds", now() - start)
    held = memory() - before
    (batch,) = batches(at_once=subject.texts, rounds=1)
    asked = list(chain(*batch))
    by_length = sorted(asked, key=lambda request: -len(str(request.messages)))  # `generate` pads less

    def ours(size: int) -> Answers:
        engine.batch_size = size
        return dict(zip(map(id, asked), ask(engine, batch), strict=True))

    def theirs(size: int) -> Answers:
        pieces = [by_length[i : i + size] for i in range(0, len(asked), size)]
        texts = chain(*(generate(engine.model, engine, [piece]) for piece in pieces))
        return dict(zip(map(id, by_length), texts, strict=True))

    sizes = sorted({min(size, subject.texts) for size in ENGINE_TEXTS})
    ways: dict[str, Callable[[], Answers]] = {f"engine, {size} texts": partial(ours, size) for size in sizes}
    ways |= {f"generate, {size} queries": partial(theirs, size) for size in GENERATE_QUERIES}
    if find_spec("vllm"):
        ways["vLLM"] = vllm_way(subject, engine, batch)
    else:
        subject.show("evaluate_vllm", skipped="vLLM is not installed")
    answers: dict[str, Answers] = {}
    peaks: dict[str, float] = {}

    def run(name: str, _: Batch) -> None:
        before = memory()
        reset_peak()
        answers[name] = ways[name]()
        peaks[name] = (peak() - before + held) / 1e9

    taken = in_turns([batch] * (subject.rounds + 1), *(partial(run, name) for name in ways))
    seconds = {name: rounds[1:] for name, rounds in zip(ways, taken, strict=True)}  # the first sets things up
    setting = {"dtype": "bfloat16", "queries": len(asked), "max_new_tokens": NEW_TOKENS, "types": TYPES}
    for name, rounds in seconds.items():
        speed, peak_memory = len(asked) / statistics.median(rounds), None if IS_CPU else peaks[name]
        subject.show("evaluate_queries_per_second", speed, arm=name, peak_memory_gb=peak_memory, **setting)
    order = sorted(seconds, key=lambda name: statistics.median(seconds[name]))
    fastest, best_generate = (next(name for name in order if name.startswith(kind)) for kind in ("engine", "generate"))
    for name, rounds in seconds.items():
        if not name.startswith("engine"):
            target = "at least 4" if name == best_generate else None
            value = ratio(rounds, seconds[fastest])
            subject.show("evaluate_engine_over", value, arm=name, engine=fastest, target=target)
    for name, other in answers.items():
        if name != best_generate:
            equal = sum(other[key] == text for key, text in answers[best_generate].items()) / len(asked)
            subject.show(
                "evaluate_equal_answers", equal, arms=f"{name}; {best_generate}", different=len(set(other.values()))
            )
    engine.batch_size = sizes[-1]
    show_steps(subject, engine, batch)
    show_steps_of_generate(subject, engine, by_length[: GENERATE_QUERIES[-1]])
    show_cost_of_mask(subject, engine)


def vllm_way(subject: "Subject", engine: TransformersEngine, batch: Batch) -> Callable[[], Answers]:
    from vllm import LLM, SamplingParams

    llm = LLM(str(subject.folder), dtype="bfloat16", enable_prefix_caching=True, gpu_memory_utilization=0.4)
    greedy = SamplingParams(temperature=0, max_tokens=NEW_TOKENS)
    inputs = [{"prompt_token_ids": ids} for requests in batch for ids in prompts(engine, requests)]

    def answer() -> Answers:
        llm.reset_prefix_cache()  # it would hold whole prompts of the round before
        outputs = llm.generate(inputs, greedy, use_tqdm=False)
        return dict(zip(map(id, chain(*batch)), (output.outputs[0].text for output in outputs), strict=True))

    return answer


def show_steps(subject: "Subject", engine: TransformersEngine, batch: Batch) -> None:
    """What the engine's time goes to: prefixes, the questions after them, single tokens, and all around the model."""
    steps: dict[str, list[float]] = {"prefix": [], "questions": [], "token": []}
    forward: list[float] = []

    class TimedTree(Tree):
        def add(self, rows: list[list[Branch]]) -> list[list[tuple[int, float]]]:
            added = list(chain(*rows))
            is_prefix, is_token = added[0].name == SHARED, all(len(branch.tokens) == 1 for branch in added)
            start = now()
            predicted = super().add(rows)
            steps["prefix" if is_prefix else "token" if is_token else "questions"].append(now() - start)
            return predicted

    begun = engine.model.register_forward_pre_hook(lambda *_: forward.append(-now()))
    ended = engine.model.register_forward_hook(lambda *_: forward.append(now()))
    start = now()
    with patch.object(engine_module, "Tree", TimedTree):
        ask(engine, batch)
    whole = now() - start
    begun.remove()
    ended.remove()
    in_steps = sum(map(sum, steps.values()))
    for kind, taken in steps.items():
        if taken:
            ms = 1000 * statistics.median(taken)
            subject.show("evaluate_share_of_time", sum(taken) / whole, of=kind, steps=len(taken), ms_per_step=ms)
    subject.show("evaluate_share_of_time", (in_steps - sum(forward)) / whole, of="inputs and masks of the steps")
    subject.show("evaluate_share_of_time", 1 - in_steps / whole, of="rendering prompts, decoding answers")


def show_steps_of_generate(subject: "Subject", engine: TransformersEngine, requests: Sequence) -> None:
    taken = {}
    for tokens in (1, NEW_TOKENS):
        engine.max_new_tokens = tokens
        start = now()
        generate(engine.model, engine, [list(requests)])
        taken[tokens] = now() - start
    engine.max_new_tokens = NEW_TOKENS
    ms = 1000 * (taken[NEW_TOKENS] - taken[1]) / (NEW_TOKENS - 1)
    subject.show("evaluate_generate_ms_per_token", ms, queries=len(requests), prefix_ms=1000 * taken[1])


@torch.inference_mode()
def show_cost_of_mask(subject: "Subject", engine: TransformersEngine) -> None:
    rows, tokens = PREFIX if not IS_CPU else (1, 256)
    ids = torch.randint(1000, 20_000, (rows, tokens), device=engine.model.device)
    mask = torch.ones(tokens, tokens, dtype=torch.bool, device=ids.device).tril().repeat(rows, 1, 1, 1)
    taken: dict[str, list[float]] = {"mask": [], "causal": []}
    for _ in range(6):
        for name, seconds in taken.items():
            start = now()
            engine.model(input_ids=ids, attention_mask=mask if name == "mask" else None, logits_to_keep=1)
            seconds.append(now() - start)
    masked, causal = (seconds[1:] for seconds in taken.values())
    ms = {"mask_ms": 1000 * statistics.median(masked), "causal_ms": 1000 * statistics.median(causal)}
    subject.show("evaluate_prefix_under_mask_over_causal", ratio(masked, causal), rows=rows, tokens=tokens, **ms)
