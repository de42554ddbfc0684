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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Features, List, Value
from tqdm import tqdm

from .. import __version__
from ..atomic_files import new_folder
from ..corpora.benchmarks import load_benchmark
from ..corpora.decontamination import drop_contaminated
from ..corpora.long_texts import split_at_sentence_end
from ..corpora.sources import LoadedCorpus
from ..errors import UserError
from ..hub import repos
from ..passage import Passage, fingerprint, merge_duplicates, sample
from ..prompting.conversation import Message, NegativeTypes, Wording, find_wording, training_conversation, transcript
from ..recipe import WITHOUT_ENCODER, DatasetConfig
from ..retrieval.retriever import Example, Retriever
from .card import dataset_card

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


@dataclass(frozen=True)
class RADataset:
    """Rows in the splits train and validation, and the facts of how they were made."""

    splits: DatasetDict
    facts: dict


CountTokens = Callable[[list[Message]], int]
QUANTILES = {"shortest": 0, "median": 0.5, "90%": 0.9, "99%": 0.99, "longest": 1}
TYPES_SHOWN = 20
ROWS_SHOWN = 3


def build(
    source: LoadedCorpus, language: str, name: str, config: DatasetConfig, count_tokens: CountTokens | None = None
) -> RADataset:
    """Make the rows of the recipe called `name`. The same passages and keys give the same rows.

    The split comes first; the examples of both splits come from the train split, never the passage itself nor one
    with the same text. A passage's negative types and turn order depend on the seed and its id alone, so that the
    vanilla twin of a recipe (`strategy: none`) has the same rows in the same order.

    Args:
        count_tokens: the length of a conversation as it will be trained; needed for `max_length`. A text that is too
            long without examples is cut at the ends of sentences; then examples of a row are dropped, the last one
            first, until it fits.

    Raises:
        UserError: nothing would be left to train on, or a key does not fit.
    """
    wording = find_wording(config.wording, language)
    if config.strategy not in WITHOUT_ENCODER and not config.encoder:
        raise UserError(f"section dataset: strategy {config.strategy} needs `encoder`, a sentence-transformers model")
    splits, counts = split_passages(source, language, config)
    make_row = partial(
        _row, negatives=NegativeTypes(splits["train"], config.negative_probability), wording=wording, seed=config.seed
    )
    limit = LengthFitter(config.max_length, count_tokens, make_row)
    splits = {split: limit.cut_texts(part) for split, part in splits.items()}
    if not splits["train"]:
        raise UserError(f"section dataset: no text is within `max_length: {config.max_length}`; raise it")
    if config.strategy != "none" and len(splits["train"]) <= config.k:
        logger.info(f"k is {config.k}, but the pool has {len(splits['train'])} passages: each is shown what there is")
    encoder = repos.fetch_model(config.encoder) if config.strategy not in WITHOUT_ENCODER else None
    retriever = Retriever(splits["train"], config, language, encoder)
    examples = iter(retriever.examples(splits["train"] + splits["validation"]))
    rows = {
        split: _to_dataset(limit.fit(passage, next(examples)) for passage in part)
        for split, part in splits.items()
        if part
    }
    passages_of_type = Counter(type_ for part in splits.values() for passage in part for type_ in passage.types)
    facts = {
        "ra_ner": __version__,
        "recipe": name,
        "language": language,
        **vars(config),
        "k": config.k if config.strategy != "none" else 0,
        "encoder_revision": encoder and encoder.revision,
        "corpus_commit": source.commit,
        "corpus_license": source.license,
        "corpus_fingerprint": fingerprint(source.passages),
        **counts,
        **limit.counts,
        "rows": {split: len(part) for split, part in rows.items()},
        "examples": {split: _total(part, "example_ids") for split, part in rows.items()},
        "questions": {split: (_total(part, "completion") + len(part)) // 2 for split, part in rows.items()},
        "tokens": {name: int(np.quantile(limit.lengths, q)) for name, q in QUANTILES.items() if limit.lengths},
        "types": len(passages_of_type),
        "passages_of_type": dict(passages_of_type.most_common(TYPES_SHOWN)),
        "versions": {library: version(library) for library in LIBRARIES},
    }
    return RADataset(DatasetDict(rows), facts)


def split_passages(
    source: LoadedCorpus, language: str, config: DatasetConfig
) -> tuple[dict[str, list[Passage]], dict[str, int]]:
    """The passages of the splits train and validation, and how many were left out for what reason.

    Duplicates are merged, and passages that a benchmark of `exclude` holds or that have no entity are left out, before
    `size` passages are drawn.

    Raises:
        UserError: no passage is left to train on.
    """
    distinct = merge_duplicates(source.passages)
    tested = [passage for benchmark in config.exclude for passage in load_benchmark(benchmark, language).test]
    clean = drop_contaminated(distinct, tested, language)
    annotated = [passage for passage in clean if passage.entities]
    usable = sample(annotated, config.size, config.seed)
    held_out = round(len(usable) * config.validation_fraction)
    splits = {"train": usable[held_out:], "validation": usable[:held_out]}
    if not splits["train"]:
        raise UserError("section dataset: no passage is left to train on; raise `size` or lower `validation_fraction`")
    counts = {
        "passages_read": len(source.passages),
        **source.counts,
        "merged_duplicates": len(source.passages) - len(distinct),
        "dropped_contaminated": len(distinct) - len(clean),
        "dropped_without_entities": len(clean) - len(annotated),
    }
    return splits, counts


class LengthFitter:
    """Makes rows of at most `max_length` tokens, and counts what that took. Without a limit rows stay as they are."""

    def __init__(self, max_length: int | None, count_tokens: CountTokens | None, make_row: Callable[..., Row]):
        self.max_length, self.count_tokens, self.make_row = max_length, count_tokens, make_row
        self.lengths: list[int] = []
        self.counts = dict.fromkeys(("split_too_long", "dropped_too_long", "dropped_examples"), 0)

    def _length(self, row: Row) -> int:
        return self.count_tokens(row["prompt"] + row["completion"])

    def _fits_alone(self, passage: Passage) -> bool:
        """Whether a passage fits without examples; one without entities makes no row."""
        return not passage.entities or self._length(self.make_row(passage, [])) <= self.max_length

    def cut_texts(self, passages: list[Passage]) -> list[Passage]:
        """Passages that fit without examples: those that do not are cut at the ends of sentences."""
        if not self.max_length:
            return passages
        kept = []
        for passage in tqdm(passages, desc="Measuring texts", disable=len(passages) < 1000):
            if self._fits_alone(passage):
                kept.append(passage)
                continue
            parts = split_at_sentence_end(passage, self._fits_alone)
            fitting = [part for part in parts if part.entities and self._fits_alone(part)]
            self.counts["split_too_long"] += bool(fitting)
            self.counts["dropped_too_long"] += sum(not self._fits_alone(part) for part in parts)
            kept += fitting
        return kept

    def fit(self, passage: Passage, examples: list[Example]) -> Row:
        """The row with as many of the examples, from the first on, as fit."""
        row = self.make_row(passage, examples)
        if self.max_length:
            while (length := self._length(row)) > self.max_length and examples:
                examples = examples[:-1]
                row = self.make_row(passage, examples)
                self.counts["dropped_examples"] += 1
            self.lengths.append(length)
        return row


def _row(passage: Passage, examples: list[Example], negatives: NegativeTypes, wording: Wording, seed: int) -> Row:
    rng = random.Random(f"{seed}:{passage.id}")
    types = passage.types + negatives.sample(passage, rng)
    rng.shuffle(types)
    prompt, completion = training_conversation(passage, types, [example.passage for example in examples], wording)
    return {
        "id": passage.id,
        "prompt": prompt,
        "completion": completion,
        "example_ids": [example.passage.id for example in examples],
        # The last digits of a vector depend on the batch it was encoded in, and would make equal builds differ.
        "example_scores": [round(example.score, 4) for example in examples],
    }


def _to_dataset(rows: Iterator[Row]) -> Dataset:
    """What `Dataset.from_list` gives, in half the time, as that checks each value before Arrow does.

    Rows are moved to Arrow a thousand at a time: as Python objects they take much more memory.
    """
    schema = FEATURES.arrow_schema
    batches = iter(lambda: list(islice(rows, 1000)), [])
    return Dataset(pa.Table.from_batches([pa.RecordBatch.from_pylist(batch, schema) for batch in batches], schema))


def _total(dataset: Dataset, column: str) -> int:
    """How many items the lists of a column have together."""
    return pc.sum(pc.list_value_length(dataset.data[column])).as_py()


def summary(dataset: RADataset) -> str:
    """What a dry run shows: settings and counts, then the first conversation."""
    facts = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in dataset.facts.items())
    row = dataset.splits["train"][0]
    return f"{facts}\n\n{transcript(row['prompt'] + row['completion'])}"


