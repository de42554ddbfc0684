"""Scores of mentions from the probabilities of their tokens."""

import math

from ra_ner.extraction.scores import mention_scores


def pieces(*tokens: tuple[str, float]) -> list[tuple[str, float]]:
    return [(text, math.log(probability)) for text, probability in tokens]


def test_a_score_is_the_geometric_mean_over_the_tokens_of_a_mention():
    answer = pieces(('["', 1), ("New", 0.9), (" York", 0.4), ('", "', 1), ("Bern", 0.7), ('"]', 1))
    assert mention_scores(["New York", "Bern"], answer) == [0.6, 0.7]


def test_a_mention_has_the_score_of_the_answer_and_not_of_the_thoughts_before_it():
    answer = pieces(("<think>", 1), ("Bern", 0.1), ("?</think>", 1), ('["', 1), ("Bern", 0.8), ('"]', 1))
    assert mention_scores(["Bern"], answer) == [0.8]
