"""Time the scoring of queries with bootstrap intervals, and compare it with a bootstrap in plain Python.

    python perf/bench_scoring.py [--queries 100000] [--samples 1000]

Prints one JSON line for each figure; seconds are wall-clock time. The queries ask for ten types in each synthetic
passage, drawn with a fixed seed. About half of the answers name mentions, some of them wrong, and one in fifty can't be
read. The plain bootstrap is timed on 10 resamples of one score, and its time is extrapolated to all resamples of all
three scores. It computes no figures by type.
"""

import argparse
import json
import random
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ra_ner.prompting.answers import parse_answer
from ra_ner.tasks.scoring import NER, Counts, judge, score

TYPES = [f"type {number}" for number in range(10)]
WORDS = [f"word{number}" for number in range(500)]
BASELINE_SAMPLES = 10


def synthetic_rows(count: int) -> tuple[list[dict], dict[str, str]]:
    """Rows of predictions.jsonl, and the texts by passage id."""
    rng = random.Random(0)
    rows, texts = [], {}
    for passage_id in map(str, range(count // len(TYPES))):
        words = rng.choices(WORDS, k=60)
        texts[passage_id] = " ".join(words)
        for type_ in TYPES:
            gold = rng.sample(words, rng.choice((0, 0, 0, 1, 2)))
            named = [mention for mention in gold if rng.random() < 0.7] + rng.sample(WORDS, rng.choice((0, 0, 0, 1)))
            raw = json.dumps(named) if rng.random() < 0.98 else "There are none."
            answer = parse_answer(raw)
            rows.append(
                {
                    "passage_id": passage_id,
                    "type": type_,
                    "gold": [{"text": mention, "start": None, "end": None} for mention in gold],
                    "raw_answer": raw,
                    "parsed": answer.error is None,
                    "predicted": answer.mentions,
                }
            )
    return rows, texts


def plain_bootstrap(rows: list[dict], texts: dict[str, str], samples: int) -> float:
    """Seconds that resampling passages and adding up their counts one by one takes."""
    passages: dict[str, list[dict]] = {}
    for row in rows:
        passages.setdefault(row["passage_id"], []).append(row)
    counts = [sum((v.counts for v in judge(part, texts[id_])), Counts()) for id_, part in passages.items()]
    rng = random.Random(0)
    start = time.perf_counter()
    for _ in range(samples):
        sum(rng.choices(counts, k=len(counts)), Counts())
    return time.perf_counter() - start


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=100_000, help="default: 100000")
    parser.add_argument("--samples", type=int, default=1000, help="resamples for the intervals (default: 1000)")
    arguments = parser.parse_args()
    rows, texts = synthetic_rows(arguments.queries)
    setting = {"queries": len(rows), "samples": arguments.samples}

    before, start = peak_megabytes(), time.perf_counter()
    score(rows, texts, samples=1)
    alone = time.perf_counter() - start
    start = time.perf_counter()
    score(rows, texts, samples=arguments.samples)
    seconds = time.perf_counter() - start
    print(json.dumps({"score_seconds": round(seconds, 2), "target": 20, **setting}))
    print(json.dumps({"extra_memory_megabytes": round(peak_megabytes() - before), "target": 1024, **setting}))

    plain = plain_bootstrap(rows, texts, BASELINE_SAMPLES) * arguments.samples / BASELINE_SAMPLES * len(NER.scores)
    print(json.dumps({"plain_bootstrap_seconds_extrapolated_from_10_resamples": round(plain, 2), **setting}))
    print(json.dumps({"times_faster_than_with_a_plain_bootstrap": round((alone + plain) / seconds, 1), **setting}))


if __name__ == "__main__":
    main()
