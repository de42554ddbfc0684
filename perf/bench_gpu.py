"""What a GPU changes: training, number formats, attention, evaluation and dataset building.

    python perf/bench_gpu.py [train] [evaluate] [precision] [attention] [build] [--models smollm2 llama-3-8b]

One JSON line a figure, with the name of the card. A figure that fails is one line with its error; the others go on.
The models are SmolLM2-135M and random weights in the shape of Llama-3-8B, which are made on the spot. After two and a
half minutes no figure is begun (`--seconds`); the more telling ones come first. Without a GPU `--allow_cpu` shows that
everything runs: `--allow_cpu --rows 2 --rounds 1 --texts 2 --layers 1 --passages 200 --seconds 3600`.

train: tokens a second of our trainer, of plain TRL with the same settings, and of TRL's default batches: 8 rows in
    random order, padded. QLoRA as in the paper's recipes: NF4, activation checkpointing, 8 rows a step. `utilization`
    is the share of an H100's peak by the formula of ra_ner/study/cost.py.
precision: NF4 against bfloat16 weights, with and without activation checkpointing: tokens a second and peak memory.
attention: one row at once, the 8 rows of a step at once with padding, and without (`padding_free`), with sdpa; where
    flash-attn is installed, the same with it, and with packing.
evaluate: queries a second of the engine over `generate`, which gets the same prompts in large batches padded on the
    left, and over vLLM with prefix caching where it is installed; what the engine's time goes to; and a forward pass
    over a long prefix under the engine's mask, against causal attention without a mask.
build: encoding, on the GPU and on the CPU, and `nearest` among as many passages as Pile-NER has.

What is timed in training is a step after a step to warm up. The arms of a figure take turns, and the median counts.
Tokens are those of the rows, never of padding. The peak memory of an arm leaves out what the other arms hold.
"""

import argparse
import random
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import torch
from accelerate.utils.memory import clear_device_cache
from bench_gpu_eval import bench_evaluate
from bench_train import ENCODER, MODEL, make_trainer, ra_it_rows, training
from card import IS_CPU, memory, now, peak, reset_peak, show
from random_model import random_model
from transformers import TrainerCallback
from trl import SFTTrainer

from ra_ner.dataset.build import Row
from ra_ner.study.cost import PEAK_FLOPS, _parameters

SMOLLM2 = "smollm2"
ROUNDS, ROUNDS_OF_8B = 2, 1
CHECKPOINTING = "--activation_checkpointing true"
FLASH = f"{CHECKPOINTING} --attn_implementation flash_attention_2"
DIMENSIONS, CANDIDATES = 1024, 128  # of the paper's encoder and of its strategies


@cache
def rows_of_two_steps(corpus: str, rows: int) -> list[Row]:
    return random.Random(0).sample(ra_it_rows(corpus), 2 * rows)  # in random order


class StepClock(TrainerCallback):
    """When each step of a training ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args, state, control, **kwargs) -> None:
        self.ends.append(now())


class Subject:
    """A model that is measured, and its trainers, which figures share.

    Args:
        name: SMOLLM2, or a shape of random_model.py.
        folder: of the model.
        options: of the command line.
    """

    def __init__(self, name: str, folder: Path, options: argparse.Namespace):
        self.name, self.folder, self.options = name, folder, options
        self.rounds = options.rounds or (ROUNDS if name == SMOLLM2 else ROUNDS_OF_8B)
        self.texts = options.texts if name == SMOLLM2 else -(-options.texts // 2)
        self.trainers: dict[tuple[str, bool], SFTTrainer] = {}

    def show(self, figure: str, value: float | None = None, **more: object) -> None:
        show(figure, value, model=self.name, **more)

    def trainer(self, flags: str = CHECKPOINTING, is_plain: bool = False) -> SFTTrainer:
        """A trainer with these flags, made once. `held` is the memory that it keeps, `whole` its dataset."""
        if (flags, is_plain) not in self.trainers:
            before = memory()
            rows = rows_of_two_steps(self.options.corpus, self.options.rows)
            trainer = make_trainer(rows, flags, is_plain, str(self.folder))
            clear_device_cache(garbage_collection=True)
            trainer.held, trainer.whole = memory() - before, trainer.train_dataset
            self.trainers[flags, is_plain] = trainer
        return self.trainers[flags, is_plain]

    def utilization(self, tokens_per_second: float, checkpointing: bool) -> float | None:
        """The share of an H100's peak that training reaches, by the formula of cost.py."""
        flop = 2 * (3 if checkpointing else 2) * _parameters(str(self.folder), None)
        return None if IS_CPU else tokens_per_second * flop / PEAK_FLOPS


