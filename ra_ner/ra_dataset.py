"""An RA-IT dataset: passages with retrieved examples as conversations, in a folder laid out like a Hub dataset repo.

<folder>/README.md                        the card; its `configs:` tell `load_dataset` where the rows are
<folder>/<config>/train-<digest>.parquet  and validation
<folder>/<config>/ra_it.json              how the rows were made
"""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Features, List, Value

from . import __version__, cards, hub
from .benchmarks import load_benchmark
from .conversation import Message, NegativeTypes, Wording, find_wording, training_conversation
from .corpus import Passage, fingerprint, merge_duplicates, sample
from .errors import UserError
from .files import new_folder
from .leakage import without_leaks
from .readers import Source
from .recipe import WITHOUT_ENCODER, DatasetConfig
from .retrieval.select import Example, Retriever

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


def build(
    source: Source, language: str, name: str, config: DatasetConfig, count_tokens: CountTokens | None = None
) -> RADataset:
    """Make the rows of the recipe called `name`. The same passages and keys give the same rows.

    The split comes first; the examples of both splits come from the train split, never the passage itself nor one
    with the same text. A passage's negative types and turn order depend on the seed and its id alone, so that the
    vanilla twin of a recipe (`strategy: none`) has the same rows in the same order.

    Args:
        count_tokens: the length of a conversation as it will be trained; needed for `max_length`. Examples of a row
            that is longer are dropped, the last one first; a row that is longer without any is left out.

    Raises:
        UserError: nothing would be left to train on, or a key does not fit.
    """

    wording = find_wording(config.wording, language)
    if config.strategy not in WITHOUT_ENCODER and not config.encoder:
        raise UserError(f"section dataset: strategy {config.strategy} needs `encoder`, a sentence-transformers model")
    passages = source.passages
    distinct = merge_duplicates(passages)
    tested = [passage for benchmark in config.exclude for passage in load_benchmark(benchmark, language).test]
    clean = without_leaks(distinct, tested, language)
    annotated = [passage for passage in clean if passage.entities]
    usable = sample(annotated, config.size, config.seed)
    held_out = round(len(usable) * config.validation_fraction)
    splits = {"train": usable[held_out:], "validation": usable[:held_out]}
    if not splits["train"]:
        raise UserError("section dataset: no passage is left to train on; raise `size` or lower `validation_fraction`")

    encoder = hub.fetch_model(config.encoder) if config.strategy not in WITHOUT_ENCODER else None
    examples = Retriever(splits["train"], config, language, encoder).examples(usable)
    examples_of = dict(zip((passage.id for passage in usable), examples, strict=True))
    negatives = NegativeTypes(splits["train"], config.negative_probability)
    rows, shortened, too_long = {}, 0, 0
    for split, part in splits.items():
        made = _Rows()
        for passage in part:
            chosen = examples_of[passage.id]
            row = _row(passage, chosen, negatives, wording, config.seed)
            while config.max_length and count_tokens(row["prompt"] + row["completion"]) > config.max_length:
                if not chosen:
                    too_long += 1
                    break
                shortened += 1
                chosen = chosen[:-1]
                row = _row(passage, chosen, negatives, wording, config.seed)
            else:
                made.append(row)
        if dataset := made.dataset():
            rows[split] = dataset
    if "train" not in rows:
        raise UserError(f"section dataset: no row is within `max_length: {config.max_length}`; raise it")
    facts = {
        "ra_ner": __version__,
        "recipe": name,
        "language": language,
        **vars(config),
        "k": config.k if config.strategy != "none" else 0,
        "encoder_revision": encoder and encoder.revision,
        "corpus_commit": source.commit,
        "corpus_fingerprint": fingerprint(passages),
        "passages_read": len(passages),
        **source.counts,
        "duplicates_merged": len(passages) - len(distinct),
        "in_a_benchmark_left_out": len(distinct) - len(clean),
        "without_entities_left_out": len(clean) - len(annotated),
        "examples_dropped_to_fit": shortened,
        "too_long_left_out": too_long,
        "rows": {split: len(part) for split, part in rows.items()},
        "examples": {split: _total(part, "example_ids") for split, part in rows.items()},
        "questions": {split: (_total(part, "completion") + len(part)) // 2 for split, part in rows.items()},
    }
    return RADataset(DatasetDict(rows), facts)


def _row(
    passage: Passage, examples: list[Example], negatives: NegativeTypes, wording: Wording, seed: int
) -> dict[str, object]:
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


class _Rows:
    """Rows, moved to Arrow a thousand at a time: as Python objects they take much more memory."""

    def __init__(self) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.waiting: list[dict] = []

    def append(self, row: dict) -> None:
        self.waiting.append(row)
        if len(self.waiting) == 1000:
            self._pack()

    def _pack(self) -> None:
        self.batches.append(pa.RecordBatch.from_pylist(self.waiting, schema=FEATURES.arrow_schema))
        self.waiting.clear()

    def dataset(self) -> Dataset:
        """What `Dataset.from_list` gives, in half the time: that checks each value before Arrow does."""
        self._pack()
        return Dataset(pa.Table.from_batches(self.batches))


def _total(dataset: Dataset, column: str) -> int:
    """How many items the lists of a column have together."""
    return pc.sum(pc.list_value_length(dataset.data[column])).as_py()


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
        card = cards.dataset_card(dataset.facts, dataset.splits["train"][0], files)
        (new / "README.md").write_text(card, encoding="utf-8")


def push_to_hub(folder: Path, name: str, repo_id: str) -> str:
    """Push the config `name` of a folder; other configs of the repo, rows and card, stay as they are.

    Raises:
        UserError: the push failed.
    """
    files = {f"{name}/{file.name}": file for file in sorted((folder / name).iterdir())}
    keep = f"the dataset is kept in {folder}; a re-run uploads only what is missing"
    card = (folder / "README.md").read_text(encoding="utf-8")
    return hub.push("dataset", repo_id, files, card, f"Config {name}", keep, name)
