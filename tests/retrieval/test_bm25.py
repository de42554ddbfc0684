"""BM25 scores equal those of rank_bm25, an independent implementation of gensim 3's formula."""

import math

import jieba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from ra_ner.retrieval import bm25
from ra_ner.retrieval.bm25 import STOPWORDS_ZH, BM25Index, split_words

WORDS = "pqrstu"  # few: words repeat within a text, and many occur in most documents, where idf is negative
DOCUMENT = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
POOL = st.lists(DOCUMENT, min_size=1, max_size=12).filter(any)  # rank_bm25 fails on a pool without words
QUERIES = st.lists(st.lists(st.sampled_from(WORDS + "vw"), max_size=8).map(" ".join), max_size=6)


def okapi(pool: list[str], documents: list[str] | None = None) -> BM25Okapi:
    """rank_bm25 with the statistics of a pool, scoring other documents if some are given."""
    of_pool = BM25Okapi([text.split() for text in pool])
    if documents is None:
        return of_pool
    other = BM25Okapi([text.split() for text in documents])
    other.idf, other.avgdl = of_pool.idf, of_pool.avgdl
    return other


def okapi_scores(query: str, pool: list[str]) -> list[float]:
    return okapi(pool).get_scores(query.split()).tolist()


@pytest.fixture(autouse=True, scope="module")
def _small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bm25, "QUERIES_RANKED", 2)
        patch.setattr(bm25, "QUERIES_SCORED", 2)
        yield


@given(POOL, QUERIES)
def test_scores_equal_rank_bm25(pool, queries):
    every = np.tile(np.arange(len(pool)), (len(queries), 1))
    expected = np.reshape([okapi_scores(query, pool) for query in queries], every.shape)
    np.testing.assert_allclose(BM25Index(pool, "en").scores(queries, every), expected, rtol=0, atol=1e-9)


@given(POOL, QUERIES)
def test_self_scores_equal_rank_bm25_on_known_words(pool, queries):
    known = {word for text in pool for word in text.split()}
    queries = [kept for query in queries if (kept := " ".join(word for word in query.split() if word in known))]
    expected = [okapi(pool, [query]).get_scores(query.split())[0] for query in queries]
    with_unknown = [f"{query} unknown" for query in queries]
    np.testing.assert_allclose(BM25Index(pool, "en").self_scores(with_unknown), expected, rtol=0, atol=1e-9)


def test_a_repeated_word_of_the_query_counts_each_time_and_frequent_words_have_a_small_positive_idf():
    pool = ["apple pear", "apple plum", "apple fig fig", "kiwi"]
    once, twice = BM25Index(pool, "en").scores(["fig", "fig fig"], np.array([[2], [2]]))
    assert twice == 2 * once > 0
    frequent = BM25Index(pool, "en").scores(["apple"], np.array([[0]]))[0, 0]
    assert 0 < frequent < once and math.isclose(frequent, okapi_scores("apple", pool)[0], abs_tol=1e-9)


@given(POOL, QUERIES, st.integers(1, 14))
def test_top_ranks_by_score_and_ties_by_position(pool, queries, count):
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


def test_each_query_is_scored_on_its_own_candidates_and_padding_is_minus_infinity():
    pool = ["apple pear", "pear plum", "fig", "kiwi", "lime"]
    scores = BM25Index(pool, "en").scores(["Apple", "plum fig"], np.array([[1, 0, -1], [-1, 2, 0]]))
    apple, plum_fig = okapi_scores("apple", pool), okapi_scores("plum fig", pool)
    expected = [[apple[1], apple[0], -math.inf], [-math.inf, plum_fig[2], plum_fig[0]]]
    np.testing.assert_allclose(scores, expected)


@pytest.mark.parametrize("query", ["", "the of", "unknown", "— …"])
def test_a_query_without_a_known_word_scores_zero(query):
    index = BM25Index(["apple pear", "plum", "fig"], "en")
    assert index.scores([query], np.array([[0, 2]])).tolist() == [[0, 0]]
    assert index.self_scores([query]).tolist() == [0]
    scores, positions = index.top([query], 2)
    assert (scores.tolist(), positions.tolist()) == ([[0, 0]], [[0, 1]])


@pytest.mark.parametrize("pool", [[], ["", "the"]])
def test_a_pool_without_words_gives_zero_scores_and_keeps_its_order(pool):
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


def test_a_long_job_is_not_kept_in_memory():
    index = BM25Index(["apple pear", "plum"], "en")
    for i in range(5):
        index.top([f"plum {i}", "apple pear"], 1)
    assert not any(f"plum {i}" in str(vars(index)) for i in range(4))


def test_a_document_as_query_scores_one_on_the_self_scale():
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


def test_chinese_is_split_by_jieba_without_stop_words_and_punctuation():
    words = split_words("他们在北京的大学里读书，2020年回到上海。", "zh")
    assert {"北京", "大学", "上海", "2020"} <= set(words)
    assert not set(words) & {*STOPWORDS_ZH, "，", "。"}


def test_jieba_logs_nothing(caplog, monkeypatch):
    monkeypatch.setattr(jieba.dt, "initialized", False)  # it reports when it loads its dictionary
    split_words("黄河", "zh")
    assert not caplog.records


def test_english_is_lower_cased_without_stop_words_and_punctuation():
    assert split_words("The Rhine —  and the 2nd\nBasel, Ö !", "en") == ["rhine", "2nd", "basel,", "ö"]
