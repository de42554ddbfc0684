"""BM25: gensim 3's formula to the letter, candidates and rankings alike."""

import math
from collections import Counter

import jieba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ra_ner.retrieval import bm25
from ra_ner.retrieval.bm25 import STOPWORDS_ZH, BM25Index, split_words

TEXT = st.lists(st.sampled_from("pqrstu"), max_size=8).map(" ".join)  # few words: repeats and negative idf
POOL = st.lists(TEXT, min_size=1, max_size=12)
QUERIES = st.lists(st.lists(st.sampled_from("pqrstuvw"), max_size=8).map(" ".join), max_size=6)


def plain_scores(query: str, pool: list[str], documents: list[str]) -> list[float]:
    """The formula as it is written, for documents scored with the statistics of the pool."""
    df = Counter(word for text in pool for word in set(text.split()))
    idf = {word: math.log(len(pool) - n + 0.5) - math.log(n + 0.5) for word, n in df.items()}
    average = sum(idf.values()) / len(idf) if idf else 0
    idf = {word: value if value >= 0 else 0.25 * average for word, value in idf.items()}
    mean_length = sum(len(text.split()) for text in pool) / len(pool)
    scores = []
    for document in documents:
        tf, score = Counter(document.split()), 0.0
        for word in query.split():
            if tf[word] and word in idf:
                norm = 0.25 + 0.75 * tf.total() / mean_length
                score += idf[word] * tf[word] * 2.5 / (tf[word] + 1.5 * norm)
        scores.append(score)
    return scores


@pytest.fixture(autouse=True, scope="module")
def _small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bm25, "RANKED", 2)
        patch.setattr(bm25, "SCORED", 2)
        yield


@given(POOL, QUERIES)
def test_scores_equal_the_plain_formula(pool, queries):
    candidates = np.tile(np.arange(len(pool)), (len(queries), 1))
    plain = [plain_scores(query, pool, pool) for query in queries]
    scores = BM25Index(pool, "en").scores(queries, candidates)
    np.testing.assert_allclose(scores, np.reshape(plain, candidates.shape), rtol=1e-5, atol=1e-12)


@given(POOL, QUERIES)
def test_self_scores_equal_the_plain_formula_on_known_words(pool, queries):
    known = {word for text in pool for word in text.split()}
    queries = [" ".join(word for word in query.split() if word in known) for query in queries]
    plain = [plain_scores(query, pool, [query])[0] for query in queries]
    with_unknown = [f"{query} unknown" for query in queries]
    np.testing.assert_allclose(BM25Index(pool, "en").self_scores(with_unknown), plain, rtol=1e-5, atol=1e-12)


@given(POOL, QUERIES, st.integers(1, 14))
def test_top_equals_a_plain_sort_with_ties_by_position(pool, queries, count):
    index = BM25Index(pool, "en")
    all_scores, all_positions = index.top(queries, len(pool))
    scores, positions = index.top(queries, count)
    np.testing.assert_allclose(all_scores, index.scores(queries, all_positions), rtol=1e-5, atol=1e-12)
    np.testing.assert_array_equal(scores, all_scores[:, :count])
    np.testing.assert_array_equal(positions, all_positions[:, :count])
    for row_scores, row_positions in zip(all_scores.tolist(), all_positions.tolist(), strict=True):
        assert sorted(row_positions) == list(range(len(pool)))
        ranked = [(-score, i) for score, i in zip(row_scores, row_positions, strict=True)]
        assert ranked == sorted(ranked)


def test_each_query_has_its_own_candidates_and_none_is_minus_infinity():
    pool = ["apple pear", "pear plum", "fig", "kiwi", "lime"]
    scores = BM25Index(pool, "en").scores(["Apple", "plum fig"], np.array([[1, 0, -1], [-1, 2, 0]]))
    plain_apple, plain_plum = plain_scores("apple", pool, pool), plain_scores("plum fig", pool, pool)
    expected = [[plain_apple[1], plain_apple[0], -math.inf], [-math.inf, plain_plum[2], plain_plum[0]]]
    np.testing.assert_allclose(scores, expected)


@pytest.mark.parametrize("query", ["", "the of", "unknown", "— …"])
def test_a_query_without_a_known_word_scores_nothing(query):
    index = BM25Index(["apple pear", "plum", "fig"], "en")
    assert index.scores([query], np.array([[0, 2]])).tolist() == [[0, 0]]
    assert index.self_scores([query]).tolist() == [0]
    scores, positions = index.top([query], 2)
    assert (scores.tolist(), positions.tolist()) == ([[0, 0]], [[0, 1]])


@pytest.mark.parametrize("pool", [[], ["", "the"]])
def test_a_pool_without_words(pool):
    index = BM25Index(pool, "en")
    assert index.scores(["apple"], np.full((1, 3), -1)).tolist() == [[-math.inf] * 3]
    assert index.self_scores(["apple"]).tolist() == [0]
    assert index.top(["apple"], 5)[1].tolist() == [list(range(len(pool)))]


def test_each_text_is_split_once(monkeypatch):
    split, real = [], bm25._tokens
    monkeypatch.setattr(bm25, "_tokens", lambda text, language: split.append(text) or real(text, language))
    index = BM25Index(["apple pear", "plum"], "en")
    for queries in (["plum", "fig"], ["fig", "apple pear"]):
        index.scores(queries, np.array([[0], [1]]))
        index.self_scores(queries)
        index.top(queries, 1)
    assert split == ["apple pear", "plum", "fig"]


def test_a_document_of_the_pool_has_ratio_one_to_itself():
    pool = [
        "鲁迅生于绍兴，鲁迅住在北京。",
        "黄河流经兰州和银川。",
        "杭州的西湖在浙江。",
        "长江流入东海。",
        "上海在江南。",
    ]
    index = BM25Index(pool, "zh")
    ratios = index.scores(pool, np.arange(len(pool))[:, None])[:, 0] / index.self_scores(pool)
    np.testing.assert_allclose(ratios, 1)


def test_chinese_words_without_stop_words_and_punctuation():
    words = split_words("他们在北京的大学里读书，2020年回到上海。", "zh")
    assert {"北京", "大学", "上海", "2020"} <= set(words)
    assert not set(words) & {*STOPWORDS_ZH, "，", "。"}


def test_jieba_is_silent(caplog, monkeypatch):
    monkeypatch.setattr(jieba.dt, "initialized", False)  # it reports when it loads its dictionary
    split_words("黄河", "zh")
    assert not caplog.records


def test_english_words_in_lower_case_without_stop_words_and_punctuation():
    assert split_words("The Rhine —  and the 2nd\nBasel, Ö !", "en") == ["rhine", "2nd", "basel,", "ö"]
