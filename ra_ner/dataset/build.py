"""An RA-IT dataset: passages with retrieved examples as conversations, in a folder laid out like a Hub dataset repo.

<folder>/README.md                        the card; its `configs:` tell `load_dataset` where the rows are
<folder>/<config>/train-<digest>.parquet  and validation
<folder>/<config>/ra_it.json              how the rows were made
"""

import hashlib
import json
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Features, List, Value
from tqdm import tqdm

from .. import __version__
from ..corpora.benchmarks import load_benchmark
from ..corpora.decontamination import RULES, find_contaminated
from ..corpora.long_texts import split_at_sentence_end
from ..corpora.sources import LoadedCorpus
from ..errors import UserError
from ..hub import repos
from ..output_folder import new_folder
from ..passage import Passage, fingerprint, merge_duplicates, sample
from ..prompting.chat_template import control_tokens, load_training_tokenizer, training_length
from ..prompting.conversation import Message, NegativeTypes, training_conversation, transcript
from ..prompting.length_limit import LengthLimit
from ..recipe import Recipe
from ..recipe_keys import TOKENIZER_KEYS, DatasetConfig
from ..retrieval.encode import Encoder
from ..retrieval.retriever import Example, Retriever
from ..tasks import find_wording, task_of
from .card import dataset_card

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

Row = dict[str, object]  # of FEATURES
LIBRARIES = ("datasets", "sentence-transformers", "torch", "transformers")

_MESSAGES = List({"role": Value("string"), "content": Value("string")})
FEATURES = Features(
    {
        "id": Value("string"),
        "prompt": _MESSAGES,
        "completion": _MESSAGES,
        "example_ids": List(Value("string")),
        "example_scores": List(Value("float32")),
    }
)
ZERO_SHOT = "validation_zero_shot"  # the validation split without examples, of a mixed dataset
QUANTILES = {"shortest": 0, "median": 0.5, "90%": 0.9, "99%": 0.99, "longest": 1}
TYPES_SHOWN = 20
ROWS_SHOWN = 3


@dataclass(frozen=True)
class RADataset:
    """Rows in the splits train and validation, and the facts about how they were made (ra_it.json)."""

    splits: DatasetDict
    facts: dict


