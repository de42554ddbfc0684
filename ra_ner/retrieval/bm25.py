"""BM25 on the scale of gensim 3's Okapi BM25, which RA-IT's released thresholds are on.

With N documents, tf the count of a word in a document, df the documents that hold it, len a document's words after stop
words are removed, and every repeat of a word in the query counted:

    score(query, document) = sum of idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * len / mean len))
    idf = ln(N - df + 0.5) - ln(df + 0.5), or EPSILON * mean idf where that is negative

The mean idf is over the vocabulary and includes the negative ones (gensim 3.8, `gensim/summarization/bm25.py`).
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
has_word_character = re.compile(r"\w").search
RANKED = 256  # queries that are ranked at a time: bounds memory to RANKED x documents scores
SCORED = (
    16  # queries whose candidates are scored at a time: many enough to be few calls, few enough for the CPU's cache
)

# Function words, written for this project under CC0.
STOPWORDS_ZH = Path(__file__).with_name("stopwords_zh.txt").read_text(encoding="utf-8").split()
STOPWORDS = {"en": frozenset(STOPWORDS_EN), "zh": frozenset(STOPWORDS_ZH)}


def _tokens(text: str, language: str) -> list[str]:
    if language == "zh":
        import jieba

        jieba.setLogLevel(logging.WARNING)  # it reports on its dictionary otherwise
        return jieba.lcut(text)
    return text.lower().split()


def _is_word(token: str, language: str) -> bool:
    return token not in STOPWORDS[language] and has_word_character(token) is not None


def split_words(text: str, language: str) -> list[str]:
    """Words of a text in order: jieba's for zh, lower case and split on spaces for en.

    Stop words and tokens without a letter, digit or underscore are left out.
    """
    return [token for token in _tokens(text, language) if _is_word(token, language)]


class _Vocabulary(dict[str, int]):
    """The column of each word, given out as words are met; -1 for a token that is no word, so it is judged once."""

    def __init__(self, language: str) -> None:
        self.language, self.width = language, 0

    def __missing__(self, token: str) -> int:
        self[token] = -1
        if _is_word(token, self.language):
            self[token] = self.width
            self.width += 1
        return self[token]


class BM25Index:
    """Documents, ready to be scored and ranked for queries. A document is named by its position in `texts`.

    The words of each text, document or query, are counted once.
    """

    def __init__(self, texts: Sequence[str], language: str) -> None:
        columns = _Vocabulary(language)
        rows = [_known(map(columns.__getitem__, _tokens(text, language))) for text in texts]
        self._language, self._columns = language, columns
        self._counts = counts = _counts(rows, columns.width)  # of the documents, then of queries
        self._rows = {text: row for row, text in enumerate(texts)}
        self._idf = _inverse_document_frequencies(counts)
        self._mean_length = counts.sum() / max(1, len(texts))
        self._weights = self._weigh(counts)

    def scores(self, queries: Sequence[str], candidates: np.ndarray) -> np.ndarray:
        """Score each query's own candidates, on gensim's scale.

        Args:
            queries: n texts.
            candidates: positions of documents, integers of shape (n, c); -1 where there is none.

        Returns:
            float64 of shape (n, c), -inf where there is no candidate.
        """
        counts, weights = self._query_counts(queries), self._weights
        # A last row without words: what -1 picks.
        ends = np.append(weights.indptr, weights.indptr[-1])
        weights = csr_array((weights.data, weights.indices, ends), shape=(len(ends) - 1, weights.shape[1]))
        result = np.empty(candidates.shape)
        place = np.zeros(counts.shape[1], dtype=np.int32)  # of each word in a block's table; 0: no query has it
        for start in range(0, len(queries), SCORED):
            ends = counts.indptr[start : start + SCORED + 1]
            words, block = counts.indices[ends[0] : ends[-1]], slice(start, start + SCORED)
            n, width = len(ends) - 1, len(words) + 1
            place[words] = np.arange(1, width)
            table = np.zeros((n, width))  # counts by query and place: looked up faster than merged
            table[np.repeat(np.arange(n), np.diff(ends)), place[words]] = counts.data[ends[0] : ends[-1]]
            rows = weights[candidates[block].ravel()]
            cells = place[rows.indices]
            ends = rows.indptr[np.arange(n + 1) * candidates.shape[1]]
            cells += np.repeat(np.arange(n, dtype=np.int32) * width, np.diff(ends))
            rows = csr_array((rows.data, cells, rows.indptr), shape=(rows.shape[0], table.size))
            result[block] = (rows @ table.ravel()).reshape(n, -1)
            place[words] = 0
        result[candidates < 0] = -np.inf
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
        for start in range(0, len(queries), RANKED):
            block = (counts[start : start + RANKED] @ postings).toarray()
            for i, row in enumerate(block, start):
                positions[i] = _best(row, count)
                scores[i] = row[positions[i]]
        return scores, positions

    def _query_counts(self, queries: Sequence[str]) -> csr_array:
        if new := [query for query in dict.fromkeys(queries) if query not in self._rows]:
            rows = [_known(map(self._columns.get, _tokens(query, self._language), repeat(-1))) for query in new]
            self._rows |= {query: row for row, query in enumerate(new, self._counts.shape[0])}
            self._counts = vstack([self._counts, _counts(rows, self._columns.width)], format="csr")
        return self._counts[[self._rows[query] for query in queries]]

    def _weigh(self, counts: csr_array) -> csr_array:
        """What one occurrence of each word in a query adds to each document's score, in the shape of `counts`."""
        lengths = counts.sum(axis=1)[_row_of_each(counts)]
        tf = counts.data
        norm = K1 * (1 - B + B * lengths / self._mean_length)
        weights = self._idf[counts.indices] * tf * (K1 + 1) / (tf + norm)
        return csr_array((weights, counts.indices, counts.indptr), shape=counts.shape)


def _known(columns: Iterable[int]) -> np.ndarray:
    return np.array([column for column in columns if column >= 0], dtype=np.int32)


def _counts(documents: list[np.ndarray], width: int) -> csr_array:
    """How often each document holds each column, (documents, width)."""
    columns = np.concatenate([np.empty(0, dtype=np.int32), *documents])
    ends = np.cumsum([0, *map(len, documents)], dtype=np.int32)
    counts = csr_array((np.ones(len(columns)), columns, ends), shape=(len(documents), width))
    counts.sum_duplicates()
    return counts


def _row_of_each(matrix: csr_array) -> np.ndarray:
    """The row that each stored value is in."""
    return np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))


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
