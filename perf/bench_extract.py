"""Extraction against a `generate` call for each type, the time to the first entity, memory, and long texts.

    python perf/bench_extract.py [--model outputs/quickstart/adapter] [--examples sample_en]

One JSON line a figure. Run it after `make quickstart`, on a quiet machine. `speed` asks about texts of 200 words and
12 types, zero-shot and with two examples: the Extractor against `generate` of the same prompts, one call each, by the
model as transformers loads it. Arms are timed in turns, each round with another text; ratios are medians over rounds.
`first_entity` is the whole command, with warm file caches. `memory` streams texts through a tiny model of random
weights. `long_text` compares a text of 150,000 characters with its windows, asked about as texts of their own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from ra_ner import Extractor
from ra_ner.corpora.sources import load_corpus
from ra_ner.inference.engine import answer_budget
from ra_ner.prompting.chat_template import prompt_ids

WORDS, TYPES, ROUNDS, NEW_TOKENS = 200, 12, 3, 32
TEXTS, LONG = 10_000, 150_000
SENTENCE = "The museum in Basel opened a show about the painter Paul Klee on 3 May 2019. "


def texts_of(words: int) -> Iterator[str]:
    """Texts of as many words, from the sample corpus."""
    running = cycle(" ".join(passage.text for passage in load_corpus("sample_en", "en").passages).split())
    while True:
        yield " ".join(islice(running, words))


def show(**figures: object) -> None:
    print(json.dumps({key: round(v, 3) if isinstance(v, float) else v for key, v in figures.items()}), flush=True)


def speed(name: str, examples: str, strategy: str) -> None:
    ner = Extractor.from_pretrained(name, examples, strategy=strategy, dtype="float32", max_new_tokens=NEW_TOKENS)
    plain = AutoPeftModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    asked, answer = [], ner.engine.answer

    def recorded(requests):
        asked.extend(requests)
        return answer(requests)

    ner.engine.answer = recorded
    types = [t for p in load_corpus("sample_en", "en").passages for t in p.types]
    types = list(dict.fromkeys(types))[:TYPES]
    ours, theirs, entities = [], [], 0
    for text in islice(texts_of(WORDS), ROUNDS):
        asked.clear()
        start = time.perf_counter()
        entities += len(ner.extract(text, types))
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        for request in asked:
            ids = torch.tensor([prompt_ids(ner.model.tokenizer, request.messages)])
            budget = answer_budget(len(ner.model.tokenizer(text).input_ids), NEW_TOKENS)
            plain.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=budget)
        theirs.append(time.perf_counter() - start)
    times_faster = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    figures = {"strategy": strategy, "types": len(types), "words": WORDS, "entities": entities}
    show(measure="speed", **figures, seconds_per_text=statistics.median(ours), times_faster_than_generate=times_faster)


def first_entity(name: str, examples: str) -> None:
    command = [sys.executable, "-m", "ra_ner", "extract", "-", "--model", name, "--types", "person,city,date"]
    command += ["--examples", examples, "--strategy", "nn"]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(command, input=SENTENCE, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
        assert json.loads(done.stdout)["entities"]
    show(measure="first_entity", seconds=seconds[1:], first_run_seconds=seconds[0])


def tiny_model(name: str, folder: Path) -> str:
    """A model of random weights with the tokenizer of another one."""
    tokenizer = AutoTokenizer.from_pretrained(name)
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=512, **size)).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return str(folder)


def memory(model: str) -> None:
    ner = Extractor.from_pretrained(model, "sample_en", strategy="bm25", max_new_tokens=2, batch_size=16)
    process, seen = psutil.Process(), {}
    numbered = (f"{i}: {text}" for i, text in enumerate(islice(texts_of(20), TEXTS)))
    start = time.perf_counter()
    for number, _ in enumerate(ner.stream(numbered, ["person"]), 1):
        if number in (TEXTS // 10, TEXTS):
            seen[number] = process.memory_info().rss / 2**20
    early, late = seen.values()
    show(measure="memory", texts=TEXTS, mib_after=seen, growth=late / early - 1, seconds=time.perf_counter() - start)


def long_text(model: str) -> None:
    ner = Extractor.from_pretrained(model, max_new_tokens=2)
    text = (SENTENCE * (LONG // len(SENTENCE) + 1))[:LONG]
    pieces: list[str] = []
    questions = ner._questions

    def recorded(*args):
        for question in questions(*args):
            pieces.append(question.text)
            yield question

    ner._questions = recorded
    whole, parts = [], []
    for _ in range(3):
        pieces.clear()
        start = time.perf_counter()
        windows = len(ner.extract(text, ["city"]).windows)
        whole.append(time.perf_counter() - start)
        read = list(pieces)
        start = time.perf_counter()
        ner.extract(read, ["city"])
        parts.append(time.perf_counter() - start)
    slower = statistics.median(a / b for a, b in zip(whole, parts, strict=True))
    show(measure="long_text", characters=LONG, windows=windows, time_compared_with_windows=slower)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="outputs/quickstart/adapter")
    parser.add_argument("--examples", default="sample_en")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    first_entity(options.model, options.examples)
    for strategy in ("none", "nn"):
        speed(options.model, options.examples, strategy)
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model(options.model, Path(folder))
        memory(model)
        long_text(model)


if __name__ == "__main__":
    main()