class Arm:
    """A trainer that trains two steps, of which the second counts.

    Args:
        batch: rows in a forward pass.
    """

    def __init__(self, trainer: SFTTrainer, batch: int = 1, checkpointing: bool = True):
        self.trainer, self.batch, self.checkpointing = trainer, batch, checkpointing
        self.batches = max(1, len(trainer.whole) // 2 // batch)  # of a step
        self.dataset = trainer.whole.select(range(2 * self.batches * batch))
        self.seconds: list[float] = []
        self.peak = 0.0

    def run(self) -> None:
        trainer, args, clock, before = self.trainer, self.trainer.args, StepClock(), memory()
        trainer.train_dataset = self.dataset
        trainer._train_batch_size = args.per_device_train_batch_size = self.batch
        args.gradient_accumulation_steps = self.batches
        args.train_sampling_strategy = "sequential"
        args.activation_checkpointing = self.checkpointing
        if not self.checkpointing:
            trainer.model.activation_checkpointing_disable()
        reset_peak()
        trainer.add_callback(clock)
        with nullcontext() if type(trainer) is SFTTrainer else training.trained_positions_only():
            trainer.train()
        trainer.remove_callback(clock)
        self.seconds.append(clock.ends[-1] - clock.ends[0])
        if not IS_CPU:
            self.peak = max(self.peak, (peak() - before + trainer.held) / 1e9)
        trainer.held += memory() - before

    @property
    def tokens_per_second(self) -> float:
        timed = self.dataset["input_ids"][len(self.dataset) // 2 :]
        return sum(map(len, timed)) / statistics.median(self.seconds)


def compare(subject: Subject, figure: str, arms: dict[str, Arm]) -> dict[str, float]:
    """Tokens a second of each arm by its name."""
    for _ in range(subject.rounds):
        for arm in arms.values():
            arm.run()
    for name, arm in arms.items():
        subject.show(
            f"{figure}_tokens_per_second",
            arm.tokens_per_second,
            arm=name,
            rows_at_once=arm.batch,
            activation_checkpointing=arm.checkpointing,
            peak_memory_gb=arm.peak or None,
            utilization=subject.utilization(arm.tokens_per_second, arm.checkpointing),
        )
    return {name: arm.tokens_per_second for name, arm in arms.items()}


def bench_train(subject: Subject) -> None:
    ours, plain, step = subject.trainer(), subject.trainer(is_plain=True), subject.options.rows
    arms = {
        "ours": Arm(ours),
        "TRL, same settings": Arm(plain),
        "TRL, default batches": Arm(plain, step),
        "ours, TRL's default batches": Arm(ours, step),
    }
    one, same, default, large = compare(subject, "train", arms).values()
    subject.show("train_ours_over_trl_with_the_same_settings", one / same, target="at least 1")
    subject.show("train_ours_over_trl_with_its_default_batches", one / default)
    subject.show("train_ours_over_trl_both_with_its_default_batches", large / default, target="at least 1")


def bench_precision(subject: Subject) -> None:
    trainers = {"NF4": subject.trainer(), "bfloat16": subject.trainer(f"{CHECKPOINTING} --load_in_4bit false")}
    arms = {
        f"{name}{'' if checkpointing else ', without checkpointing'}": Arm(trainer, checkpointing=checkpointing)
        for name, trainer in trainers.items()
        for checkpointing in (True, False)
    }
    speeds = compare(subject, "precision", arms)
    first = speeds["NF4"]
    for name, speed in speeds.items():
        memory_share = arms[name].peak / arms["NF4"].peak if arms["NF4"].peak else None
        subject.show("precision_over_nf4", speed / first, arm=name, peak_memory_over_nf4=memory_share)


def bench_attention(subject: Subject) -> None:
    step = subject.options.rows
    without_padding = f"--padding_free true --per_device_train_batch_size {step}"
    arms = {
        "sdpa": Arm(subject.trainer()),
        "sdpa, padded": Arm(subject.trainer(), step),
        "sdpa, padding_free": Arm(subject.trainer(f"{CHECKPOINTING} {without_padding}"), step),
    }
    if find_spec("flash_attn"):
        arms |= {
            "flash": Arm(subject.trainer(FLASH)),
            "flash, padded": Arm(subject.trainer(FLASH), step),
            "flash, padding_free": Arm(subject.trainer(f"{FLASH} {without_padding}"), step),
            "flash, packing": Arm(subject.trainer(f"{FLASH} --packing true"), max(1, step // 4)),
        }
    else:
        subject.show("attention_flash", skipped="flash-attn is not installed")
    speeds = compare(subject, "attention", arms)
    for name, speed in speeds.items():
        subject.show("attention_over_sdpa", speed / speeds["sdpa"], arm=name)


@contextmanager
def on_cpu() -> Iterator[None]:
    with patch.object(torch.accelerator, "current_accelerator", lambda **_: torch.device("cpu")):
        yield


def bench_build(options: argparse.Namespace) -> None:
    from bench_build import synthetic

    from ra_ner.hub.repos import LocalModel
    from ra_ner.retrieval.encode import Encoder, _windows
    from ra_ner.retrieval.search import nearest

    count, encoded = options.passages, min(options.passages, 8000)
    setting = {"encoder": Path(ENCODER).name, "words": 140}
    texts = [passage.text for passage in synthetic(encoded, setting["words"])]
    speeds = {}
    for device, some in (("cpu", texts[: max(encoded // 40, 16)]), (None, texts)):
        encoder = Encoder(LocalModel(Path(ENCODER), "bench"), cached_roles=())
        if device:
            encoder._devices = [device]
        encoder.encode(some[:64], "document")
        start = now()
        encoder.encode(some, "document")
        seconds = now() - start
        name = device or str(encoder._transformer.device)
        speeds[name] = len(some) / seconds
        show("build_encoded_passages_per_second", speeds[name], device=name, passages=len(some), **setting)
    show("build_encoding_seconds", count / speeds[name], passages=count, extrapolated_from=encoded, **setting)
    show("build_encoding_gpu_over_cpu", speeds[name] / speeds["cpu"], **setting)
    start = now()
    for text in texts:
        _windows(text, encoder._transformer, "")
    show("build_encoding_share_of_windows", (now() - start) / (len(texts) / speeds[name]), **setting)

    vectors = torch.nn.functional.normalize(torch.randn(count, DIMENSIONS))
    setting = {"passages": count, "dimensions": DIMENSIONS, "candidates": CANDIDATES}
    nearest(vectors[:100], vectors, CANDIDATES)
    start = now()
    _, found = nearest(vectors, vectors, CANDIDATES)
    speed = count / (now() - start)
    show("build_searched_passages_per_second", speed, seconds=count / speed, **setting)
    some = max(count // 50, 1)
    with on_cpu():
        start = now()
        _, same = nearest(vectors[:some], vectors, CANDIDATES)
    share = (found[:some] == same).double().mean().item()
    ratio = speed * (now() - start) / some
    show("build_search_gpu_over_cpu", ratio, cpu_queries=some, cpu_threads=torch.get_num_threads(), equal=share)


BENCHES = {
    "train": bench_train,
    "evaluate": bench_evaluate,
    "precision": bench_precision,
    "attention": bench_attention,
}
FIGURES = [*BENCHES, "build"]
FIRST_OF_SMOLLM2 = ("train", "evaluate")  # the others say more about a large model


def attempt(figure: str, model: str | None, options: argparse.Namespace, bench: Callable[[], None]) -> None:
    """Run a figure; a failure is a line of the output."""
    begun = time.perf_counter()
    if begun - options.begun > options.seconds:
        show(figure, model=model, skipped=f"not begun within {options.seconds} seconds")
        return
    clear_device_cache(garbage_collection=True)
    try:
        bench()
    except Exception as error:
        traceback.print_exc()
        show(figure, model=model, error=f"{type(error).__name__}: {error}"[:500])
    if figure != "model":
        show(f"{figure}_wall_seconds", time.perf_counter() - begun, model=model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="figure", help=f"{', '.join(FIGURES)}; default: all")
    names = ["llama-3-8b", SMOLLM2, "qwen3-8b"]
    parser.add_argument("--models", nargs="+", default=names[:2], choices=names, help="default: %(default)s")
    parser.add_argument("--corpus", default="data/sample/en.jsonl", help="English (default: %(default)s)")
    parser.add_argument("--layers", type=int, help="of random models (default: all)")
    parser.add_argument("--rows", type=int, default=8, help="of a training step (default: %(default)s)")
    parser.add_argument("--rounds", type=int, help=f"(default: {ROUNDS}, of random models {ROUNDS_OF_8B})")
    parser.add_argument("--texts", type=int, default=32, help="evaluated, of random models half (default: %(default)s)")
    parser.add_argument("--passages", type=int, default=50_000, help="of build (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=150, help="after which no figure is begun (default: %(default)s)"
    )
    parser.add_argument("--allow_cpu", action="store_true", help="go on without a GPU")
    options = parser.parse_args()
    options.begun = time.perf_counter()
    if unknown := set(options.figures) - set(FIGURES):
        parser.error(f"no such figure: {', '.join(unknown)}")
    if IS_CPU and not options.allow_cpu:
        sys.exit("no CUDA device was found; --allow_cpu goes on without one")
    chosen = options.figures or FIGURES
    asked = [name for name in BENCHES if name in chosen]
    first, later = ([f for f in asked if (f in FIRST_OF_SMOLLM2) == is_first] for is_first in (True, False))
    jobs: list[tuple[str | None, list[str]]] = [(m, first if m == SMOLLM2 else asked) for m in options.models]
    jobs += [(None, ["build"])] if "build" in chosen else []
    jobs += [(SMOLLM2, later)] if SMOLLM2 in options.models else []
    for name, figures in jobs:
        if name and figures:
            attempt("model", name, options, partial(bench_model, name, figures, options))
        elif figures:
            attempt("build", None, options, partial(bench_build, options))


def bench_model(name: str, figures: list[str], options: argparse.Namespace) -> None:
    """Figures of one model, whose trainers are freed at the end."""
    begun = time.perf_counter()
    with nullcontext(Path(MODEL)) if name == SMOLLM2 else random_model(name, options.layers) as folder:
        show("model_made_seconds", time.perf_counter() - begun, model=name, layers=options.layers)
        subject = Subject(name, folder, options)
        for figure in figures:
            attempt(figure, name, options, partial(BENCHES[figure], subject))


if __name__ == "__main__":
    main()
