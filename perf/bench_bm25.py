"""Score 128 candidates of each passage with BM25Index, against bm25s scoring all passages for each.

    python -m perf.bench_bm25 [--passages 46000]

One JSON line a figure, seconds of wall-clock time. The passages are drawn, seeded, from the words of the English sample
corpus with their frequencies, short ones (as the sample corpus's) and long ones (as Pile-NER's). Both sides start from
texts and index once. bm25s (its numpy backend) has no way to score only some documents; it is timed on 200 queries and
the time extrapolated to all passages.
"""

import argparse
import json
import random
import time
from collections.abc import Callable

import bm25s
import numpy as np

from ra_ner.corpus import read_corpus
from ra_ner.retrieval.bm25 import BM25Index, split_words

CANDIDATES = 128
BASELINE_QUERIES = 200
LENGTHS = (50, 200)  # words a passage


def synthetic_passages(count: int, length: int) -> list[str]:
    """Texts of `length` words of the sample corpus at random."""
    words = [word for passage in read_corpus("data/sample/en.jsonl") for word in passage.text.split()]
    generator = random.Random(0)
    return [" ".join(generator.choices(words, k=length)) for _ in range(count)]


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ours(passages: list[str]) -> float:
    """Index, and score random candidates of each passage."""
    candidates = np.random.default_rng(0).integers(len(passages), size=(len(passages), CANDIDATES))
    return seconds(lambda: BM25Index(passages, "en").scores(passages, candidates))


def baseline(passages: list[str]) -> float:
    """Index with bm25s, and score all passages for each; queries beyond the first 200 are extrapolated."""
    index = bm25s.BM25()
    indexing = seconds(lambda: index.index([split_words(text, "en") for text in passages], show_progress=False))
    queries = passages[:BASELINE_QUERIES]
    scoring = seconds(lambda: [index.get_scores(split_words(query, "en")) for query in queries])
    return indexing + scoring * len(passages) / len(queries)


def compare(passages: list[str], setting: dict[str, int]) -> None:
    """Print both times and their ratio."""
    own = ours(passages)
    print(json.dumps({"bm25_index_seconds": round(own, 2), **setting}), flush=True)
    other = baseline(passages)
    print(json.dumps({"bm25s_get_scores_seconds_extrapolated_from_200_queries": round(other, 2), **setting}))
    print(json.dumps({"times_faster_than_bm25s": round(other / own, 1), "target": 5, **setting}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=46000, help="how many synthetic passages (default: 46000)")
    count = parser.parse_args().passages
    for length in LENGTHS:
        setting = {"passages": count, "words_a_passage": length, "candidates": CANDIDATES}
        compare(synthetic_passages(count, length), setting)


if __name__ == "__main__":
    main()
