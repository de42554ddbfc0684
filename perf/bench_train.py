"""Training on a CPU: our rows, our trainer and NF4 against plain baselines.

    python perf/bench_train.py [answers] [trl] [batches] [precision] [--corpus data/sample/en.jsonl]

One JSON line a figure. The model is SmolLM2-135M under recipes/quickstart.yaml (LoRA, NF4, bfloat16, one row a batch);
the rows are RA-IT rows of at most 1,024 tokens with two nearest neighbours. What is timed is `trainer.train()` over a
few rows: forward, backward, and one step of the optimizer. The arms of a figure take turns, three times if not said
otherwise, of which the median counts. Tokens are those of the rows, never of padding.

answers: answers trained in a second, of rows that ask for one type after the other, against the same rows as one row a
    type, which is the form of evaluation: once each, by types a row, and for all rows the ratio of tokens. The loss of
    the first answer in either form, in float32.
trl: our trainer against plain TRL with the same settings, and against TRL's default batches: 8 rows in random order,
    padded. All with activation checkpointing, TRL's default and that of the paper's recipes.
batches: our trainer with larger batches: in random order, of like lengths (`group_by_length`), of like lengths among
    the 8 rows of a step (`batch_rebalance`), and without padding.
precision: NF4 against bfloat16 weights; the peak memory of each, in a process of its own.

An arm of trl and batches has batches of its own sampler: out of those of an epoch over all rows a few that are evenly
spread by size. `padding` is its share in the whole epoch.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from itertools import accumulate, chain, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))

import datasets
import transformers
import trl
from datasets import Dataset, DatasetDict
from transformers import PrinterCallback

from ra_ner.corpora.sources import load_corpus
from ra_ner.dataset.build import FEATURES, Row, build
from ra_ner.prompting.chat_template import load_training_tokenizer, training_length
from ra_ner.recipe_keys import DatasetConfig
from ra_ner.training import trainer as training
from ra_ner.training.defaults import train_parser

datasets.disable_progress_bars()
transformers.utils.logging.disable_progress_bar()

RECIPE, MODEL, ENCODER = "recipes/quickstart.yaml", "models/smollm2-135m-instruct", "models/all-minilm-l6-v2"
FLAGS = "--report_to none --save_strategy no --logging_strategy no --disable_tqdm true"
PASSAGES, MAX_LENGTH = 340, 1024
ROWS = 2  # that an arm trains in a round, if it does not take more at once
STEP = 8  # rows of a step, as in the paper
ROUNDS = 3
COMPARED = 4  # rows that are compared with one row a type
T = TypeVar("T")


def report(figure: str, value: float, **more: object) -> None:
    print(json.dumps({"figure": figure, "value": round(value, 2), **more}), flush=True)


def spread(items: Sequence[T], count: int, size: Callable[[T], int]) -> list[T]:
    """So many of the items, evenly spread over all in the order of their size."""
    ordered = sorted(items, key=size)
    return [ordered[int((i + 0.5) * len(ordered) / count)] for i in range(count)]


def ra_it_rows(corpus: str) -> list[Row]:
    config = DatasetConfig(size=PASSAGES, encoder=ENCODER, max_length=MAX_LENGTH)
    corpus = load_corpus(corpus, "en")
    return build(corpus, "en", "bench", config, load_training_tokenizer(MODEL)).splits["train"].to_list()


def count_types(row: Row) -> int:
    return (len(row["completion"]) + 1) // 2


def one_row_a_type(row: Row) -> list[Row]:
    """What the row asks, each question alone after the text and the examples."""
    *opening, question = row["prompt"]
    turns = [question, *row["completion"]]
    return [row | {"prompt": [*opening, turns[i]], "completion": [turns[i + 1]]} for i in range(0, len(turns), 2)]


def make_trainer(rows: Sequence[Row], flags: str = "", is_plain: bool = False, model: str = MODEL) -> trl.SFTTrainer:
    """A trainer of the recipe with these flags: ours, or TRL's as its own script makes it."""
    *_, model_args, args, _ = train_parser().parse_recipe([RECIPE, *FLAGS.split(), *flags.split()])
    args.max_length = args.max_length if args.packing else None  # no row is longer
    tokenizer = load_training_tokenizer(model)
    dataset = Dataset.from_list(list(rows), features=FEATURES)
    if is_plain:
        args.model_init_kwargs = {"dtype": model_args.dtype}
        trainer = trl.SFTTrainer(
            model,
            args,
            train_dataset=dataset,
            processing_class=tokenizer,
            quantization_config=trl.get_quantization_config(model_args),
            peft_config=trl.get_peft_config(model_args),
        )
    else:
        trainer = training._make_trainer(model, DatasetDict(train=dataset), tokenizer, model_args, args, facts={})
    trainer.remove_callback(PrinterCallback)
    return trainer