def build(
    corpus: LoadedCorpus,
    language: str,
    name: str,
    config: DatasetConfig,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
) -> RADataset:
    """Make the rows of the recipe called `name`. The same passages and keys give the same rows.

    The corpus is split first. The examples of both splits come from the train split, without the passage itself and
    those with the same text. With an `examples_probability` between 0 and 1 some train rows show none, and the
    validation rows are made in both forms: those without examples are the split `validation_zero_shot`. Negative types
    and the order of questions depend on the seed and the passage's id alone, so the baseline of a recipe
    (`strategy: none`) has the same rows in the same order.

    Args:
        tokenizer: of the model to be trained, with its training chat template; needed for `max_length`. Passages that
            contain one of its control tokens are dropped. A text that is too long without examples is split at
            sentence ends; then examples are dropped from a row, the last one first, until it fits.

    Raises:
        UserError: nothing would be left to train on, or a key does not fit.
    """
    splits = PassageSplits(corpus, language, config, tokenizer)
    if config.strategy != "none" and len(splits.train) <= config.k:
        logger.info(f"k is {config.k}, but the pool has only {len(splits.train)} passages: rows show fewer examples")
    encoder_name = config.encoder_for(language)
    encoder = Encoder(repos.fetch_model(encoder_name)) if encoder_name else None
    retriever = Retriever(splits.train, config, language, encoder)
    examples = iter(retriever.examples(splits.train + splits.validation))
    rows = {"train": _to_dataset(splits.row(p, splits.draw_examples(p, next(examples))) for p in splits.train)}
    if splits.validation:
        shown = config.examples_probability > 0
        rows["validation"] = _to_dataset(splits.row(p, next(examples) if shown else []) for p in splits.validation)
    if splits.validation and splits.is_mixed:
        rows[ZERO_SHOT] = _to_dataset(splits.row(passage, []) for passage in splits.validation)
    passages, (_, counted) = splits.train + splits.validation, splits.task.counted
    passages_of_type = Counter(t for p in passages for t in dict.fromkeys(getattr(e, counted) for e in p.entities))
    facts = {
        "ra_ner": __version__,
        "recipe": name,
        "language": language,
        **splits.task.facts,
        "config": {
            **vars(config),
            "k": config.k if config.strategy != "none" else 0,
            "encoder": encoder_name,
        },
        "encoder_revision": encoder and encoder.model.revision,
        "corpus": {
            "commit": corpus.commit,
            "license": corpus.license,
            "form": corpus.form,
            "fingerprint": fingerprint(corpus.passages),
            "words": corpus.words,
        },
        "counts": splits.counts,
        "rows": {split: len(part) for split, part in rows.items()},
        "examples": {split: _total(part, "example_ids") for split, part in rows.items()},
        "questions": {split: (_total(part, "completion") + len(part)) // 2 for split, part in rows.items()},
        "tokens": {name: int(np.quantile(splits.lengths, q)) for name, q in QUANTILES.items() if splits.lengths},
        "types": len(passages_of_type),
        "passages_of_type": dict(passages_of_type.most_common(TYPES_SHOWN)),
        "versions": {library: version(library) for library in LIBRARIES},
    }
    return RADataset(DatasetDict(rows), facts)


def recipe_tokenizer(recipe: Recipe, config: DatasetConfig) -> "PreTrainedTokenizerBase | None":
    """The tokenizer that rows of a recipe are measured with: of the model that it trains. None if it names none.

    Raises:
        UserError: the recipe sets `max_length` but names no model, or the tokenizer can't be loaded.
    """
    model, revision, template = (recipe.sections["train"].get(key) for key in TOKENIZER_KEYS)
    if model:
        return load_training_tokenizer(model, revision, template)
    if config.max_length and config.max_length != DatasetConfig.max_length:
        raise UserError(f"{recipe.path}: section dataset: `max_length` needs train.model_name_or_path")
    logger.info("the recipe names no train.model_name_or_path, so the length of rows is not checked")
    return None


def training_passages(
    corpus: LoadedCorpus, language: str, config: DatasetConfig, tokenizer: "PreTrainedTokenizerBase | None" = None
) -> list[Passage]:
    """The passages of the train rows that `build` makes, with texts split as there.

    Raises:
        UserError: as `build`.
    """
    return PassageSplits(corpus, language, config, tokenizer).train


class PassageSplits:
    """Train and validation passages of a corpus, and the rows that they become.

    Attributes:
        train: also the pool that examples come from.
        validation: may be empty.
        counts: how many passages or examples were dropped, merged or split, by reason.
        lengths: tokens of each row made so far; stays empty without `max_length`.
    """

    def __init__(
        self,
        corpus: LoadedCorpus,
        language: str,
        config: DatasetConfig,
        tokenizer: "PreTrainedTokenizerBase | None" = None,
    ):
        self.config, self.tokenizer, self.task = config, tokenizer, task_of(config.wording)
        self.wording = find_wording(config.wording, language)
        self.counts: dict[str, int] = {"passages_read": len(corpus.passages), **corpus.counts}
        self.lengths: list[int] = []
        self.train, self.validation = self._split(self._usable(corpus.passages, language))
        self.negatives = NegativeTypes(self.train, config.negative_probability)
        self.train, self.validation = self._fitting(self.train), self._fitting(self.validation)
        self.counts.setdefault("dropped_examples", 0)
        if not self.train:
            raise UserError(f"section dataset: no text fits into `max_length: {config.max_length}`; raise it")

    @cached_property
    def limit(self) -> LengthLimit | None:
        if not self.tokenizer or not self.config.max_length:
            return None
        return LengthLimit(self.config.max_length, training_length(self.tokenizer))

    @property
    def is_mixed(self) -> bool:
        """Whether some train rows show examples, and others none although they could."""
        return self.config.strategy != "none" and self.config.k > 0 and 0 < self.config.examples_probability < 1

    def draw_examples(self, passage: Passage, examples: Sequence[Example]) -> Sequence[Example]:
        """The examples of a train row, or none, by `examples_probability`, the seed and the passage's id."""
        if random.Random(f"{self.config.seed}:examples:{passage.id}").random() < self.config.examples_probability:
            return examples
        self.counts["rows_drawn_without_examples"] = self.counts.get("rows_drawn_without_examples", 0) + 1
        return []

    def _usable(self, passages: Sequence[Passage], language: str) -> list[Passage]:
        """Merge duplicates, and drop passages of benchmarks, with control tokens, and without entities."""
        distinct = merge_duplicates(passages)
        if self.config.check_corpus:
            _check_repeats(passages)
        keys = {"check": self.config.check_corpus, "reading": self.task.reading}
        benchmarks = [load_benchmark(name, language, **keys) for name in self.config.exclude]
        tested = [passage for benchmark in benchmarks for passage in benchmark.test]
        contaminated = find_contaminated(distinct, tested, language)
        clean = [passage for passage, rule in zip(distinct, contaminated, strict=True) if not rule]
        control = control_tokens(self.tokenizer) if self.tokenizer else []
        plain = [passage for passage in clean if not _contains(passage, control)]
        annotated = [passage for passage in plain if passage.entities]
        self.counts |= {
            "merged_duplicates": len(passages) - len(distinct),
            "dropped_contaminated": len(distinct) - len(clean),
            **{rule: contaminated.count(rule) for rule in RULES if self.config.exclude},
            "dropped_control_tokens": len(clean) - len(plain),
            "dropped_without_entities": len(plain) - len(annotated),
        }
        return annotated

    def _split(self, passages: list[Passage]) -> tuple[list[Passage], list[Passage]]:
        """Draw `size` passages by seed and hold `validation_fraction` of them out."""
        drawn = sample(passages, self.config.size, self.config.seed)
        held_out = round(len(drawn) * self.config.validation_fraction)
        if not passages:
            counts = ", ".join(f"{key} {count}" for key, count in self.counts.items() if count)
            raise UserError(f"section dataset: no passage is left to train on: {counts}")
        if held_out == len(drawn):
            raise UserError("section dataset: no passage to train on; raise `size` or lower `validation_fraction`")
        return drawn[held_out:], drawn[:held_out]

    def _fitting(self, passages: list[Passage]) -> list[Passage]:
        """Passages that fit into `max_length` without examples. Longer texts are split at sentence ends."""
        self.counts |= {key: self.counts.get(key, 0) for key in ("split_too_long", "dropped_too_long")}
        if not self.limit:
            return passages
        kept = []
        for passage in tqdm(passages, desc="Measuring texts", disable=len(passages) < 1000):
            if self._fits_alone(passage):
                kept.append(passage)
                continue
            parts = split_at_sentence_end(passage, self._fits_alone) if self.task.splits_texts else [passage]
            fitting = [part for part in parts if part.entities and self._fits_alone(part)]
            self.counts["split_too_long"] += bool(fitting)
            self.counts["dropped_too_long"] += sum(not self._fits_alone(part) for part in parts)
            kept += fitting
        return kept

    def _fits_alone(self, passage: Passage) -> bool:
        """Whether a passage fits without examples. One without entities makes no row, so it always fits."""
        return not passage.entities or self.limit.fits(_messages(self._row(passage, [])))

    def row(self, passage: Passage, examples: Sequence[Example]) -> Row:
        """The row of a passage, with as many of its examples as fit, best first."""
        if not self.limit:
            return self._row(passage, examples)
        fitting = self.limit.fitting_examples(examples, lambda shown: _messages(self._row(passage, shown)))
        self.counts["dropped_examples"] += len(examples) - len(fitting)
        row = self._row(passage, fitting)
        self.lengths.append(self.limit.count(_messages(row)))
        return row

    def _row(self, passage: Passage, examples: Sequence[Example]) -> Row:
        rng = random.Random(f"{self.config.seed}:{passage.id}")
        types = passage.types + self.negatives.sample(passage, rng)
        rng.shuffle(types)
        shown = [example.passage for example in examples]
        prompt, completion = training_conversation(passage, types, shown, self.wording)
        return {
            "id": passage.id,
            "prompt": prompt,
            "completion": completion,
            "example_ids": [example.passage.id for example in examples],
            # The last digits of a vector depend on the batch that it was encoded in: rounded, equal builds stay equal.
            "example_scores": [round(example.score, 4) for example in examples],
        }


def _check_repeats(passages: Sequence[Passage]) -> None:
    """Refuse a corpus where most texts come again with the same types, which is what a misread one looks like.

    A corpus with a row for each type of a text repeats its texts too, but with other types or none.

    Raises:
        UserError: more than half of the annotated passages are such repeats.
    """
    annotated = [passage for passage in passages if passage.entities]
    seen: dict[str, set[str]] = {}
    repeats = []
    for passage in annotated:
        if passage.text in seen and seen[passage.text].issuperset(passage.types):
            repeats.append(passage)
        seen.setdefault(passage.text, set()).update(passage.types)
    if len(repeats) > len(annotated) / 2:
        raise UserError(
            f"section dataset: {len(repeats)} of {len(annotated)} passages repeat the text of another one, such as "
            f"{repeats[0].text[:40]!r}: look at how the corpus was read; if it is right, write `check_corpus: false`"
        )


def _contains(passage: Passage, tokens: Sequence[str]) -> bool:
    """Whether the text, a mention or a type contains one of the tokens. A conversation shows nothing else of it."""
    texts = [passage.text, *(word for entity in passage.entities for word in (entity.text, entity.type))]
    return any(token in text for token in tokens for text in texts)


def _messages(row: Row) -> list[Message]:
    return row["prompt"] + row["completion"]


def _to_dataset(rows: Iterator[Row]) -> Dataset:
    """The same as `Dataset.from_list`, in half the time: that checks each value before Arrow does.

    Rows are moved to Arrow a thousand at a time, because they take much more memory as Python objects.
    """
    schema = FEATURES.arrow_schema
    batches = iter(lambda: list(islice(rows, 1000)), [])
    return Dataset(pa.Table.from_batches([pa.RecordBatch.from_pylist(batch, schema) for batch in batches], schema))


def _total(dataset: Dataset, column: str) -> int:
    """The number of items in all lists of a column."""
    return pc.sum(pc.list_value_length(dataset.data[column])).as_py()


def summary(dataset: RADataset) -> str:
    """What a dry run shows: the facts, then the first conversation."""
    facts = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in dataset.facts.items())
    row = dataset.splits["train"][0]
    return f"{facts}\n\n{transcript(_messages(row))}"


