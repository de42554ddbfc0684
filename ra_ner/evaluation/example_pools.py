"""Settings of an evaluation: which examples a model is shown with the passages of a benchmark."""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import get_args

from ..corpora.benchmarks import Benchmark
from ..corpora.sources import load_corpus, load_recipe_corpus
from ..dataset.build import recipe_tokenizer, training_passages
from ..errors import UserError
from ..hub import repos
from ..passage import Passage, sample
from ..recipe import ENCODERS, WITHOUT_ENCODER, EvaluateConfig, Recipe, Strategy
from ..retrieval.encode import Encoder
from ..retrieval.retriever import Example, Retriever

STRATEGIES = [strategy for strategy in get_args(Strategy) if strategy != "none"]
SETTINGS = [
    "zero_shot",
    *(f"{domain}-{strategy}" for domain in ("in_domain", "out_domain") for strategy in STRATEGIES),
    "on_demand",
]


def check_settings(settings: Sequence[str]) -> None:
    """Check the names of settings.

    Raises:
        UserError: one is unknown or given twice.
    """
    for setting in settings:
        if list(settings).count(setting) > 1:
            raise UserError(f"setting {setting} is given twice")
        if setting not in SETTINGS:
            near = difflib.get_close_matches(setting, SETTINGS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(SETTINGS)}"
            raise UserError(f"unknown setting {setting!r}; {hint}")


class ExamplePools:
    """The pools that settings take examples from, each read once."""

    def __init__(self, recipe: Recipe, config: EvaluateConfig):
        self.recipe, self.config = recipe, config

    @cached_property
    def out_domain(self) -> list[Passage]:
        """The passages of `pool`, by default those of the recipe's train rows."""
        language, keys = self.recipe.language, self.recipe.dataset
        if self.config.pool:
            return load_corpus(self.config.pool, language).passages
        if not keys.corpus:
            raise UserError(f"{self.recipe.path}: out-of-domain settings need `pool`, or `corpus` of section dataset")
        source = load_recipe_corpus(keys, language)
        return training_passages(source, language, keys, recipe_tokenizer(self.recipe, keys))

    def in_domain(self, benchmark: Benchmark) -> list[Passage]:
        """The passages of the benchmark's train part, or `in_domain_pool` of them by seed."""
        if not benchmark.train:
            raise UserError(f"benchmark {benchmark.name} has no train part to take in-domain examples from")
        return sample(benchmark.train, self.config.in_domain_pool, self.config.seed)

    @cached_property
    def encoder(self) -> Encoder:
        name = self.config.encoder or self.recipe.dataset.encoder or ENCODERS[self.recipe.language]
        return Encoder(repos.fetch_model(name))

    def examples(self, setting: str, benchmark: Benchmark, passages: list[Passage]) -> list[list[Example]]:
        """The examples of each passage in a setting, best first.

        `on_demand` shows nearest neighbours only if the nearest one passes the BM25 threshold on the scale `self`. It
        tries the in-domain pool first, then the out-of-domain pool (arXiv 2406.17305).

        Raises:
            UserError: a pool is missing, or holds a text of the benchmark's test part.
        """
        if setting == "zero_shot":
            return [[] for _ in passages]
        if setting == "on_demand":
            pools = [self.in_domain(benchmark)] if benchmark.train else []
            chosen: list[list[Example]] = [[] for _ in passages]
            for pool in [*pools, self.out_domain]:
                left = [i for i, examples in enumerate(chosen) if not examples]
                retriever = self._retriever(pool, benchmark, strategy="nn", threshold_scale="self")
                for i, examples in zip(left, retriever.examples_if_near([passages[i] for i in left]), strict=True):
                    chosen[i] = examples
            return chosen
        domain, _, strategy = setting.partition("-")
        pool = self.in_domain(benchmark) if domain == "in_domain" else self.out_domain
        return self._retriever(pool, benchmark, strategy=strategy).examples(passages)

    def _retriever(self, pool: list[Passage], benchmark: Benchmark, **keys: object) -> Retriever:
        """The builder's retriever, with the keys of section evaluate in place of its own."""
        tested = {_squeeze(passage.text) for passage in benchmark.test}
        shared = sum(_squeeze(passage.text) in tested for passage in pool)
        if shared and not self.config.allow_overlap:
            raise UserError(
                f"{shared} of {len(pool)} passages of the pool are in the test part of benchmark {benchmark.name}: "
                "name another pool, leave them out (`exclude` of section dataset), or write `allow_overlap: true`"
            )
        config = replace(self.recipe.dataset, **{"k": self.config.k, "seed": self.config.seed, **keys})
        encoder = None if config.strategy in WITHOUT_ENCODER else self.encoder
        return Retriever(pool, config, self.recipe.language, encoder)


def _squeeze(text: str) -> str:
    return " ".join(text.casefold().split())
