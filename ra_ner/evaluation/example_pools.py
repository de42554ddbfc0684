"""Settings of an evaluation: which examples a model is shown with the passages of a benchmark."""

import logging
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import get_args

from ..corpora.benchmarks import Benchmark, load_benchmark
from ..corpora.sources import BUILT_IN, LoadedCorpus, load_recipe_corpus
from ..dataset.build import recipe_tokenizer, training_passages
from ..errors import UserError, nearest
from ..hub import repos
from ..passage import Passage, sample
from ..recipe import Recipe
from ..recipe_keys import ENCODERS, WITHOUT_ENCODER, DatasetConfig, EvaluateConfig, Strategy
from ..retrieval.encode import Encoder
from ..retrieval.retriever import Example, Retriever
from ..tasks import task_of_recipe

logger = logging.getLogger(__name__)

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
            raise UserError(f"unknown setting {setting!r}; {nearest(setting, SETTINGS)}")


class ExamplePools:
    """The pools that settings take examples from, each read once."""

    def __init__(self, recipe: Recipe, config: EvaluateConfig):
        self.recipe, self.config = recipe, config
        self.reading = task_of_recipe(recipe).reading

    def benchmarks(self) -> list[Benchmark]:
        """The benchmarks of the recipe. They and the pools of all settings are checked before any pool is searched.

        Raises:
            UserError: there is none, or one is given twice or can't be read; there is no model or no setting; or as
                `check`.
        """
        for key in ("models", "benchmarks", "settings"):
            if not getattr(self.config, key):
                raise UserError(f"{self.recipe.path}: section evaluate names no `{key}`")
        check_settings(self.config.settings)
        benchmarks = [self.load(name) for name in self.config.benchmarks]
        for name, count in Counter(benchmark.name for benchmark in benchmarks).items():
            if count > 1:
                raise UserError(f"benchmark {name} is given twice; scores are kept by its name")
        for benchmark in benchmarks:
            self.check(benchmark)
        return benchmarks

    def load(self, name: str) -> Benchmark:
        """A benchmark as the recipe reads it."""
        check = self.recipe.dataset.check_corpus
        return load_benchmark(name, self.recipe.language, self.config.words, check, self.reading)

    @cached_property
    def corpus(self) -> LoadedCorpus:
        """The corpus that the recipe trains on."""
        keys = self.recipe.dataset
        if not keys.corpus:
            raise UserError(f"{self.recipe.path}: out-of-domain settings need `pool`, or `corpus` of section dataset")
        return load_recipe_corpus(keys, self.recipe.language, self.reading)

    @cached_property
    def out_domain(self) -> list[Passage]:
        """The passages of `pool`, by default those of the recipe's train rows."""
        language, keys = self.recipe.language, self.recipe.dataset
        if self.config.pool:
            pool = DatasetConfig(corpus=self.config.pool, check_corpus=keys.check_corpus)
            return load_recipe_corpus(pool, language, self.reading).passages
        return training_passages(self.corpus, language, keys, recipe_tokenizer(self.recipe, keys))

    def in_domain(self, benchmark: Benchmark) -> list[Passage]:
        """The passages of the benchmark's train part, without those of its test part, or `in_domain_pool` of them by
        seed.

        Raises:
            UserError: there are none.
        """
        if not benchmark.train:
            raise UserError(
                f"benchmark {benchmark.name} has no train part to take in-domain examples from: name a folder with a "
                "train file and a test file, or use an out_domain setting, with examples from the training passages"
            )
        left = benchmark.train if self.config.allow_overlap else without_tested(benchmark.train, benchmark)
        if not left:
            raise UserError(
                f"all {len(benchmark.train)} passages of the train part of benchmark {benchmark.name} are in its test "
                "part: leave out in-domain settings, or write `allow_overlap: true`"
            )
        return sample(left, self.config.in_domain_pool, self.config.seed)

    def dropped(self, benchmark: Benchmark) -> int:
        """How many passages of the train part are no in-domain examples, because they are in the test part."""
        used = any(setting.startswith(("in_domain", "on_demand")) for setting in self.config.settings)
        if not used or self.config.allow_overlap:
            return 0
        return len(benchmark.train) - len(without_tested(benchmark.train, benchmark))

    def check(self, benchmark: Benchmark) -> None:
        """Check the pools of all settings, before any is searched.

        Raises:
            UserError: a pool is missing, nothing of it is left, or the out-of-domain pool holds texts of the test part.
        """
        for setting in self.config.settings:
            self._pools(setting, benchmark)
        if dropped := self.dropped(benchmark):
            logger.info(
                f"benchmark {benchmark.name}: {dropped} of {len(benchmark.train)} passages of its train part are in "
                "its test part; they are no examples"
            )

    @cached_property
    def encoder(self) -> Encoder:
        name = self.config.encoder or self.recipe.dataset.encoder or ENCODERS[self.recipe.language]
        return Encoder(repos.fetch_model(name))

    def examples(
        self, setting: str, benchmark: Benchmark, passages: list[Passage], threshold: float | None = None
    ) -> list[list[Example]]:
        """The examples of each passage in a setting, best first.

        `on_demand` shows nearest neighbours only if the nearest one passes the BM25 threshold on the scale `self`. It
        tries the in-domain pool first, then the out-of-domain pool (arXiv 2406.17305).

        Args:
            threshold: that of `on_demand`, instead of `bm25_threshold`.

        Raises:
            UserError: as `check`.
        """
        pools = self._pools(setting, benchmark)
        if setting == "zero_shot":
            return [[] for _ in passages]
        if setting == "on_demand":
            chosen: list[list[Example]] = [[] for _ in passages]
            keys = {} if threshold is None else {"bm25_threshold": threshold}
            for pool in pools:
                left = [i for i, examples in enumerate(chosen) if not examples]
                retriever = self._retriever(pool, strategy="nn", threshold_scale="self", **keys)
                for i, examples in zip(left, retriever.examples_if_near([passages[i] for i in left]), strict=True):
                    chosen[i] = examples
            return chosen
        return self._retriever(pools[0], strategy=setting.partition("-")[2]).examples(passages)

    def _pools(self, setting: str, benchmark: Benchmark) -> list[list[Passage]]:
        """The pools of a setting, the first choice first."""
        if setting == "zero_shot":
            return []
        if setting.startswith("in_domain"):
            return [self.in_domain(benchmark)]
        shared = len(self.out_domain) - len(without_tested(self.out_domain, benchmark))
        if shared and not self.config.allow_overlap:
            raise UserError(
                f"{shared} of {len(self.out_domain)} passages of the pool are in the test part of benchmark "
                f"{benchmark.name}: name another pool, leave them out (`exclude` of section dataset), or write "
                "`allow_overlap: true`"
            )
        in_domain = [self.in_domain(benchmark)] if setting == "on_demand" and benchmark.train else []
        return [*in_domain, self.out_domain]

    def _retriever(self, pool: list[Passage], **keys: object) -> Retriever:
        """The builder's retriever, with the keys of section evaluate in place of its own."""
        config = replace(self.recipe.dataset, **{"k": self.config.k, "seed": self.config.seed, **keys})
        encoder = None if config.strategy in WITHOUT_ENCODER else self.encoder
        return Retriever(pool, config, self.recipe.language, encoder)

    def trained_types(self) -> Set[str]:
        """The types of the corpus that the recipe trains on, if it is here; none if it would have to be fetched."""
        corpus = self.recipe.dataset.corpus
        if not corpus or not (Path(corpus).exists() or corpus in BUILT_IN):
            return set()
        return {type_ for passage in self.corpus.passages for type_ in passage.types}


def without_tested(pool: Sequence[Passage], benchmark: Benchmark) -> list[Passage]:
    """The passages of a pool whose texts are not in a benchmark's test part. Case and white space do not count."""
    tested = {_squeeze(passage.text) for passage in benchmark.test}
    return [passage for passage in pool if _squeeze(passage.text) not in tested]


def _squeeze(text: str) -> str:
    return "".join(text.casefold().split())
