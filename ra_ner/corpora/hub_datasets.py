"""Datasets of the Hub as rows: at a commit, with label names, and without running loading scripts."""

import re
from pathlib import Path

import pyarrow
import pyarrow.parquet
from datasets import ClassLabel, Dataset, Value
from datasets.exceptions import DatasetsError
from huggingface_hub import HfApi, hf_hub_download

from ..errors import UserError
from ..foreign_files import read_json
from ..hub.repos import hub_errors, load_dataset_at

PARQUET_COPY = "refs/convert/parquet"  # branch where the Hub keeps the output of a loading script
_IN_PARQUET_COPY = re.compile(r"[^/]+/[^/]+/\d+\.parquet")

# The datasets of tner have numbers in `tags`, which a separate file names.
TAG_COLUMNS = ("ner_tags", "tags")
LABEL_FILE = "dataset/label.json"


def dataset_rows(dataset: Dataset, hub_id: str | None = None) -> list[object]:
    """The rows of a dataset, with label names instead of numbers."""
    rows = dataset.to_list()
    for column in dataset.column_names:
        feature = dataset.features[column]
        label = getattr(feature, "feature", None)
        if isinstance(feature, ClassLabel):  # -1 where there is no label
            for row in rows:
                row[column] = feature.int2str(row[column]) if row[column] in range(feature.num_classes) else None
        elif hub_id and column in TAG_COLUMNS and isinstance(label, Value) and label.dtype.startswith("int"):
            names = _label_file(hub_id)
            for row in rows:
                row[column] = [names.get(tag, tag) for tag in row[column] or []]
        elif _has_labels(feature):
            for row in rows:
                row[column] = _named(row[column], feature)
    return rows


def _has_labels(feature: object) -> bool:
    parts = feature.values() if isinstance(feature, dict) else [getattr(feature, "feature", None)]
    return isinstance(feature, ClassLabel) or any(map(_has_labels, filter(None, parts)))


def _named(value: object, feature: object) -> object:
    """A list or an object with the names of its labels. Numbers without a name stay."""
    if isinstance(feature, ClassLabel):
        return feature.names[value] if value in range(feature.num_classes) else value
    if part := getattr(feature, "feature", None):
        return [_named(item, part) for item in value or []]
    if isinstance(feature, dict) and value is not None:
        return {key: _named(value[key], part) for key, part in feature.items()}
    return value


def load_from_hub(source: str, split: str, revision: str | None, config: str | None) -> tuple[Dataset, str, str | None]:
    """A split of a Hub dataset, its commit, and the license that its card names."""
    with hub_errors(f"{source!r} is not a file in {Path.cwd()} or beside the recipe, and not readable on the Hub"):
        info = HfApi().dataset_info(source, revision=revision)
    license = info.card_data.license if info.card_data else None
    files = [sibling.rfilename for sibling in info.siblings or []]
    if f"{source.rpartition('/')[2]}.py" in files:
        if revision:
            raise UserError(
                f"dataset {source!r} is a loading script at {revision}, which is not run; leave out the revision to "
                "read the Hub's Parquet copy"
            )
        with hub_errors(f"dataset {source!r} is a loading script, and its Parquet copy {PARQUET_COPY} can't be read"):
            info = HfApi().dataset_info(source, revision=PARQUET_COPY)
        files = [sibling.rfilename for sibling in info.siblings or []]
    files = [file for file in files if file != ".gitattributes"]
    if files and all(map(_IN_PARQUET_COPY.fullmatch, files)):
        return _read_parquet_copy(source, info.sha, files, split, config), info.sha, license
    return load_split(source, split, info.sha, config), info.sha, license


def _label_file(source: str) -> dict[int, str]:
    """Tag names by number, from the file where the datasets of tner keep them; empty if there is none.

    It is read from the main branch, because the Hub's Parquet copy does not have it.
    """
    with hub_errors(f"{LABEL_FILE} of dataset {source!r} can't be read"):
        if not HfApi().file_exists(source, LABEL_FILE, repo_type="dataset"):
            return {}
        file = hf_hub_download(source, LABEL_FILE, repo_type="dataset")
    numbers = read_json(Path(file), None)
    if not isinstance(numbers, dict) or not all(isinstance(number, int) for number in numbers.values()):
        raise UserError(f"{LABEL_FILE} of dataset {source!r} is not a JSON object of names and numbers")
    return {number: name for name, number in numbers.items()}


def load_split(source: str, split: str, commit: str, config: str | None) -> Dataset:
    try:
        return load_dataset_at(source, commit, config, split)
    except (DatasetsError, FileNotFoundError, ValueError) as error:  # no such split, several configs, broken files
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(
            f"split {split!r} of dataset {source!r} can't be read ({reason}); name another split or config, or "
            "download a file of it and name that"
        ) from None


def _read_parquet_copy(source: str, commit: str, files: list[str], split: str, config: str | None) -> Dataset:
    """A split from files named config/split/0000.parquet; load_dataset would mix all configs."""
    configs = sorted({file.split("/")[0] for file in files if "/" in file})
    if config is None and len(configs) > 1:
        raise UserError(f"dataset {source!r} has several configs; choose one of {', '.join(configs)}")
    wanted = sorted(file for file in files if file.startswith(f"{config or configs[0]}/{split}/"))
    if not wanted:
        splits = sorted({"/".join(file.split("/")[:2]) for file in files if "/" in file})
        raise UserError(f"dataset {source!r} has no {config or configs[0]}/{split}, only {', '.join(splits)}")
    with hub_errors(f"dataset {source!r} can't be read"):
        paths = [hf_hub_download(source, file, repo_type="dataset", revision=commit) for file in wanted]
    return Dataset(pyarrow.concat_tables([pyarrow.parquet.read_table(path) for path in paths]))
