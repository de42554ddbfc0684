"""Ask a model about passages with the engine, against batched `generate` of each query on its own, or a server.

    python perf/bench_eval.py [--model models/smollm2-135m-instruct] [--adapter FOLDER] [--dtype float32 bfloat16]
    python perf/bench_eval.py --dtype bfloat16 --server_url http://localhost:8000/v1 --server_model NAME
    python perf/bench_eval.py --dtype bfloat16 --adapter FOLDER --copy_only

One JSON line a figure. Passages are those of the English sample corpus, with 12 types each and k = 2 examples. All arms
are given the same queries, the same number of them at once, and are timed in turns, each round with other passages;
ratios are medians over rounds. `bare` is what cannot be saved: forward passes of the engine's own model over as many
tokens (what a passage's prompts share once, the rest of them, the answers at full length), without padding, a mask or
meaning. A server must be freshly started with the same model and dtype: it is asked nothing twice, so its prefix cache
holds no whole prompt. `--copy_only` compares the engine with and without it, on answers of up to 64 tokens.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from transformers import DynamicCache, PreTrainedModel

from ra_ner.corpora.sources import load_corpus
from ra_ner.inference.copying import is_copied
from ra_ner.inference.cpu import prepare_for_cpu
from ra_ner.inference.engine import Engine, Request, ServerOptions
from ra_ner.inference.server import ServerEngine
from ra_ner.inference.transformers import TransformersEngine
from ra_ner.prompting.chat_template import prompt_ids
from ra_ner.prompting.conversation import WORDINGS, query

WORDING = WORDINGS["ra_it", "en"]
PASSAGES, TYPES, K, NEW_TOKENS = 2, 12, 2, 12  # asked at once
ROUNDS = 9


Batch = list[list[Request]]  # for each passage the request of each type


def batches(types: int = TYPES, k: int = K, at_once: int = PASSAGES, rounds: int = ROUNDS) -> list[Batch]:
    """A batch of so many passages at once for each round, with passages and examples of its own."""
    passages, pool = (
        load_corpus("data/sample/en_test.jsonl", "en").passages,
        load_corpus("data/sample/en.jsonl", "en").passages,
    )
    names = list(dict.fromkeys(type_ for passage in pool for type_ in passage.types))[:types]
    requests = [
        [Request(p.text, query(p.text, type_, pool[k * i : k * (i + 1)], WORDING)) for type_ in names]
        for i, p in enumerate(passages[: rounds * at_once])
    ]
    return [requests[i : i + at_once] for i in range(0, len(requests), at_once)]


def prompts(engine: TransformersEngine, requests: list[Request]) -> list[list[int]]:
    return [prompt_ids(engine.tokenizer, request.messages) for request in requests]


def ask(engine: Engine, batch: Batch) -> list[str]:
    """The answers in the order of the requests."""
    requests = [request for of_passage in batch for request in of_passage]
    answers = {id(request): answer.text for request, answer in engine.answer(requests)}
    return [answers[id(request)] for request in requests]


def generate(model: PreTrainedModel, engine: TransformersEngine, batch: Batch) -> list[str]:
    """The baseline: all queries as one batch, nothing shared, with the model as transformers loads it."""
    ids = [prompt for requests in batch for prompt in prompts(engine, requests)]
    inputs = engine.tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt").to(model.device)
    ids = model.generate(**inputs, do_sample=False, max_new_tokens=engine.max_new_tokens)
    return engine.tokenizer.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


@torch.inference_mode()
def bare(engine: TransformersEngine, batch: Batch) -> None:
    """Forward passes over the same number of tokens, of no meaning."""
    asked = [prompts(engine, requests) for requests in batch]
    shared = [len(os.path.commonprefix(whole)) for whole in asked]  # noqa: RUF071 - lists, not paths
    rest = [sum(len(prompt) - n for prompt in whole) for whole, n in zip(asked, shared, strict=True)]
    steps = [round(statistics.mean(shared)), round(statistics.mean(rest))]
    steps += [len(batch[0])] * (engine.max_new_tokens - 1)
    cache = DynamicCache()
    for tokens in steps:
        ids = torch.zeros(len(batch), tokens, dtype=torch.long)
        engine.model(input_ids=ids, past_key_values=cache, logits_to_keep=1)


def in_turns(rounds: list[Batch], *arms: Callable[[Batch], object]) -> list[list[float]]:
    """The seconds that each arm takes in each round."""
    seconds: list[list[float]] = [[] for _ in arms]
    for batch in rounds:
        for taken, arm in zip(seconds, arms, strict=True):
            start = time.perf_counter()
            arm(batch)
            taken.append(time.perf_counter() - start)
    return seconds


def ratio(seconds: list[float], of: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(seconds, of, strict=True))


def show(**figures: object) -> None:
    print(json.dumps({key: round(v, 3) if isinstance(v, float) else v for key, v in figures.items()}), flush=True)


def measure(engine: TransformersEngine, dtype: str, model: PreTrainedModel) -> None:
    rounds, queries, taken = batches(), PASSAGES * TYPES, {}
    lengths = [len(prompt) for batch in rounds for requests in batch for prompt in prompts(engine, requests)]
    setting = {"dtype": dtype, "prompt_tokens": statistics.mean(lengths), "queries_at_once": queries}
    arms = [partial(ask, engine), partial(generate, model, engine), partial(bare, engine)]
    for new in (1, NEW_TOKENS):
        engine.max_new_tokens = new
        ours, theirs, least = in_turns(rounds, *arms)
        taken[new] = ours
        show(
            **setting,
            max_new_tokens=new,
            queries_per_second=queries / statistics.median(ours),
            times_faster_than_generate=ratio(theirs, ours),
            times_slower_than_bare=ratio(ours, least),
        )
    prefill = ratio(taken[1], taken[NEW_TOKENS])
    show(**setting, share_of_time_in_prefill=prefill, share_in_decode=1 - prefill)
    for types, k in [(1, K), (6, K), (12, K), (24, K), (12, 0), (12, 1), (12, 4)]:
        (ours,) = in_turns(batches(types, k), lambda batch: ask(engine, batch))
        seconds = statistics.median(ours)
        show(dtype=dtype, types=types, k=k, seconds=seconds, seconds_per_query=seconds / types / PASSAGES)


def measure_server(engine: TransformersEngine, dtype: str, server: ServerEngine) -> None:
    answers: dict[Engine, list] = {engine: [], server: []}
    arms = [lambda batch, arm=arm: answers[arm].extend(ask(arm, batch)) for arm in (engine, server)]
    # vLLM's worker spins for a second after its last answer, which would slow us down.
    ours, theirs, _ = in_turns(batches(), *arms, lambda batch: time.sleep(2))
    show(
        dtype=dtype,
        server=server.name,
        max_new_tokens=engine.max_new_tokens,
        queries_per_second=PASSAGES * TYPES / statistics.median(ours),
        of_server=PASSAGES * TYPES / statistics.median(theirs),
        times_faster_than_server=ratio(theirs, ours),
        answers=len(answers[server]),
        equal=sum(a == b for a, b in zip(answers[engine], answers[server], strict=True)),
    )


def measure_copy_only(engine: TransformersEngine, dtype: str, copying: TransformersEngine) -> None:
    rounds, answers = batches(), {engine: [], copying: []}
    engine.max_new_tokens = copying.max_new_tokens = 64
    free, copied = in_turns(rounds, *(lambda batch, arm=arm: answers[arm].extend(ask(arm, batch)) for arm in answers))
    texts = [request.text for batch in rounds for of_passage in batch for request in of_passage]
    pairs = list(zip(*answers.values(), texts, strict=True))
    show(
        dtype=dtype,
        copy_only=True,
        times_as_long=ratio(copied, free),
        answers=len(pairs),
        already_copied=sum(is_copied(before, text) for before, _, text in pairs),
        changed=sum(before != after for before, after, _ in pairs),
        changed_of_already_copied=sum(before != after and is_copied(before, text) for before, after, text in pairs),
        not_copied=sum(not is_copied(after, text) for _, after, text in pairs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/smollm2-135m-instruct", type=Path)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--server_url", help="Compare with this server of the model or adapter instead.")
    parser.add_argument("--server_model", help="What the server calls it.")
    parser.add_argument("--copy_only", action="store_true", help="Compare with answers that can only copy instead.")
    args = parser.parse_args()
    if args.server_url and len(args.dtype) > 1:
        parser.error("a server answers in one number format: give its --dtype")
    for dtype in args.dtype:
        engine = TransformersEngine(args.model, args.adapter, dtype=dtype, max_new_tokens=NEW_TOKENS)
        prepare_for_cpu(engine.model)  # as evaluation does
        warm_up = [[Request("In Bonn.", query("In Bonn.", "city", [], WORDING))]]
        ask(engine, warm_up)  # the first call sets things up
        if args.copy_only:
            copying = TransformersEngine(args.model, args.adapter, dtype=dtype, copy_only=True)
            prepare_for_cpu(copying.model)
            ask(copying, warm_up)
            measure_copy_only(engine, dtype, copying)
        elif args.server_url:
            options = ServerOptions(args.server_url, concurrency=PASSAGES * TYPES)
            name = args.server_model or str(args.model)
            server = ServerEngine(name, options, NEW_TOKENS, args.adapter or args.model)
            ask(server, warm_up)
            measure_server(engine, dtype, server)
        else:
            measure(engine, dtype, TransformersEngine(args.model, args.adapter, dtype=dtype).model)


if __name__ == "__main__":
    main()
