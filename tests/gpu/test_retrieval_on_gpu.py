"""Search and encoding on a CUDA device: the examples that a CPU chooses."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from conftest import REPO

from ra_ner.corpora.sources import load_corpus
from ra_ner.hub import repos
from ra_ner.recipe_keys import DatasetConfig, Strategy
from ra_ner.retrieval.encode import Encoder
from ra_ner.retrieval.retriever import Retriever
from ra_ner.retrieval.search import nearest

ENGLISH = "all-minilm-l6-v2"


def on_the_cpu(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)
    patch.setattr(Encoder, "_devices", ["cpu"])


@pytest.fixture(scope="module")
def corpus():
    return load_corpus(str(REPO / "data" / "sample" / "en.jsonl"), "en").passages


@pytest.fixture(scope="module")
def caches(tmp_path_factory) -> dict[str, Path]:
    """Folders of vectors, one for each device."""
    return {device: tmp_path_factory.mktemp(device) for device in ("gpu", "cpu")}


def test_the_nearest_are_those_of_the_cpu(monkeypatch):
    torch.manual_seed(0)
    pool = torch.nn.functional.normalize(torch.randn(20_000, 384))
    pool[100:200] = pool[:100]  # ties
    queries = torch.nn.functional.normalize(torch.randn(2_000, 384))
    scores, positions = nearest(queries, pool, 8)
    on_the_cpu(monkeypatch)
    expected, places = nearest(queries, pool, 8)
    assert (scores - expected).abs().max() < 1e-6
    changed = positions != places
    assert changed.float().mean() < 1e-3
    gaps = (expected[:, 1:] - expected[:, :-1]).abs().min(dim=1).values[changed.any(dim=1)]
    assert (gaps < 1e-6).all(), "only where two scores are the same up to rounding"


@pytest.mark.parametrize("strategy", [name for name in get_args(Strategy) if name != "none"])
def test_each_strategy_chooses_the_examples_of_the_cpu(embedded, corpus, caches, strategy):
    encoder = repos.fetch_model(str(embedded / ENGLISH))
    chosen = []
    for device, cache in caches.items():
        with pytest.MonkeyPatch.context() as patch:
            if device == "cpu":
                on_the_cpu(patch)
            retriever = Retriever(corpus, DatasetConfig(strategy=strategy, k=2), "en", Encoder(encoder, cache))
            chosen.append(retriever.examples(corpus))
    examples = [[[example.passage.id for example in row] for row in rows] for rows in chosen]
    same = sum(one == other for one, other in zip(*examples, strict=True))
    assert same >= 0.99 * len(corpus), f"{same} of {len(corpus)}"
    for gpu, cpu in zip(*chosen, strict=True):
        for one, other in zip(gpu, cpu, strict=True):
            assert abs(one.score - other.score) < 1e-4


def test_vectors_are_those_of_the_cpu(embedded, corpus, caches, monkeypatch):
    encoder, texts = repos.fetch_model(str(embedded / ENGLISH)), [passage.text for passage in corpus]
    vectors = Encoder(encoder, caches["gpu"]).encode(texts, "document")
    on_the_cpu(monkeypatch)
    expected = Encoder(encoder, caches["cpu"]).encode(texts, "document")
    assert (vectors - expected).abs().max() < 1e-4
