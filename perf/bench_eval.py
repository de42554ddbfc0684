"""Ask a model about passages with the engine, against batched `generate` of each query on its own.

    python perf/bench_eval.py [--model models/smollm2-135m-instruct] [--dtype float32 bfloat16]

One JSON line a figure. Passages are those of the English sample corpus, with 12 types each and k = 2 examples. Both
arms are given the same queries, the same number of them at once, and are timed in turns; ratios are those of medians.
`bare` is what cannot be saved: forward passes over as many tokens (the shared ones once, the questions, the answers)
with a plain cache and no mask.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from transformers import DynamicCache

from ra_ner.conversation import WORDINGS, opening
from ra_ner.corpus import Passage, read_corpus
from ra_ner.inference import Request
from ra_ner.inference.transformers import TransformersEngine
from ra_ner.rendering import prompt_ids

WORDING = WORDINGS["ra_it", "en"]
PASSAGES, TYPES, K = 4, 12, 2
ROUNDS = 3


def requests(passages: list[Passage], pool: list[Passage], types: list[str], k: int) -> list[Request]:
    """Questions for each type about each passage; the examples are the next k of the pool."""
    questions = [WORDING.question.format(type=type_) for type_ in types]
    return [
        Request(passage.text, opening(passage.text, pool[k * i : k * (i + 1)], WORDING), questions)
        for i, passage in enumerate(passages)
    ]


def generate(engine: TransformersEngine, asked: list[Request]) -> None:
    """The baseline: all queries as one batch, nothing shared."""
    prompts = [prompt_ids(engine.tokenizer, messages) for request in asked for messages in request.queries]
    batch = engine.tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt")
    engine.model.generate(**batch, do_sample=False, max_new_tokens=engine.max_new_tokens)


@torch.inference_mode()
def bare(engine: TransformersEngine, asked: list[Request]) -> None:
    """Forward passes over the same number of tokens, of no meaning."""
    whole = [[len(prompt_ids(engine.tokenizer, messages)) for messages in request.queries] for request in asked]
    shared = [len(prompt_ids(engine.tokenizer, request.opening)) for request in asked]
    steps = [max(shared), max(sum(n) - len(n) * s for n, s in zip(whole, shared, strict=True))]
    steps += [max(map(len, whole))] * (engine.max_new_tokens - 1)
    cache = DynamicCache()
    for tokens in steps:
        ids = torch.zeros(len(asked), tokens, dtype=torch.long)
        engine.model(input_ids=ids, past_key_values=cache, logits_to_keep=1)


def seconds(*arms: Callable[[], object]) -> list[float]:
    """The median time of each arm, run in turns."""
    times: list[list[float]] = [[] for _ in arms]
    for _ in range(ROUNDS):
        for taken, arm in zip(times, arms, strict=True):
            start = time.perf_counter()
            arm()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def show(**figures: object) -> None:
    print(json.dumps({key: round(v, 3) if isinstance(v, float) else v for key, v in figures.items()}), flush=True)


def measure(engine: TransformersEngine, dtype: str) -> None:
    passages, pool = read_corpus("data/sample/en_test.jsonl")[:PASSAGES], read_corpus("data/sample/en.jsonl")
    types = list(dict.fromkeys(type_ for passage in pool for type_ in passage.types))[: 2 * TYPES]
    asked = requests(passages, pool, types[:TYPES], K)
    queries = [messages for request in asked for messages in request.queries]
    setting = {"dtype": dtype, "prompt_tokens": statistics.mean(len(prompt_ids(engine.tokenizer, q)) for q in queries)}

    def ask(requests: list[Request]) -> None:
        list(engine.answer(requests))

    ask(asked[:1])  # the first call sets things up
    taken = {}
    for new in (1, 12):
        engine.max_new_tokens = new
        ours, theirs, least = seconds(lambda: ask(asked), lambda: generate(engine, asked), lambda: bare(engine, asked))
        taken[new] = ours
        figures = {"times_faster_than_generate": theirs / ours, "times_slower_than_bare": ours / least}
        show(**setting, max_new_tokens=new, queries_per_second=len(queries) / ours, **figures)
    show(**setting, share_of_time_in_prefill=taken[1] / taken[12], share_in_decode=1 - taken[1] / taken[12])
    for count, k in [(1, K), (6, K), (12, K), (24, K), (12, 0), (12, 1), (12, 4)]:
        (ours,) = seconds(lambda count=count, k=k: ask(requests(passages, pool, types[:count], k)))
        show(dtype=dtype, types=count, k=k, seconds=ours, seconds_per_query=ours / count / PASSAGES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/smollm2-135m-instruct")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    args = parser.parse_args()
    for dtype in args.dtype:
        measure(TransformersEngine(Path(args.model), dtype=dtype), dtype)


if __name__ == "__main__":
    main()
