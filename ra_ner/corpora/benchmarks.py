"""Loading benchmarks: a name of the table or files that the user has become passages and the types they are asked."""

import difflib
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ..errors import UserError
from ..passage import Passage
from .benchmark_files import find_parts
from .benchmark_table import BENCHMARKS, CATCH_ALL, BenchmarkSpec
from .formats import NER_READING, Reading
from .label_words import LABELS_FILE, apply_words, label_key, read_words
from .sources import LoadedCorpus, UnlabelledError, load_corpus

logger = logging.getLogger(__name__)

TAG_NAMES = "label.json"  # beside files of the tner datasets, whose tags are numbers
Asked = dict[str, list[str]]  # id of a passage -> the types that its file asks


@dataclass(frozen=True)
class Benchmark:
    """A loaded benchmark.

    Attributes:
        train: passages for in-domain examples; may be empty.
        types: the label set that every passage is asked for, None for open types.
        labels: name of the label set, since its wording changes scores by points: `ra_ner`, `uniner` or `release`
            (benchmark_table.py), `labels.json` (beside the user's files), `file` (as the files write them), or `open`.
        asked: the questions of a file of questions, by id of the passage; they take the place of `types`.
        labels_of: words -> the labels that the files have for them.
        not_asked: words of the label set that no passage has an entity of.
        tested: name of the file, or of the split, that the test passages are from.
        counts: how many of its rows or mentions had which fault, see `LoadedCorpus`.
    """

    name: str
    test: list[Passage]
    train: list[Passage]
    types: list[str] | None
    labels: str
    asked: Asked | None = None
    labels_of: Mapping[str, frozenset[str]] = field(default_factory=dict)
    not_asked: tuple[str, ...] = ()
    tested: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Part:
    """A part of a benchmark as its files have it."""

    passages: list[Passage]
    asked: Asked
    name: str
    counts: Mapping[str, int]


def load_benchmark(
    argument: str, language: str, words: str | None = None, check: bool = True, reading: Reading = NER_READING
) -> Benchmark:
    """Load a benchmark.

    Args:
        argument: a name of the table; NAME=PATH for files that you have, where NAME may be new; or a path. A path is
            one test file, or a folder of files named as they are published: a test part, or else a dev part; perhaps a
            train part for in-domain examples. `labels.json` in the folder maps labels to the words they are asked by.
            Files are in any form that `load_corpus` reads. A file of questions is asked its own questions.
        words: the label set: `ra_ner`, `uniner`, `release`, or `file` (the words of labels.json, else the types as the
            files write them). None: labels.json if there is one; the questions of a file of questions; `ra_ner` for a
            name of the table; else types are open: they are asked as written.
        check: refuse files that look misread, as `load_corpus` does.
        reading: of the task.

    Raises:
        UserError: there is no such benchmark, it is in another language, it has no such label set, or a label has no
            words.

    Example:
        >>> load_benchmark("mine=my_test.conll", "en").types is None
        True
    """
    name, path = _parse(argument)
    spec = BENCHMARKS.get(name, BenchmarkSpec(language))
    if spec.language != language:
        raise UserError(f"benchmark {name} is in {spec.language}, the recipe's language is {language}")
    parts = _read(name, spec, path, partial(load_corpus, language=language, check=check, reading=reading))
    test, train = parts["test"], parts.get("train")
    has_own_types = bool(test.asked or reading.finish)
    label_set, words_of = _label_words(name, spec, path, words, has_own_types)
    labels_of = _labels_of(parts.values(), words_of)
    if words_of:
        _check_words(name, label_set, labels_of, words_of)
    types, not_asked = _types(
        spec, label_set, words_of, labels_of, is_whole=len({part.name for part in parts.values()}) > 1
    )
    if has_own_types:
        types, not_asked = None, []
    if not_asked:
        logger.info(f"benchmark {name}: not asked, because no passage has it: {', '.join(not_asked)}")
    asked = {
        id_: [word for label in labels if (word := words_of.get(label_key(label), label)) != CATCH_ALL]
        for id_, labels in test.asked.items()
    }
    tested = apply_words(test.passages, words_of)
    trained = apply_words(train.passages, words_of) if train else []
    return Benchmark(
        name,
        reading.finished(tested, tested + trained),
        reading.finished(trained, tested + trained),
        types,
        label_set,
        asked or None,
        labels_of,
        tuple(not_asked),
        test.name,
        test.counts,
    )


def _parse(argument: str) -> tuple[str, Path | None]:
    """The name and the path of an argument; a path alone is its own name."""
    name, _, path = argument.partition("=")
    if path:
        return name, Path(path)
    if argument in BENCHMARKS:
        return argument, None
    if Path(argument).exists():
        return argument, Path(argument)
    raise _unknown(argument)


