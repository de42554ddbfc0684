"""Fetching from and pushing to the Hub. Each failure is a one-line error that says what to do; local files are kept."""

import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from json import JSONDecodeError
from pathlib import Path

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    hf_hub_download,
    is_offline_mode,
    snapshot_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx

from ..errors import UserError, one_line
from ..foreign_files import read_json
from ..redaction import redact
from .card import merge

# Files that a model is loaded from. Weights in other formats, such as pickles, are never fetched.
TOKENIZER_FILES = ["*.json", "*.jinja", "*.model", "*.txt"]
MODEL_FILES = [*TOKENIZER_FILES, "*.safetensors"]
SAME_WEIGHTS = ["consolidated*", "original/*"]  # second copies in the repos of Mistral and Llama

# What `ra-ner calibrate` writes beside a model; it holds for the weights that were asked alone.
CALIBRATIONS = ("calibration.json", "on_demand.json")

# Files of a folder that do not change what its model answers to a prompt.
DESCRIPTIONS = {"README.md", "training_curves.png", *CALIBRATIONS}

# What ra_it.json of a model says, among other facts.
FACTS = dict.fromkeys(("recipe", "language", "wording", "base", "base_revision"), str) | {"config": dict}

DATA_FILES = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow", ".txt")  # that load_dataset finds by itself
_LOG_IN = "log in with `hf auth login` or set the environment variable HF_TOKEN"


