"""BM25 as in gensim 3 (Okapi BM25), which the paper's thresholds refer to.

With N documents, tf the count of a word in a document, df the number of documents that contain it and length a
document's number of words without stop words:

    score(query, document) = sum over the words of the query, repeats included, of
        idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * length / mean length))
    idf = ln(N - df + 0.5) - ln(df + 0.5), or EPSILON * mean idf where that is negative

The mean idf is over the vocabulary and includes the negative ones (gensim 3.8, `gensim/summarization/bm25.py`; PyPI's
`rank_bm25.BM25Okapi` is the same formula and the oracle of the tests).
"""

import logging
import re
from collections.abc import Iterable, Sequence
from itertools import repeat
from pathlib import Path

import numpy as np
from bm25s.stopwords import STOPWORDS_EN
from scipy.sparse import csr_array, vstack

K1, B, EPSILON = 1.5, 0.75, 0.25
QUERIES_RANKED = 256  # at a time: memory is bounded by 256 x documents scores
QUERIES_SCORED = 16  # at a time: their table of counts fits the CPU's cache

# Function words, written for this project under CC0.
STOPWORDS_ZH = Path(__file__).with_name("stopwords_zh.txt").read_text(encoding="utf-8").split()
STOPWORDS = {"en": frozenset(STOPWORDS_EN), "zh": frozenset(STOPWORDS_ZH)}

has_word_character = re.compile(r"\w").search


def split_words(text: str, language: str) -> list[str]:
    """Split a text into words, without stop words and tokens that have no letter, digit or underscore.

    `zh` is split by jieba; `en` is put in lower case and split at spaces.
    """
    return [token for token in _tokens(text, language) if _is_word(token, language)]


def _tokens(text: str, language: str) -> list[str]:
    if language == "zh":
        import jieba

        jieba.setLogLevel(logging.WARNING)  # jieba logs to the terminal when it loads its dictionary
        return jieba.lcut(text)
    return text.lower().split()


def _is_word(token: str, language: str) -> bool:
    return token not in STOPWORDS[language] and has_word_character(token) is not None


class _Vocabulary(dict[str, int]):
    """Word ids, assigned in the order in which words first occur. Tokens that are no words get -1."""

    def __init__(self, language: str) -> None:
        self.language, self.size = language, 0

    def __missing__(self, token: str) -> int:
        self[token] = -1
        if _is_word(token, self.language):
            self[token] = self.size
            self.size += 1
        return self[token]


class BM25Index:
    """Scores and ranks documents for queries.

    Args:
        texts: the documents. Methods refer to a document by its position in this list.
        language: `en` or `zh`.
    """

    def __init__(self, texts: Sequence[str], language: str) -> None:
        self._language, self._vocabulary = language, _Vocabulary(language)
        documents = [_known(map(self._vocabulary.__getitem__, _tokens(text, language))) for text in texts]
        counts = _count(documents, self._vocabulary.size)
        self._idf = _inverse_document_frequencies(counts)
        self._mean_length = counts.sum() / max(1, len(texts))
        self._weights = self._weigh(counts)  # (documents, words)
        self._counts = counts  # (documents, words)
        self._row_of_document = {text: row for row, text in enumerate(texts)}
        # The queries that are no documents, and their counts: of the last call alone, so that memory does not grow.
        self._others: tuple[list[str], csr_array] = [], _count([], self._vocabulary.size)

    def scores(self, queries: Sequence[str], candidates: np.ndarray) -> np.ndarray:
        """Score some documents for each query.

        Args:
            queries: n texts.
            candidates: for each query, positions of c documents, integers of shape (n, c); -1 is padding.

        Returns:
            float64 of shape (n, c), -inf for padding.
        """
        counts, weights = self._count_queries(queries), _with_empty_row(self._weights)  # row -1 is padding's
        scores = np.empty(candidates.shape)
        for start in range(0, len(queries), QUERIES_SCORED):
            block = slice(start, start + QUERIES_SCORED)
            scores[block] = _score(counts[block], weights, candidates[block])
        scores[candidates < 0] = -np.inf
        return scores

    def self_scores(self, queries: Sequence[str]) -> np.ndarray:
        """Score each query with itself as the document: the unit of `threshold_scale: self`.

        Words that occur in no document of the index are ignored, also in the length.

        Returns:
            float64 of shape (n,), 0 for a query without a known word.
        """
        counts = self._count_queries(queries)
        return self._weigh(counts).multiply(counts).sum(axis=1)

    def top(self, queries: Sequence[str], count: int) -> tuple[np.ndarray, np.ndarray]:
        """Rank all m documents for each query. Equal scores rank by position.

        Args:
            queries: n texts.
            count: how many documents to return for each query, at least 1.

        Returns:
            Scores (float64) and positions (int64), each of shape (n, min(count, m)), best first.
        """
        counts, weights = self._count_queries(queries), self._weights.T.tocsr()  # (words, documents)
        count = min(count, weights.shape[1])
        scores = np.empty((len(queries), count))
        positions = np.empty((len(queries), count), dtype=np.int64)
        for start in range(0, len(queries), QUERIES_RANKED):
            block = (counts[start : start + QUERIES_RANKED] @ weights).toarray()  # (queries, documents)
            for query, document_scores in enumerate(block, start):
                positions[query] = _best(document_scores, count)
                scores[query] = document_scores[positions[query]]
        return scores, positions

    def _count_queries(self, queries: Sequence[str]) -> csr_array:
        """How often each query contains each known word, shape (n, words)."""
        documents, others = [], []
        for query in dict.fromkeys(queries):
            (documents if query in self._row_of_document else others).append(query)
        if others != self._others[0]:
            words = [_known(map(self._vocabulary.get, _tokens(query, self._language), repeat(-1))) for query in others]
            self._others = others, _count(words, self._vocabulary.size)
        known = self._counts[[self._row_of_document[document] for document in documents]]
        row_of_query = {query: row for row, query in enumerate([*documents, *others])}
        return vstack([known, self._others[1]], format="csr")[[row_of_query[query] for query in queries]]

    def _weigh(self, counts: csr_array) -> csr_array:
        """The score that one occurrence of a word in a query gives to each text, in the shape of `counts`."""
        tf, lengths = counts.data, counts.sum(axis=1)[_row_of_each_value(counts)]
        norm = K1 * (1 - B + B * lengths / self._mean_length)
        weights = self._idf[counts.indices] * tf * (K1 + 1) / (tf + norm)
        return csr_array((weights, counts.indices, counts.indptr), shape=counts.shape)