class Arm:
    """Rows of a trainer, by number, that are trained on in their order, and the seconds that each round took."""

    def __init__(self, trainer: trl.SFTTrainer, rows: Sequence[int]):
        self.trainer, self.rows, self.seconds = trainer, trainer.train_dataset.select(rows), []

    def run(self) -> float:
        """Train one epoch of one step; return its seconds."""
        self.trainer.train_dataset = self.rows
        self.trainer.args.train_sampling_strategy = "sequential"
        self.trainer.args.gradient_accumulation_steps = len(self.rows)
        is_plain = type(self.trainer) is trl.SFTTrainer
        with nullcontext() if is_plain else training.trained_positions_only():
            return self.trainer.train().metrics["train_runtime"]

    @property
    def time(self) -> float:
        return statistics.median(self.seconds)

    @property
    def tokens_per_second(self) -> float:
        return sum(map(len, self.rows["input_ids"])) / self.time


def take_turns(arms: Sequence[Arm], rounds: int = ROUNDS) -> None:
    arms[0].run()  # the first steps of a process are slow
    for _ in range(rounds):
        for arm in arms:
            arm.seconds.append(arm.run())


def bench_answers(rows: list[Row]) -> None:
    whole = spread(rows, COMPARED, count_types)
    alone = [one_row_a_type(row) for row in whole]
    trainer = make_trainer([*whole, *chain(*alone)])
    ends = list(accumulate(map(len, alone), initial=COMPARED))
    together = [Arm(trainer, [i]) for i in range(COMPARED)]
    separate = [Arm(trainer, range(*between)) for between in pairwise(ends)]
    take_turns(list(chain(*zip(together, separate, strict=True))), rounds=1)
    for row, arm, baseline in zip(whole, together, separate, strict=True):
        report("answers_over_one_row_a_type", baseline.time / arm.time, types=count_types(row))
    seconds, baseline_seconds = (sum(arm.time for arm in arms) for arms in (together, separate))
    answers = sum(map(count_types, whole))
    report("answers_per_second", answers / seconds)
    report("answers_per_second_one_row_a_type", answers / baseline_seconds)
    report("answers_over_one_row_a_type", baseline_seconds / seconds, types="all of the above", target="at least 2.5")

    count_tokens = training_length(load_training_tokenizer(MODEL))
    tokens, baseline_tokens = (
        sum(count_tokens(row["prompt"] + row["completion"]) for row in some)
        for some in (rows, chain(*map(one_row_a_type, rows)))
    )
    types = round(statistics.mean(map(count_types, rows)), 1)
    report("tokens_of_one_row_a_type_over_ours", baseline_tokens / tokens, rows=len(rows), types_a_row=types)
    report_first_losses(whole)


def report_first_losses(rows: list[Row]) -> None:
    first = [one_row_a_type(row)[0] for row in rows]
    trainer = make_trainer(rows + first, "--load_in_4bit false --dtype float32 --bf16 false")

    def loss(ids: list[int], labels: list[int]) -> float:
        batch = trainer.data_collator([{"input_ids": ids, "labels": labels}])
        return trainer.compute_loss(trainer.model, batch).item()

    encoded = trainer.train_dataset.to_list()
    losses = []
    for row, alone in zip(encoded[: len(rows)], encoded[len(rows) :], strict=True):
        ids, labels = row["input_ids"], alone["labels"]
        losses.append((loss(alone["input_ids"], labels), loss(ids, labels + [-100] * (len(ids) - len(labels)))))
    difference = max(abs(alone - together) for alone, together in losses)
    print(json.dumps({"figure": "first_answer_loss_difference", "value": difference, "losses": losses}), flush=True)