def write(dataset: RADataset, folder: Path) -> None:
    """Write the folder, completely or not at all.

    Raises:
        UserError: something else stands there.
    """
    name = dataset.facts["recipe"]
    with new_folder(folder, "dataset") as new:
        (new / name).mkdir()
        files = {}
        for split, part in dataset.splits.items():
            part.to_parquet(new / "rows.parquet")
            # The name holds a digest of the content: for a local folder `load_dataset` caches by file name alone
            # (datasets 5.2) and would return the rows of an earlier build.
            digest = hashlib.sha256((new / "rows.parquet").read_bytes()).hexdigest()[:12]
            files[split] = f"{name}/{split}-{digest}.parquet"
            (new / "rows.parquet").rename(new / files[split])
        facts = json.dumps(dataset.facts, indent=2, ensure_ascii=False)
        (new / name / "ra_it.json").write_text(facts + "\n", encoding="utf-8")
        rows = dataset.splits["train"].select(range(min(ROWS_SHOWN, len(dataset.splits["train"])))).to_list()
        card = dataset_card(dataset.facts, rows, files)
        (new / "README.md").write_text(card, encoding="utf-8")


def push_to_hub(folder: Path, name: str, repo_id: str) -> str:
    """Push the config `name` of a folder. Other configs of the repo stay as they are.

    Returns:
        the commit.

    Raises:
        UserError: the push failed.
    """
    files = {f"{name}/{file.name}": file for file in sorted((folder / name).iterdir())}
    on_failure = f"the dataset is kept in {folder}; a second run uploads only what is missing"
    card = (folder / "README.md").read_text(encoding="utf-8")
    return repos.push("dataset", repo_id, files, card, f"Config {name}", on_failure, name)
