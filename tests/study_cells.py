"""Evaluations of a study's cells with random answers, in the files that `ra-ner evaluate` writes."""

import json
import random
from pathlib import Path

from ra_ner.atomic_files import write_text
from ra_ner.evaluation.report import scores_json
from ra_ner.prompting.answers import parse_answer
from ra_ner.study.grid import Cell
from ra_ner.tasks.scoring import score_all

WORDS = [f"w{number}" for number in range(12)]
CONFIG = {"models": ["adapter"], "limit": None, "seed": 42, "k": 2}


def make_cell(strategy: str, seed: int, base: str = "en", axis: str = "dataset.strategy", **values: object) -> Cell:
    name = "-".join(map(str, ["grid", base, strategy, *values.values(), f"seed{seed}"]))
    return Cell(name, base, {axis: strategy, **values}, seed, strategy == "none")


def answered(
    seed: int,
    skill: float,
    benchmark: str = "politics",
    setting: str = "zero_shot",
    passages: int = 12,
    types: tuple[str, ...] = ("person", "city"),
) -> tuple[list[dict], dict[str, str]]:
    """Rows of predictions, and the texts by passage id. The gold entities depend only on the benchmark.

    Args:
        skill: share of the gold entities that the answers find.
    """
    gold_rng, rng = random.Random(benchmark), random.Random(f"{seed} {skill} {benchmark} {setting}")
    rows, texts = [], {}
    for number in range(passages):
        id_ = f"{benchmark}-{number:03}"
        texts[id_] = f"{benchmark} {number}: " + " ".join(WORDS) + " and so on" * gold_rng.randrange(9)
        scores = [] if setting == "zero_shot" else [round(gold_rng.random(), 3)]
        for type_ in types:
            gold = gold_rng.sample(WORDS, gold_rng.randrange(4))
            found = [word for word in WORDS if rng.random() < (skill if word in gold else 0.05)]
            copied = ["Elsewhere"] if scores and rng.random() < 0.1 else []
            answer = "none" if rng.random() < 0.03 else json.dumps(found + copied)
            read = parse_answer(answer)
            rows.append(
                {
                    "model": "m",
                    "revision": "0",
                    "benchmark": benchmark,
                    "passage_id": id_,
                    "setting": setting,
                    "type": type_,
                    "gold": [{"text": word, "start": None, "end": None} for word in gold],
                    "raw_answer": answer,
                    "parsed": read.error is None,
                    "predicted": list(read.mentions),
                    "copied": [mention for mention in read.mentions if mention in copied],
                    "example_scores": scores,
                }
            )
    return rows, texts


def write_evaluation(
    folder: Path,
    seed: int,
    skill: float,
    benchmarks: tuple[str, ...] = ("politics", "movie"),
    settings: tuple[str, ...] = ("zero_shot", "in_domain-nn"),
    **config: object,
) -> dict:
    """Write the files of an evaluation to `folder`, and return the content of scores.json."""
    rows, texts = [], {}
    for benchmark in benchmarks:
        for setting in settings:
            part, texts[benchmark] = answered(seed, skill, benchmark, setting)
            rows += part
    labels = dict.fromkeys(benchmarks, "open")
    scores = {"recipe": "r", "labels": labels, "config": {**CONFIG, **config}, **score_all(rows, texts)}
    write_text(folder / "predictions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_text(folder / "texts.json", json.dumps(texts))
    write_text(folder / "scores.json", scores_json(scores))
    return scores