def _explain(error: BaseException) -> str | None:
    """What went wrong and what to do, None if it is not a failure of the Hub."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    said = one_line(redact(error.server_message or ""))[:500] if status else ""  # such as what is wrong in a card
    if isinstance(error, GatedRepoError):
        return "it is gated: ask for access on its page on the Hub, then run this again"
    if isinstance(error, RepositoryNotFoundError):
        return f"there is no such repo, or it is private and the token can't see it: check the id, or {_LOG_IN}"
    if isinstance(error, RevisionNotFoundError):
        return "it has no such revision: name a branch, a tag or a full commit"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so nothing is fetched or pushed: unset it"
    if isinstance(error, LocalEntryNotFoundError) and is_offline_mode():
        return "HF_HUB_OFFLINE is set, and there is no copy in the cache: unset it"
    if isinstance(error, LocalEntryNotFoundError):
        return "the Hub could not be reached and there is no copy in the cache: run this again later"
    if isinstance(error, EntryNotFoundError):
        return "a file that is needed is not in it"
    if isinstance(error, HFValidationError):
        return "that is neither a folder that exists nor a repo id (namespace/name)"
    if status == 401:
        return f"the token is wrong or expired: {_LOG_IN}"
    if status == 403:
        reason = said and f" ({said})"
        return f"the token may not write there{reason}: use your own namespace, or a token with write access"
    if status == 412:
        return "somebody else has pushed in the meantime: run this again"
    if status == 429:
        return "the Hub limits how often it is asked (429): wait a few minutes, then run this again"
    if status is not None and status < 500:
        return f"the Hub refuses it ({status}): {said or 'it gives no reason'}"
    if status is not None:
        return f"the Hub answered with an error ({status}): run this again later"
    if isinstance(error, JSONDecodeError):  # huggingface_hub 2.4 takes the form of an answer for granted
        return "the Hub's answer can't be read: run this again later"
    if isinstance(error, httpx.HTTPError | ConnectionError):
        return "the connection broke off: run this again"
    # A failed upload is a RuntimeError around its cause; load_dataset puts a FileNotFoundError around it.
    cause = error.__cause__ or error.__context__
    return _explain(cause) if cause else None


@contextmanager
def hub_errors(what: str, on_failure: str = "") -> Iterator[None]:
    """Turn any failure of the Hub into a `UserError`.

    Args:
        what: what could not be done.
        on_failure: what is kept, and how to go on.
    """
    try:
        yield
    except Exception as error:
        reason = _explain(error)
        if reason is None:
            raise
        raise UserError(f"{what}: {reason}{on_failure and f'; {on_failure}'}") from None


@dataclass(frozen=True)
class LocalModel:
    """A model or adapter on this machine. `revision` is the commit on the Hub; of a local folder it is a digest."""

    path: Path
    revision: str

    @property
    def adapter_config(self) -> dict | None:
        """The adapter's config, None for a full model.

        Raises:
            UserError: it can't be read.
        """
        file = self.path / "adapter_config.json"
        return read_json(file, base_model_name_or_path=str) if file.is_file() else None

    @property
    def facts(self) -> dict:
        """The content of ra_it.json, which says how it was trained; empty for models of others.

        Raises:
            UserError: it can't be read.
        """
        file = self.path / "ra_it.json"
        return read_json(file, **FACTS) if file.is_file() else {}


def fetch_model(name: str, revision: str | None = None, files: list[str] = MODEL_FILES) -> LocalModel:
    """Find a local folder, or fetch a Hub repo at a revision.

    Args:
        name: folder or Hub id.
        files: patterns of files to fetch; by default the whole model.

    Raises:
        UserError: it does not exist, can't be fetched, or has no safetensors although the whole model is wanted.

    Example:
        >>> fetch_model("Qwen/Qwen3-8B", files=TOKENIZER_FILES).path
    """
    if os.path.isdir(name):  # of a Path it would raise for some names
        local = LocalModel(Path(name), _digest(Path(name)))
    else:
        with hub_errors(f"model {name!r} is no folder in {Path.cwd()}, and can't be fetched"):
            path = Path(snapshot_download(name, revision=revision, allow_patterns=files, ignore_patterns=SAME_WEIGHTS))
        local = LocalModel(path, path.name)  # the folder of a snapshot is named after its commit
    if files == MODEL_FILES:
        _check_weights(name, local.path)
    return local


CONFIGS = ("config.json", "adapter_config.json", "modules.json")  # of a model, an adapter and an encoder


def _check_weights(name: str, folder: Path) -> None:
    """Check that the files which the libraries read weights from are safetensors.

    They look for fixed names: in the folder and, of a sentence-transformers model, in those of its modules. Where the
    safetensors are missing they take a pickle.

    Raises:
        UserError: there are no safetensors under these names, or pickles alone, or a shard is missing.
    """
    modules = read_json(folder / "modules.json", list) if (folder / "modules.json").is_file() else []
    paths = [module.get("path") if isinstance(module, dict) else None for module in modules]
    if not all(isinstance(path, str) for path in paths):
        raise UserError(f"{folder / 'modules.json'}: each module needs a `path`")
    parts = {folder, *(folder / path for path in paths)}
    safe = {part for part in parts if _has_safetensors(name, part)}
    if not safe and not any((folder / file).is_file() for file in CONFIGS):
        inside = f"; name {folder / 'adapter'}" if (folder / "adapter").is_dir() else ""
        raise UserError(f"{name!r} is no model: it has neither config.json nor adapter_config.json{inside}")
    if not safe or any(file for part in parts - safe for file in part.glob("*model*.bin")):
        raise UserError(
            f"model {name!r} has no weights in safetensors, and pickles are not read: convert them, or name the "
            "revision of a pull request that does (https://huggingface.co/spaces/safetensors/convert opens one)"
        )


def _has_safetensors(name: str, folder: Path) -> bool:
    """Whether a folder has the file that weights are read from, or an index of such files."""
    if (folder / "adapter_config.json").is_file():
        return (folder / "adapter_model.safetensors").is_file()
    index = folder / "model.safetensors.index.json"
    named = read_json(index, weight_map=dict)["weight_map"] if index.is_file() else {}
    shards = set(map(str, named.values()))
    for shard in shards:
        if Path(shard).suffix != ".safetensors" or not (folder / shard).is_file():
            raise UserError(f"model {name!r}: {index.name} names {shard}, which is missing or no safetensors file")
    return bool(shards) or (folder / "model.safetensors").is_file()


def _digest(folder: Path) -> str:
    """A digest of the relative paths and contents of all files below a folder: copies of a model are the same model.

    What a folder is described by does not count, nor do hidden files.
    """
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        if file.is_file() and str(path) not in DESCRIPTIONS and not any(part.startswith(".") for part in path.parts):
            stat = file.stat()
            digest.update(os.fsencode(path.as_posix()) + _content_digest(file, stat.st_size, stat.st_mtime_ns))
    return digest.hexdigest()[:16]


@cache
def _content_digest(file: Path, size: int, time: int) -> bytes:
    """Reads each file once while its size and time stay the same: several adapters may share a base."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def fetch_dataset_facts(source: str, config: str, revision: str | None, hint: str) -> tuple[dict, str]:
    """The content of ra_it.json of a config of an RA-IT dataset, and its commit (a digest for a local folder).

    Args:
        hint: how to make the dataset, for the error if it does not exist.

    Raises:
        UserError: there is no such dataset or config, or it can't be fetched.
    """
    missing = f"{source} holds no RA-IT dataset {config!r}; {hint}"
    if Path(source).is_dir():
        file = Path(source) / config / "ra_it.json"
        if not file.is_file():
            raise UserError(missing)
        return _dataset_facts(file), _digest(file.parent)
    with hub_errors(f"dataset {source!r} can't be fetched"):
        try:
            file = Path(hf_hub_download(source, f"{config}/ra_it.json", repo_type="dataset", revision=revision))
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            raise UserError(missing) from None
    return _dataset_facts(file), file.parents[1].name


def _dataset_facts(file: Path) -> dict:
    facts = read_json(file, recipe=str, language=str)
    if "config" in facts:  # builds of an older version have none
        read_json(file, config=dict, corpus=dict)
    return facts


