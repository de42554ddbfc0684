"""Time the parts of building an RA-IT dataset that could be slow, each against a plain baseline in the same run.

    python perf/bench_build.py [search] [bm25] [rows] [exclude] [--passages 46000]

Prints one JSON line per figure. `value` is wall-clock time or made from it. `cpu` is the same figure in processor time,
which other programs on the machine disturb less. Both sides take turns, and each reports its fastest round. Passages
are drawn with a seed from the words and types of the English sample corpus, with their frequencies.

search: `nearest` ranks the 128 nearest of random unit vectors of 1,024 dimensions, all against all. Baselines: the same
    matrix product in blocks and `torch.topk` alone, and sentence-transformers' `semantic_search` with its defaults. The
    memory figure is the peak during a search beyond what the process held before (VmHWM, Linux).
bm25: `BM25Index` indexes passages and scores 128 random candidates of each. Baseline: bm25s with its numpy backend.
    It always scores all documents; 200 queries are timed and extrapolated. Both start from texts, of 50 words (as in
    the sample corpus) and of 200 (as in Pile-NER).
rows: `build` and `write` on one core, from passages in memory to the written folder: duplicates, sample, split, choice
    of examples, negative types, rendering, Parquet and card. Rankings are given. Encoding, search, reading the corpus
    and the tokenizer of `max_length` are not included.
exclude: decontamination of 50,000 passages of 25 words, about 150 characters, by 30,000 test texts. 500 are in both.
"""

import argparse
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import bm25s
import numpy as np
import torch
from sentence_transformers.util import semantic_search

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO))

from ra_ner.corpora.decontamination import find_contaminated  # noqa: E402
from ra_ner.corpora.sources import LoadedCorpus, load_corpus  # noqa: E402
from ra_ner.dataset import build as dataset  # noqa: E402
from ra_ner.hub.repos import LocalModel  # noqa: E402
from ra_ner.passage import Entity, Passage  # noqa: E402
from ra_ner.recipe_keys import DatasetConfig  # noqa: E402
from ra_ner.retrieval import retriever, search  # noqa: E402
from ra_ner.retrieval.bm25 import BM25Index, split_words  # noqa: E402
from ra_ner.retrieval.encode import Encoder  # noqa: E402

CANDIDATES = 128
ROUNDS = 3
T = TypeVar("T")


def report(figure: str, value: float, **more: object) -> None:
    print(json.dumps({"figure": figure, "value": round(value, 2), **more}), flush=True)


def synthetic(count: int, words: int, entities: int = 9) -> list[Passage]:
    """Make `count` passages of `words` words each, `entities` of which are entities."""
    sample = load_corpus(str(REPO / "data" / "sample" / "en.jsonl"), "en").passages
    vocabulary = [word for passage in sample for word in passage.text.split()]
    types = [entity.type for passage in sample for entity in passage.entities]
    rng = random.Random(0)
    passages = []
    for number in range(count):
        drawn = rng.choices(vocabulary, k=words)
        starts = list(itertools.accumulate((len(word) + 1 for word in drawn), initial=0))
        found = tuple(
            Entity(drawn[i], rng.choice(types), starts[i], starts[i] + len(drawn[i]))
            for i in sorted(rng.sample(range(words), entities))
        )
        passages.append(Passage(f"p{number}", " ".join(drawn), found))
    return passages


class Clock:
    """Seconds of one side of a comparison: for each part its fastest round, in wall-clock and in processor time."""

    def __init__(self) -> None:
        self.parts: dict[object, tuple[float, float]] = {}

    def time(self, part: object, function: Callable[[], T]) -> T:
        wall, cpu = time.perf_counter(), time.process_time()
        result = function()
        seen = time.perf_counter() - wall, time.process_time() - cpu
        self.parts[part] = tuple(map(min, self.parts.get(part, seen), seen))
        return result

    @property
    def wall(self) -> float:
        return sum(wall for wall, _ in self.parts.values())

    @property
    def cpu(self) -> float:
        return sum(cpu for _, cpu in self.parts.values())