def typical_batches(trainer: trl.SFTTrainer) -> tuple[Arm, float]:
    """An arm of a few of the trainer's batches of an epoch, and the share of padding in all of them."""
    lengths, size = list(map(len, trainer.train_dataset["input_ids"])), trainer.args.per_device_train_batch_size
    trainer.args.gradient_accumulation_steps = STEP // size
    order = list(trainer._get_train_sampler())
    # The sampler of `batch_rebalance` gives batches, which need not all be of the same size.
    batches = order if isinstance(order[0], list) else [order[i : i + size] for i in range(0, len(order), size)]

    def padded(batch: list[int]) -> int:
        of_batch = [lengths[i] for i in batch]
        return sum(of_batch) if trainer.padding_free else len(batch) * max(of_batch)

    tokens = sum(lengths[i] for batch in batches for i in batch)
    full = [batch for batch in batches if len(batch) == size]
    chosen = spread(full, max(ROWS // size, 1), padded)
    return Arm(trainer, list(chain(*chosen))), 1 - tokens / sum(map(padded, batches))


def compare_batches(rows: list[Row], arms: dict[str, tuple[str, bool]]) -> dict[str, float]:
    """Tokens a second of each arm, which is called by a name and given by `flags` and `is_plain` of its trainer."""
    made = {name: typical_batches(make_trainer(rows, *how)) for name, how in arms.items()}
    take_turns([arm for arm, _ in made.values()])
    for name, (arm, padding) in made.items():
        report("tokens_per_second", arm.tokens_per_second, arm=name, padding=round(padding, 3))
    return {name: arm.tokens_per_second for name, (arm, _) in made.items()}


def bench_trl(rows: list[Row]) -> None:
    checkpointing = "--activation_checkpointing true"
    arms = {
        "ours": (checkpointing, False),
        "TRL, same settings": (checkpointing, True),
        "TRL, default batches": (f"{checkpointing} --per_device_train_batch_size 8", True),
    }
    ours, same, default = compare_batches(rows, arms).values()
    report("tokens_per_second_over_trl_with_the_same_settings", ours / same, target="at least 1")
    report("tokens_per_second_over_trl_with_its_default_batches", ours / default, target="at least 1.3")


def bench_batches(rows: list[Row]) -> None:
    of_4 = "--per_device_train_batch_size 4"
    arms = {
        "1": "",
        "4 in random order": of_4,
        "4 of like lengths": f"{of_4} --train_sampling_strategy group_by_length",
        "4 of like lengths in a step": f"{of_4} --train_sampling_strategy batch_rebalance",
        "4 without padding": f"{of_4} --padding_free true",
    }
    first, *others = compare_batches(rows, {name: (flags, False) for name, flags in arms.items()}).items()
    for name, speed in others:
        report("tokens_per_second_over_batches_of_1", speed / first[1], arm=name)


def bench_precision(rows: list[Row]) -> None:
    chosen = spread(rows, ROWS, lambda row: len(json.dumps(row)))
    flags = {"NF4": "--load_in_4bit true", "bfloat16": "--load_in_4bit false"}
    arms = [Arm(make_trainer(chosen, flag), range(ROWS)) for flag in flags.values()]
    take_turns(arms)
    for name, arm in zip(flags, arms, strict=True):
        report("tokens_per_second", arm.tokens_per_second, precision=name)
    nf4, bfloat16 = (arm.tokens_per_second for arm in arms)
    report("tokens_per_second_nf4_over_bfloat16", nf4 / bfloat16, target="at least 0.75")
    for name, flag in flags.items():
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            report("peak_memory_gb", process.submit(peak_memory, chosen, flag).result(), precision=name)


def peak_memory(rows: list[Row], flags: str) -> float:
    """GB that this process has held at most once it has trained on the rows."""
    Arm(make_trainer(rows, flags), range(len(rows))).run()
    # Not the peak of `getrusage`, which a process inherits from the one that started it.
    (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024 / 1e9


BENCHES = {"answers": bench_answers, "trl": bench_trl, "batches": bench_batches, "precision": bench_precision}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="figure", help=f"{', '.join(BENCHES)}; default: all")
    parser.add_argument("--corpus", default="data/sample/en.jsonl", help="English (default: data/sample/en.jsonl)")
    arguments = parser.parse_args()
    if unknown := set(arguments.figures) - BENCHES.keys():
        parser.error(f"no such figure: {', '.join(unknown)}")
    report("load_of_the_machine", os.getloadavg()[0], cores=os.cpu_count())
    rows = ra_it_rows(arguments.corpus)
    for name in arguments.figures or BENCHES:
        BENCHES[name](rows)


if __name__ == "__main__":
    main()
