"""Classify the test part of a folder without a language model: by a vote of the nearest texts, and by TF-IDF with
logistic regression (needs scikit-learn), both from its train part.

    python tools/task_baselines.py corpora/trec_coarse models/all-minilm-l6-v2 [--limit 200] [--seed 42]

`--limit` and `--seed` draw the same texts as `evaluate.limit` and `evaluate.seed` of a recipe.
"""

import argparse
import sys
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline

sys.path.insert(0, str(Path(__file__).parents[1]))

from ra_ner.corpora.benchmarks import load_benchmark
from ra_ner.hub.repos import fetch_model
from ra_ner.passage import Passage, sample
from ra_ner.recipe_keys import DatasetConfig
from ra_ner.retrieval.encode import Encoder
from ra_ner.retrieval.retriever import Retriever
from ra_ner.tasks.classification import CLASSIFICATION, vote

SHOWN = (1, 2, 4)  # nearest texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("encoder")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seed", type=int, default=42)
    options = parser.parse_args()
    benchmark = load_benchmark(options.folder, "en", reading=CLASSIFICATION.reading)
    tested = {passage.text for passage in benchmark.test}
    train = [passage for passage in benchmark.train if passage.text not in tested]
    test = sample(benchmark.test, options.limit, options.seed)
    print(f"{options.folder}: {len(train)} train and {len(test)} test texts")
    encoder = Encoder(fetch_model(options.encoder))
    for k in SHOWN:
        shown = Retriever(train, DatasetConfig(strategy="nn", k=k), "en", encoder).examples(test)
        report(f"vote of {k}", test, [vote([example.passage for example in examples]) for examples in shown])
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=10, max_iter=1000))
    model.fit([passage.text for passage in train], labels(train))
    report("TF-IDF", test, model.predict([passage.text for passage in test]))


def labels(passages: list[Passage]) -> list[str]:
    return [passage.entities[0].text for passage in passages]


def report(name: str, test: list[Passage], predicted: list[str]) -> None:
    accuracy, macro = accuracy_score(labels(test), predicted), f1_score(labels(test), predicted, average="macro")
    print(f"{name}: accuracy {100 * accuracy:.1f}, macro-F1 {100 * macro:.1f}")


if __name__ == "__main__":
    main()