def _score(counts: csr_array, weights: csr_array, candidates: np.ndarray) -> np.ndarray:
    """Multiply each query's counts with the weights of its own candidates.

    The counts become a dense table with one column for each word of these few queries, because looking a count up is
    faster than merging two sorted lists of words for each candidate.

    Args:
        counts: shape (n, words).
        weights: shape (documents, words).
        candidates: rows of `weights`, shape (n, c).

    Returns:
        Shape (n, c).
    """
    n, c = candidates.shape
    width = counts.nnz + 1
    column_of_word = np.zeros(counts.shape[1], dtype=np.int32)  # column 0, all zeros, is for words of no query
    column_of_word[counts.indices] = np.arange(1, width)
    table = np.zeros((n, width))
    table[_row_of_each_value(counts), column_of_word[counts.indices]] = counts.data

    documents = weights[candidates.ravel()]  # (n * c, words)
    values_of_query = np.diff(documents.indptr).reshape(n, c).sum(axis=1)
    row_of_table = np.repeat(np.arange(n, dtype=np.int32), values_of_query)
    cell_of_value = row_of_table * np.int32(width) + column_of_word[documents.indices]
    weights_by_cell = csr_array((documents.data, cell_of_value, documents.indptr), shape=(n * c, table.size))
    return (weights_by_cell @ table.ravel()).reshape(n, c)


def _with_empty_row(matrix: csr_array) -> csr_array:
    """The matrix with a row of zeros added, without a copy of its values."""
    ends = np.append(matrix.indptr, matrix.indptr[-1])
    return csr_array((matrix.data, matrix.indices, ends), shape=(matrix.shape[0] + 1, matrix.shape[1]))


def _known(word_ids: Iterable[int]) -> np.ndarray:
    return np.array([word for word in word_ids if word >= 0], dtype=np.int32)


def _count(texts: list[np.ndarray], vocabulary_size: int) -> csr_array:
    """How often each text, given as word ids, contains each word: shape (texts, words)."""
    words = np.concatenate([np.empty(0, dtype=np.int32), *texts])
    ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
    counts = csr_array((np.ones(len(words)), words, ends), shape=(len(texts), vocabulary_size))
    counts.sum_duplicates()
    return counts


def _row_of_each_value(matrix: csr_array) -> np.ndarray:
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))


def _inverse_document_frequencies(counts: csr_array) -> np.ndarray:
    """The idf of each word, shape (words,)."""
    document_frequencies = np.bincount(counts.indices, minlength=counts.shape[1])
    idf = np.log(counts.shape[0] - document_frequencies + 0.5) - np.log(document_frequencies + 0.5)
    if (idf < 0).any():
        idf[idf < 0] = EPSILON * idf.mean()
    return idf


def _best(scores: np.ndarray, count: int) -> np.ndarray:
    """Positions of the `count` highest scores, best first, equal scores by position."""
    if count == len(scores):
        return np.argsort(-scores, kind="stable")
    least = np.partition(scores, -count)[-count]
    candidates = np.flatnonzero(scores >= least)  # `count` or, with ties, a few more: cheap to sort
    return candidates[np.argsort(-scores[candidates], kind="stable")][:count]
