"""BM25 on the scale of gensim 3's Okapi BM25, which RA-IT's released thresholds are on.

With N documents, tf the count of a word in a document, df the documents that hold it, len a document's words after stop
words are removed, and every repeat of a word in the query counted:

    score(query, document) = sum of idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * len / mean len))
    idf = ln(N - df + 0.5) - ln(df + 0.5), or EPSILON * mean idf where that is negative

The mean idf is over the vocabulary and includes the negative ones (gensim 3.8, `gensim/summarization/bm25.py`).
"""

import logging
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from bm25s.stopwords import STOPWORDS_EN
from scipy.sparse import csr_array

K1, B, EPSILON = 1.5, 0.75, 0.25
has_word_character = re.compile(r"\w").search
BLOCK = 256  # queries a ranking: bounds memory to BLOCK x documents scores

# Function words, written for this project under CC0.
STOPWORDS_ZH = Path(__file__).with_name("stopwords_zh.txt").read_text(encoding="utf-8").split()
STOPWORDS = {"en": frozenset(STOPWORDS_EN), "zh": frozenset(STOPWORDS_ZH)}


def split_words(text: str, language: str) -> list[str]:
    """Words of a text in order: jieba's for zh, lower case and split on spaces for en.

    Stop words and tokens without a letter, digit or underscore are left out.
    """
    if language == "zh":
        import jieba

        jieba.setLogLevel(logging.WARNING)  # it reports on its dictionary otherwise
        tokens = jieba.lcut(text)
    else:
        tokens = text.lower().split()
    stopwords = STOPWORDS[language]
    return [token for token in tokens if token not in stopwords and has_word_character(token)]


class BM25Index:
    """Documents, ready to be scored and ranked for queries. A document is named by its position in `texts`."""

    def __init__(self, texts: Sequence[str], language: str) -> None:
        self._language = language
        self._columns: dict[str, int] = {}
        documents = [
            [self._columns.setdefault(word, len(self._columns)) for word in split_words(text, language)]
            for text in texts
        ]
        counts = _counts(documents, len(self._columns))
        self._idf = _inverse_document_frequencies(counts)
        self._mean_length = counts.sum() / max(1, len(documents))
        self._weights = self._weigh(counts)

    def scores(self, queries: Sequence[str], candidates: np.ndarray) -> np.ndarray:
        """Score each query's own candidates, on gensim's scale.

        Args:
            queries: n texts.
            candidates: positions of documents, integers of shape (n, c); -1 where there is none.

        Returns:
            float64 of shape (n, c), -inf where there is no candidate.
        """
        counts = self._query_counts(queries)
        result = np.full(candidates.shape, -np.inf)
        query = np.zeros(counts.shape[1])  # one query's counts, dense: looked up faster than merged
        for row, positions in enumerate(candidates):
            held = slice(*counts.indptr[row : row + 2])
            query[counts.indices[held]] = counts.data[held]
            found = positions >= 0
            result[row, found] = self._weights[positions[found]] @ query
            query[counts.indices[held]] = 0
        return result

    def self_scores(self, queries: Sequence[str]) -> np.ndarray:
        """Score each query against itself as a document, float64 of shape (n,): what `scores` are normalised by.

        Words that no document of the index holds are ignored, in the length too. 0 for a query without a known word.
        """
        counts = self._query_counts(queries)
        return self._weigh(counts).multiply(counts).sum(axis=1)

    def top(self, queries: Sequence[str], count: int) -> tuple[np.ndarray, np.ndarray]:
        """Rank all documents for each query, ties broken by position.

        Args:
            queries: n texts.
            count: how many to return, at least 1; at most the number m of documents are.

        Returns:
            scores (float64) and positions (integers), each (n, min(count, m)), best first.
        """
        counts = self._query_counts(queries)
        postings = self._weights.T.tocsr()
        count = min(count, postings.shape[1])
        scores = np.empty((len(queries), count))
        positions = np.empty((len(queries), count), dtype=np.int64)
        for start in range(0, len(queries), BLOCK):
            block = (counts[start : start + BLOCK] @ postings).toarray()
            for i, row in enumerate(block, start):
                positions[i] = _best(row, count)
                scores[i] = row[positions[i]]
        return scores, positions

    def _query_counts(self, queries: Sequence[str]) -> csr_array:
        words = (split_words(query, self._language) for query in queries)
        known = [[self._columns[word] for word in query if word in self._columns] for query in words]
        return _counts(known, len(self._columns))

    def _weigh(self, counts: csr_array) -> csr_array:
        """What one occurrence of each word in a query adds to each document's score, in the shape of `counts`."""
        lengths = np.repeat(counts.sum(axis=1), np.diff(counts.indptr))  # of the document that each entry is in
        tf = counts.data
        norm = K1 * (1 - B + B * lengths / self._mean_length)
        weights = self._idf[counts.indices] * tf * (K1 + 1) / (tf + norm)
        return csr_array((weights, counts.indices, counts.indptr), shape=counts.shape)


def _counts(documents: list[list[int]], width: int) -> csr_array:
    """How often each document holds each column, (documents, width)."""
    columns = list(chain.from_iterable(documents))
    ends = np.cumsum([0, *map(len, documents)])
    counts = csr_array((np.ones(len(columns)), columns, ends), shape=(len(documents), width))
    counts.sum_duplicates()
    return counts


def _inverse_document_frequencies(counts: csr_array) -> np.ndarray:
    """The idf of each word, (vocabulary,)."""
    document_frequencies = np.bincount(counts.indices, minlength=counts.shape[1])
    idf = np.log(counts.shape[0] - document_frequencies + 0.5) - np.log(document_frequencies + 0.5)
    if (idf < 0).any():
        idf[idf < 0] = EPSILON * idf.mean()
    return idf


def _best(scores: np.ndarray, count: int) -> np.ndarray:
    """Positions of the `count` highest scores, best first, ties by position, without sorting them all."""
    if count == len(scores):
        return np.argsort(-scores, kind="stable")
    least = np.partition(scores, -count)[-count]
    kept = np.flatnonzero(scores >= least)
    return kept[np.argsort(-scores[kept], kind="stable")][:count]