def write(dataset: RADataset, folder: Path) -> None:
    """Write the folder, whole or not at all."""
    name = dataset.facts["recipe"]
    with new_folder(folder) as new:
        (new / name).mkdir()
        files = {}
        for split, part in dataset.splits.items():
            part.to_parquet(new / "rows.parquet")
            # `load_dataset` of a local folder caches by file name alone (datasets 5.2: rows of an earlier build come
            # back), so the name tells the content.
            digest = hashlib.sha256((new / "rows.parquet").read_bytes()).hexdigest()[:12]
            files[split] = f"{name}/{split}-{digest}.parquet"
            (new / "rows.parquet").rename(new / files[split])
        facts = json.dumps(dataset.facts, indent=2, ensure_ascii=False)
        (new / name / "ra_it.json").write_text(facts + "\n", encoding="utf-8")
        rows = dataset.splits["train"].select(range(min(ROWS_SHOWN, len(dataset.splits["train"])))).to_list()
        card = dataset_card(dataset.facts, rows, files)
        (new / "README.md").write_text(card, encoding="utf-8")


def push_to_hub(folder: Path, name: str, repo_id: str) -> str:
    """Push the config `name` of a folder; other configs of the repo, rows and card, stay as they are.

    Raises:
        UserError: the push failed.
    """
    files = {f"{name}/{file.name}": file for file in sorted((folder / name).iterdir())}
    keep = f"the dataset is kept in {folder}; a re-run uploads only what is missing"
    card = (folder / "README.md").read_text(encoding="utf-8")
    return repos.push("dataset", repo_id, files, card, f"Config {name}", keep, name)