def _unknown(name: str) -> UserError:
    near = difflib.get_close_matches(Path(name).name, BENCHMARKS, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    return UserError(
        f"unknown benchmark {name}{hint} Known are {', '.join(BENCHMARKS)}; files and folders with a file test or dev "
        f"(looked in {Path.cwd()} and beside the recipe)"
    )


# Reading the parts


def _read(name: str, spec: BenchmarkSpec, path: Path | None, load: Callable[..., LoadedCorpus]) -> dict[str, _Part]:
    """The parts test, dev and train, as far as they are there. Without a labelled test part, dev takes its place."""
    if path is None and spec.test:
        files = {"test": [spec.test], "train": [spec.train]}
    elif path is None:
        if not spec.hub_id:
            raise UserError(
                f"benchmark {name} is not on the Hub: get its files and write {name}=PATH (`ra-ner benchmarks {name}` "
                "says where)"
            )
        splits = ("test", "train")
        return {split: _part([load(spec.hub_id, split=split, config=spec.hub_config)], split) for split in splits}
    elif path.is_file():
        files = {"test": [path]}
    else:
        files = find_parts(path, spec.names) if path.is_dir() else {}
    if not files.keys() & {"test", "dev"}:
        fault = "has no file with test or dev in its name" if path.is_dir() else "does not exist"
        raise UserError(f"benchmark {name}: {path} {fault} (looked in {Path.cwd()} and beside the recipe)")
    parts = {}
    for part, its_files in files.items():
        try:
            parts[part] = _from_files(its_files, load)
        except UnlabelledError as error:
            if (part == "test" and "dev" not in files) or (part == "dev" and "test" not in parts):
                raise _without_labels(error, its_files[0], spec) from None
            instead = f"{files['dev'][0].name} is asked instead" if part == "test" else "it is left out"
            logger.info(f"benchmark {name}: {error}; {instead}")
    parts["test"] = parts.get("test") or parts["dev"]
    return parts


def _without_labels(error: UserError, file: Path, spec: BenchmarkSpec) -> UserError:
    dev = find_parts(file.parent, spec.names).get("dev", [file])[0]
    return UserError(f"{error}: " + (f"name {dev}" if dev != file else "name a file that has them"))


def _from_files(files: list[Path], load: Callable[..., LoadedCorpus]) -> _Part:
    tags = files[0].with_name(TAG_NAMES)
    labels = str(tags) if tags.is_file() else None
    corpora = [load(str(file), labels=labels) for file in files]
    return _part(corpora, " and ".join(file.name for file in files))


def _part(corpora: list[LoadedCorpus], name: str) -> _Part:
    """One part of all that was read. Rows that ask about the same text become one passage."""
    ids = [passage.id for corpus in corpora for passage in corpus.passages]
    prefixes = [f"{number}-" if len(set(ids)) < len(ids) else "" for number in range(len(corpora))]
    passages, asked = [], {}
    for prefix, corpus in zip(prefixes, corpora, strict=True):
        passages += [replace(passage, id=prefix + passage.id) for passage in corpus.passages]
        asked |= {prefix + id_: types for id_, types in corpus.asked.items()}
    if asked:
        passages, asked = merge_questions(passages, asked)
    counts = sum((Counter(corpus.counts) for corpus in corpora), Counter())
    return _Part(passages, asked, name, dict(counts))


def merge_questions(passages: Iterable[Passage], asked: Asked) -> tuple[list[Passage], Asked]:
    """Merge rows that ask about the same text.

    A question that is asked again begins another passage with that text: the benchmark has it twice.

    Returns:
        the passages, each with the entities of all its rows, in their order; and the types that each is asked.
    """
    by_text: dict[str, list[str]] = defaultdict(list)
    merged: dict[str, Passage] = {}
    types: Asked = {}
    for row in passages:
        its_types = asked.get(row.id) or row.types
        fitting = (id_ for id_ in by_text[row.text] if not set(types[id_]) & set(its_types))
        if (id_ := next(fitting, None)) is None:
            by_text[row.text].append(row.id)
            merged[row.id], types[row.id] = row, list(its_types)
        else:
            merged[id_] = replace(merged[id_], entities=merged[id_].entities + row.entities)
            types[id_] += its_types
    return list(merged.values()), types


# The label set


def _label_words(
    name: str, spec: BenchmarkSpec, path: Path | None, words: str | None, has_own_types: bool
) -> tuple[str, Mapping[str, str]]:
    """The name of the label set, and its words by key of the label; no words if types are asked as they are written."""
    if words not in (None, "file"):
        if words not in spec.label_sets():
            raise UserError(f"benchmark {name} has no label set {words}; choose from {', '.join(spec.label_sets())}")
        return words, spec.words_of(words)
    if path and (file := (path if path.is_dir() else path.parent) / LABELS_FILE).is_file():
        return LABELS_FILE, read_words(file)
    if words == "file" or has_own_types:
        return "file", {}
    return ("ra_ner", spec.words_of("ra_ner")) if spec.words else ("open", {})


def _labels_of(parts: Iterable[_Part], words_of: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Words -> the labels that have an entity or a question."""
    found: dict[str, set[str]] = {}
    for part in parts:
        types = [entity.type for passage in part.passages for entity in passage.entities]
        for label in dict.fromkeys([*types, *(label for labels in part.asked.values() for label in labels)]):
            found.setdefault(words_of.get(label_key(label), label), set()).add(label)
    return {word: frozenset(labels) for word, labels in found.items()}


def _check_words(
    name: str, label_set: str, labels_of: Mapping[str, frozenset[str]], words_of: Mapping[str, str]
) -> None:
    labels = sorted(label for labels in labels_of.values() for label in labels)
    if missing := [label for label in labels if label_key(label) not in words_of]:
        other = "" if label_set == LABELS_FILE else f", or write `words: file` (the label set is {label_set})"
        raise UserError(
            f"benchmark {name}: label {missing[0]!r} has no words; add it to labels.json beside the test file{other}"
        )


def _types(
    spec: BenchmarkSpec,
    label_set: str,
    words_of: Mapping[str, str],
    labels_of: Mapping[str, frozenset[str]],
    is_whole: bool,
) -> tuple[list[str] | None, list[str]]:
    """The types that each passage is asked for, None for open types; and the words left out, as no passage has them.

    Args:
        is_whole: there are more parts than the test part, which alone may be a sample.
    """
    if label_set == "open":
        return None, []
    types = [word for word in dict.fromkeys(words_of.values() if words_of else labels_of) if word != CATCH_ALL]
    unused = {words_of.get(label_key(label)) for label in spec.unused}
    left_out = [word for word in types if word not in labels_of and (is_whole or word in unused)]
    return [word for word in types if word not in left_out], left_out