def load_dataset_at(source: str, commit: str, config: str | None = None, split: str | None = None):
    """Load a Hub dataset at a commit: a Dataset if a split is named, else a DatasetDict.

    Raises:
        UserError: the Hub failed.
        DatasetsError, FileNotFoundError, ValueError: no such config or split, or broken files.
    """
    from datasets import load_dataset_builder

    with hub_errors(f"dataset {source!r} can't be read"):
        builder = load_dataset_builder(source, config, revision=commit)
        # Where the Hub fails, datasets 5.2 silently takes whatever commit it has in its cache.
        if builder.hash != commit:
            raise UserError(f"dataset {source!r} can't be read at {commit}: the Hub failed; run this again later")
        builder.download_and_prepare()
        return builder.as_dataset(split)


def prepare_push(repo_type: str, repo_id: str | None, private: bool, flag: str) -> None:
    """Create the repo before the work begins, so that a wrong token is noticed at once.

    Raises:
        UserError: no id was given, or the repo can't be made or written to.
    """
    if not repo_id or "/" not in repo_id:  # the Hub creates a repo without a namespace, but finds none by that name
        raise UserError(f"`push_to_hub` needs to know where to: give `{flag}: namespace/name`")
    with hub_errors(f"{repo_type} repo {repo_id!r} can't be made"):
        sdk = "gradio" if repo_type == "space" else None
        try:
            HfApi().create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True, space_sdk=sdk)
            HfApi().auth_check(repo_id, repo_type=repo_type, write=True)  # one that exists may be read-only
        except (KeyError, ValueError) as error:  # huggingface_hub 2.4 takes the form of an answer for granted
            if _explain(error):
                raise
            raise UserError(f"{repo_type} repo {repo_id!r} can't be made: the Hub's answer can't be read") from None


def check_configs(repo_id: str, name: str, suffix: str) -> None:
    """Check that config `name` can be pushed to a dataset repo without hiding or replacing other data.

    Args:
        suffix: of the files of the config: RA-IT datasets are in Parquet, predictions in JSON Lines.

    Raises:
        UserError: `load_dataset` would no longer find what is there, or the Hub failed.
    """
    with hub_errors(f"dataset repo {repo_id!r} can't be read"):
        info = HfApi().dataset_info(repo_id)
    configs = info.card_data and info.card_data.get("configs")
    if not configs and any(Path(file.rfilename).suffix in DATA_FILES for file in info.siblings):
        raise UserError(
            f"{repo_id} holds data without `configs:` in its card, which load_dataset would no longer find: add them, "
            "or name another `hub_dataset_id`"
        )
    for config in configs or []:
        if config.get("config_name") == name and suffix not in str(config.get("data_files")):
            raise UserError(f"{repo_id} has a config {name} with other data: name another `hub_dataset_id`")


def push(
    repo_type: str,
    repo_id: str,
    files: dict[str, Path],
    card: str,
    message: str,
    on_failure: str,
    *replaced: str,
    card_keys: Collection[str] = (),
) -> str:
    """Push files and a card in one commit, and return its id.

    The card is merged into the one in the repo. A second run after a failure uploads only what is missing.

    Args:
        files: path in the repo -> file on this machine.
        card: README.md with metadata, see `hub.card.merge`.
        on_failure: what is kept if the push fails, and how to go on.
        replaced: files and folders of the repo: what of them is not in `files` is deleted.
        card_keys: keys of the metadata of the card there that are deleted even if `card` lacks them.
    """
    api = HfApi()
    with hub_errors(f"push to {repo_type} {repo_id!r} failed", on_failure):
        head = api.repo_info(repo_id, repo_type=repo_type)
        there = {sibling.rfilename for sibling in head.siblings or []}
        if "README.md" in there:
            readme = hf_hub_download(repo_id, "README.md", repo_type=repo_type, revision=head.sha)
            try:
                card = merge(Path(readme).read_text(encoding="utf-8-sig"), card, card_keys)
            except (UserError, UnicodeDecodeError) as error:
                reason = error if isinstance(error, UserError) else "its README.md is not in UTF-8: convert it"
                raise UserError(f"push to {repo_type} {repo_id!r} failed: {reason}; {on_failure}") from None
        operations = [CommitOperationAdd(path, str(file)) for path, file in files.items()]
        operations.append(CommitOperationAdd("README.md", card.encode()))
        stale = {path for path in there if f"{path}/".startswith(tuple(f"{name}/" for name in replaced))} - files.keys()
        operations += [CommitOperationDelete(path) for path in sorted(stale)]
        commit = api.create_commit(
            repo_id, operations, repo_type=repo_type, commit_message=message, parent_commit=head.sha
        )
    return commit.oid
