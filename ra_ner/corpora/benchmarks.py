"""Loading benchmarks: a name of the table or files that the user has become passages and the types they are asked."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from ..errors import UserError, nearest
from ..passage import Passage
from .annotations import Context
from .benchmark_table import BENCHMARKS, CATCH_ALL, BenchmarkSpec
from .folders import find_part, no_part, only_part
from .formats import NER_READING, Reading
from .label_words import LABELS_FILE, apply_words, label_key, labels_file, read_words
from .sources import LoadedCorpus, UnlabelledError, load_corpus, load_files

logger = logging.getLogger(__name__)

Asked = dict[str, list[str]]  # id of a passage -> the types that its file asks


@dataclass(frozen=True)
class Benchmark:
    """A loaded benchmark.

    Attributes:
        train: passages for in-domain examples; may be empty.
        types: the label set that every passage is asked for, None for open types.
        label_set: its name, since its wording changes scores by points: `ra_ner`, `uniner` or `release`
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
    label_set: str
    asked: Asked | None = None
    labels_of: Mapping[str, Set[str]] = field(default_factory=dict)
    not_asked: tuple[str, ...] = ()
    tested: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


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
    parts, tested_name = _read(name, spec, path, check, reading)
    test = parts["test"]
    has_own_types = bool(test.asked or reading.finish)
    label_set, words_of = _label_words(name, spec, path, words, has_own_types)
    labels_of = _labels_of(parts.values(), words_of)
    if words_of:
        _check_words(name, label_set, labels_of, words_of)
    types, not_asked = _types(spec, label_set, words_of, labels_of, is_whole=len(parts) > 1)
    if has_own_types:
        types, not_asked = None, []
    if not_asked:
        logger.info(f"benchmark {name}: not asked, because no passage has it: {', '.join(not_asked)}")
    asked = {
        id_: [word for label in labels if (word := words_of.get(label_key(label), label)) != CATCH_ALL]
        for id_, labels in test.asked.items()
    }
    worded = {part: apply_words(corpus.passages, words_of) for part, corpus in parts.items()}
    alike = list(chain.from_iterable(worded.values()))
    return Benchmark(
        name,
        reading.finished(worded["test"], alike),
        reading.finished(worded.get("train", []), alike),
        types,
        label_set,
        asked or None,
        labels_of,
        tuple(not_asked),
        tested_name,
        test.counts,
    )


def _parse(argument: str) -> tuple[str, Path | None]:
    """The name and the path of an argument; a path alone is its own name."""
    if argument in BENCHMARKS:
        return argument, None
    if Path(argument).exists():
        return argument, Path(argument)
    name, _, path = argument.partition("=")
    if path:
        return name, Path(path)
    raise UserError(
        f"unknown benchmark {argument}; {nearest(Path(argument).name, BENCHMARKS)} "
        f"(there is no such file or folder in {Path.cwd()} or beside the recipe)"
    )


# Reading the parts


def _read(
    name: str, spec: BenchmarkSpec, path: Path | None, check: bool, reading: Reading
) -> tuple[dict[str, LoadedCorpus], str]:
    """The parts test, dev and train, as far as they are there, and the name of the one that is tested.

    Without a labelled test part, dev takes its place.
    """
    if not path and not spec.test:
        if not spec.hub_id:
            raise UserError(
                f"benchmark {name} is not on the Hub: get its files and write {name}=PATH (`ra-ner benchmarks {name}` "
                "says where)"
            )
        keys = {"config": spec.hub_config, "check": check, "reading": reading}
        return {s: _merged(load_corpus(spec.hub_id, spec.language, s, **keys)) for s in ("test", "train")}, "test"
    files, parts = _files(name, spec, path), {}
    for part, its_files in files.items():
        context = Context(spec.language, has_tables=reading.has_tables)
        try:
            parts[part] = _merged(load_files(its_files, str(path or its_files[0]), context, check, reading))
        except UnlabelledError as error:
            if (part == "test" and "dev" not in files) or (part == "dev" and "test" not in parts):
                raise _without_labels(error, its_files[0], spec) from None
            instead = f"{_name_of(files['dev'], path)} is asked instead" if part == "test" else "it is left out"
            logger.info(f"benchmark {name}: {error}; {instead}")
    tested = "test" if "test" in parts else "dev"
    return {"test": parts.pop(tested), **parts}, _name_of(files[tested], path)


def _files(name: str, spec: BenchmarkSpec, path: Path | None) -> dict[str, list[Path]]:
    """The files of each part."""
    if path is None:
        return {"test": [spec.test], "train": [spec.train]}
    if path.is_dir():
        parts = {part: files for part in ("test", "dev", "train") if (files := find_part(path, part, spec.names))}
        if not parts and (files := only_part(path)):
            parts["test"] = files
        if not parts.keys() & {"test", "dev"}:
            raise no_part(path, "test")
        return parts
    if path.is_file():
        return {"test": [path]}
    raise UserError(f"benchmark {name}: {path} does not exist (looked in {Path.cwd()} and beside the recipe)")


def _name_of(files: Sequence[Path], folder: Path | None) -> str:
    """The files of a part as the reader of a table finds them in the benchmark's folder."""
    named = [files[0].parent] if files[0].suffix == ".ann" and len(files) > 1 else files
    return " and ".join(str(file.relative_to(folder)) if folder in file.parents else file.name for file in named)


def _without_labels(error: UserError, file: Path, spec: BenchmarkSpec) -> UserError:
    dev = (find_part(file.parent, "dev", spec.names) or [file])[0]
    return UserError(f"{error}: " + (f"name {dev}" if dev != file else "name a file that has them"))


def _merged(corpus: LoadedCorpus) -> LoadedCorpus:
    """A part, of whose rows those that ask about the same text are one passage."""
    if not corpus.asked:
        return corpus
    passages, asked = merge_questions(corpus.passages, corpus.asked)
    return replace(corpus, passages=passages, asked=asked)


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
    if path and (file := labels_file(path)):
        return LABELS_FILE, read_words(file)
    if words == "file" or has_own_types:
        return "file", {}
    return ("ra_ner", spec.words_of("ra_ner")) if spec.words else ("open", {})


def _labels_of(parts: Iterable[LoadedCorpus], words_of: Mapping[str, str]) -> dict[str, set[str]]:
    """Words -> the labels that have an entity or a question."""
    found: dict[str, set[str]] = {}
    for part in parts:
        types = [entity.type for passage in part.passages for entity in passage.entities]
        for label in dict.fromkeys([*types, *chain.from_iterable(part.asked.values())]):
            found.setdefault(words_of.get(label_key(label), label), set()).add(label)
    return found


def _check_words(name: str, label_set: str, labels_of: Mapping[str, Set[str]], words_of: Mapping[str, str]) -> None:
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
    labels_of: Mapping[str, Set[str]],
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