def bench_search(count: int) -> None:
    setting = {"passages": count, "dimensions": 1024, "candidates": CANDIDATES}
    vectors = torch.nn.functional.normalize(torch.randn(count, 1024, generator=torch.Generator().manual_seed(0)))
    search.nearest(vectors[:100], vectors[:1000], CANDIDATES)  # libraries allocate on their first call
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, the peak
    before = memory("VmRSS")
    search.nearest(vectors, vectors, CANDIDATES)
    report("search_extra_memory_MiB", memory("VmHWM") - before, target="at most 1024", **setting)

    def bare(queries: torch.Tensor) -> None:
        for block in queries.split(search.BLOCK_SCORES // count):
            torch.topk(block @ vectors.T, CANDIDATES, dim=1)

    ours, product, library = Clock(), Clock(), Clock()
    for queries in vectors.split(-(-count // 10)):  # in slices, so that the sides take turns
        part = queries.data_ptr()
        ours.time(part, lambda q=queries: search.nearest(q, vectors, CANDIDATES))
        product.time(part, lambda q=queries: bare(q))
        library.time(part, lambda q=queries: semantic_search(q, vectors, top_k=CANDIDATES))
    for name, side in (("search", ours), ("product_and_topk", product), ("semantic_search", library)):
        report(f"{name}_seconds", side.wall, cpu=round(side.cpu, 2), **setting)
    for name, side, target in (("product_and_topk", product, "at most 1.3"), ("semantic_search", library, "at most 1")):
        report(
            f"search_over_{name}", ours.wall / side.wall, cpu=round(ours.cpu / side.cpu, 2), target=target, **setting
        )


def memory(key: str) -> float:
    """A figure of this process's memory, in MiB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


def bench_bm25(count: int) -> None:
    for words in (50, 200):
        setting = {"passages": count, "words": words, "candidates": CANDIDATES}
        texts = [passage.text for passage in synthetic(count, words)]
        candidates = np.random.default_rng(0).integers(count, size=(count, CANDIDATES))
        ours, indexing, scoring = Clock(), Clock(), Clock()
        for _ in range(ROUNDS):
            ours.time(0, lambda t=texts, c=candidates: BM25Index(t, "en").scores(t, c))
            index = bm25s.BM25()
            words_of = indexing.time("split", lambda t=texts: [split_words(text, "en") for text in t])
            indexing.time("index", lambda i=index, w=words_of: i.index(w, show_progress=False))
            del words_of
            scoring.time(0, lambda i=index, t=texts: [i.get_scores(split_words(text, "en")) for text in t[:200]])
        library, library_cpu = (indexing.wall + scoring.wall * count / 200, indexing.cpu + scoring.cpu * count / 200)
        report("bm25_seconds", ours.wall, cpu=round(ours.cpu, 2), **setting)
        report("bm25s_seconds", library, cpu=round(library_cpu, 2), extrapolated_from="200 queries", **setting)
        ratio, cpu = library / ours.wall, round(library_cpu / ours.cpu, 2)
        report("bm25s_over_bm25", ratio, cpu=cpu, target="at least 5", **setting)


def bench_rows(_: int) -> None:
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sizes = (2000, 50_000)
    clocks = {(strategy, size): Clock() for strategy in ("nn", "diverse_nn") for size in sizes}
    corpora = {size: synthetic(size, words=50) for size in sizes}
    for _, (strategy, size) in itertools.product(range(ROUNDS), clocks):
        build_once(strategy, corpora[size], clocks[strategy, size])
    for strategy in ("nn", "diverse_nn"):
        small, large = (clocks[strategy, size] for size in sizes)
        for clock, size in ((small, 2000), (large, 50_000)):
            cpu, target = round(size / clock.cpu), "at least 5000"
            report("passages_a_second", size / clock.wall, cpu=cpu, target=target, strategy=strategy, passages=size)
        ratio, cpu = (large.wall / 25 / small.wall, round(large.cpu / 25 / small.cpu, 2))
        report("cost_at_50000_over_2000", ratio, cpu=cpu, target="0.8 to 1.2", strategy=strategy)


def build_once(strategy: str, passages: list[Passage], clock: Clock) -> None:
    """Build and write a dataset with given rankings in place of encoding and search."""
    config = DatasetConfig(strategy=strategy, encoder="given", corpus="synthetic")
    pool, width = round(len(passages) * 0.9), 3 if strategy == "nn" else CANDIDATES + 1
    positions = (torch.arange(len(passages))[:, None] * 7 + torch.arange(width)) % pool
    scores = torch.linspace(1, 0, width).expand(len(passages), width)
    dataset.repos.fetch_model = lambda name: LocalModel(Path(name), "given")
    Encoder.encode = lambda self, texts, role: None
    retriever.nearest = lambda queries, documents, count: (scores[:, :count], positions[:, :count])
    source = LoadedCorpus(passages, None, {})
    with tempfile.TemporaryDirectory() as folder:
        clock.time(0, lambda: dataset.write(dataset.build(source, "en", "r", config), Path(folder) / "dataset"))


def bench_exclude(_: int) -> None:
    made = synthetic(79_500, 25, entities=1)
    passages, tests, clock = made[:50_000], made[49_500:79_500], Clock()
    setting = {"passages": len(passages), "tests": len(tests)}
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    found = clock.time(0, lambda: find_contaminated(passages, tests, "en"))
    report("exclude_seconds", clock.wall, cpu=round(clock.cpu, 2), **setting)
    report("exclude_extra_memory_MiB", memory("VmHWM") - before, **setting)
    report("exclude_found", len(passages) - found.count(None), **setting)


BENCHES = {"search": bench_search, "bm25": bench_bm25, "rows": bench_rows, "exclude": bench_exclude}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="figure", help=f"{', '.join(BENCHES)}; default: all")
    parser.add_argument("--passages", type=int, default=46_000, help="of search and bm25 (default: 46000)")
    arguments = parser.parse_args()
    if unknown := set(arguments.figures) - BENCHES.keys():
        parser.error(f"no such figure: {', '.join(unknown)}")
    report("machine_load", os.getloadavg()[0], cores=os.cpu_count())
    for name in arguments.figures or BENCHES:
        BENCHES[name](arguments.passages)


if __name__ == "__main__":
    main()
