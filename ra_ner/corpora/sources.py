"""Reading corpora: a file or a Hub dataset becomes rows, and rows become passages.

The form of a corpus is recognised by its rows (`formats.py`); its reader turns each row into a passage.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pyarrow.parquet
from datasets import ClassLabel, Dataset
from datasets.exceptions import DatasetsError
from huggingface_hub import HfApi, hf_hub_download

from ..errors import UserError
from ..hub.repos import hub_errors, load_dataset_at
from ..passage import Passage, to_passage
from ..paths import resource
from .formats import CORPUS, SKIPPED, TAG_COLUMNS, Format, is_tagged, recognise, tagged_rows, unknown_form

logger = logging.getLogger(__name__)

SHOWN = 3  # malformed rows that are shown
PARQUET_COPY = "refs/convert/parquet"  # branch where the Hub keeps the output of a loading script
_IN_PARQUET_COPY = re.compile(r"[^/]+/[^/]+/\d+\.parquet")

LABEL_FILE = "dataset/label.json"

BUILT_IN = {name: resource(f"data/sample/{name.removeprefix('sample_')}.jsonl") for name in ("sample_en", "sample_zh")}


@dataclass(frozen=True)
class LoadedCorpus:
    """What was read.

    Attributes:
        commit: of a Hub dataset, None for a file.
        counts: how many rows or mentions had which fault.
        license: as the Hub names it, None if it is unknown.
    """

    passages: list[Passage]
    commit: str | None
    counts: dict[str, int]
    license: str | None = None


def load_corpus(
    source: str, language: str, split: str = "train", revision: str | None = None, config: str | None = None
) -> LoadedCorpus:
    """Read a corpus in any form of `formats.FORMATS`.

    Malformed rows are skipped, and the first ones shown. A mention that is not in its text gets no offsets. Ids are
    taken from the source if every row has a distinct one, else they are its name and the row's number, from 0.

    Args:
        source: a file, a built-in sample (`sample_en`, `sample_zh`), or the id of a Hub dataset.
        split, revision, config: of a Hub dataset.

    Raises:
        UserError: the source can't be read, is in no known form, or has no passage or no entity.

    Example:
        >>> load_corpus("sample_en", "en").passages[0].types
    """
    path, commit, license = Path(source), None, None
    if not path.exists() and source in BUILT_IN:
        path = BUILT_IN[source]
    if path.is_dir():
        raise UserError(f"{source} is a folder; name a file in it")
    if path.is_file():
        rows, stem = _read_file(path), path.stem
    else:
        dataset, commit, license = _load_from_hub(source, split, revision, config)
        rows, stem = _dataset_rows(dataset, source), f"{source.rpartition('/')[2]}-{split}"
    if not rows:
        raise UserError(f"{source} is empty; a corpus needs at least one passage")
    form = recognise(rows, source)
    if form is CORPUS and commit is None and path.suffix == ".jsonl":
        return LoadedCorpus(read_corpus(path), None, {})
    counts: Counter[str] = Counter()
    passages = list(_read_rows(rows, form, language, source, stem, counts))
    if not passages:
        raise UserError(f"{source}: none of its {len(rows)} rows is a valid {form.name} row; see those shown above")
    if not any(passage.entities for passage in passages):
        raise UserError(f"{source}: no passage has an entity, so there is nothing to learn or to score")
    return LoadedCorpus(passages, commit, dict(counts), license)


def _read_rows(
    rows: list[object], form: Format, language: str, source: str, stem: str, counts: Counter[str]
) -> Iterator[Passage]:
    for number, (row, id_) in enumerate(zip(rows, _ids(rows, stem), strict=True), 1):
        row_counts: Counter[str] = Counter()
        try:
            passage = to_passage({"id": id_, **form.read(row, language, row_counts)})
        except UserError as error:
            raise UserError(f"{source}: row {number}: {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            counts[SKIPPED] += 1
            if counts[SKIPPED] <= SHOWN:
                # Only a ValueError has a message; the others mean that the row is built differently.
                reason = error if type(error) is ValueError else f"unlike {form.name} ({error!r})"
                logger.info(f"{source}: row {number} skipped: {reason}")
        else:
            counts.update(row_counts)
            yield passage


def _ids(rows: list[object], stem: str) -> list[str]:
    ids = [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str | int)]
    unique = list(dict.fromkeys(map(str, ids)))
    return unique if len(unique) == len(rows) else [f"{stem}-{number}" for number in range(len(rows))]


def _read_file(path: Path) -> list[object]:
    try:
        if path.suffix == ".parquet":
            return _dataset_rows(Dataset(pyarrow.parquet.read_table(path)))  # load_dataset caches by file name
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        raise UserError(f"{path}: can't be read ({error}); save it as UTF-8 text or Parquet") from None
    if not text.strip():
        return []
    # A tagged file may begin with a bracket as well: as a token.
    if re.match(r"\s*(\[\s*)?\{\s*[\"}]", text):
        return _json_rows(text, path)
    lines = text.split("\n")
    if is_tagged(lines):
        return list(tagged_rows(lines, path))
    raise unknown_form(str(path))


def _json_rows(text: str, path: Path) -> list[object]:
    """The objects of a JSON array, or of JSON Lines."""
    is_array = text.lstrip().startswith("[")
    documents = [text] if is_array else text.split("\n")  # not splitlines: a string may hold U+2028
    rows = []
    for number, document in enumerate(documents, 1):
        if document.strip():
            try:
                rows.append(json.loads(document))
            except (ValueError, RecursionError) as error:
                line, reason = number + getattr(error, "lineno", 1) - 1, getattr(error, "msg", error)
                raise UserError(
                    f"{path}: line {line}: not JSON ({reason}); a JSON array or an object a line is needed"
                ) from None
    return rows[0] if is_array else rows


def _dataset_rows(dataset: Dataset, hub_id: str | None = None) -> list[object]:
    """The rows of a dataset, with label names instead of numbers."""
    rows = dataset.to_list()
    for column in TAG_COLUMNS:
        label = getattr(dataset.features.get(column), "feature", None)
        names = {}
        if isinstance(label, ClassLabel):
            names = dict(enumerate(label.names))
        elif hub_id and label and label.dtype.startswith("int"):
            names = _label_file(hub_id)
        if names:
            for row in rows:
                row[column] = [names.get(tag, tag) for tag in row[column] or []]
    return rows


def _load_from_hub(
    source: str, split: str, revision: str | None, config: str | None
) -> tuple[Dataset, str, str | None]:
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
    try:
        return {number: name for name, number in json.loads(Path(file).read_text(encoding="utf-8")).items()}
    except (ValueError, AttributeError):
        raise UserError(f"{LABEL_FILE} of dataset {source!r} is not a JSON object of names and numbers") from None


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


def read_corpus(path: str | Path) -> list[Passage]:
    """Read a JSON Lines corpus: `{"id", "text", "entities": [{"text", "type", "start", "end"}]}` on each line.

    Raises:
        UserError: the file is missing, a line is not such a passage, offsets do not match the mention, an id is
            repeated, or the corpus has no passage or no entity.
    """
    path = Path(path)
    passages: dict[str, Passage] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    passage = to_passage(json.loads(line))
                except (ValueError, RecursionError) as error:
                    raise UserError(f"{path}: line {number}: {error}") from None
                if passage.id in passages:
                    raise UserError(f"{path}: line {number}: id {passage.id!r} is repeated; ids must be unique")
                passages[passage.id] = passage
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't be read as a JSON Lines corpus ({error})") from None
    if not passages:
        raise UserError(f"{path}: no passages; each line needs a JSON object")
    if not any(passage.entities for passage in passages.values()):
        raise UserError(f"{path}: no passage has an entity, so there is nothing to learn or to score")
    return list(passages.values())
