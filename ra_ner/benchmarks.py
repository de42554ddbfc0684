"""The table of benchmarks: where each lives, its language and its label words."""

import difflib
import json
from dataclasses import dataclass
from pathlib import Path

from .corpus import Entity, Passage, read_corpus
from .errors import UserError

CATCH_ALL = "misc"  # never asked for


@dataclass(frozen=True)
class Source:
    """Where a benchmark lives. `labels` maps raw labels to words; without it, types are open and stand as they are."""

    language: str
    test: Path
    train: Path | None = None
    labels: Path | None = None


@dataclass(frozen=True)
class Benchmark:
    """`types` is the closed label set that is asked of every passage, None for open types; `train` may be empty."""

    name: str
    test: list[Passage]
    train: list[Passage]
    types: list[str] | None


BENCHMARKS = {
    "sample_en": Source("en", Path("data/sample/en_test.jsonl"), Path("data/sample/en.jsonl")),
    "sample_zh": Source("zh", Path("data/sample/zh_test.jsonl"), Path("data/sample/zh.jsonl")),
}


def load_benchmark(name: str, language: str) -> Benchmark:
    """Load a benchmark of the table, or a folder with test.jsonl (else dev.jsonl), train.jsonl and labels.json.

    The last two may be missing: without labels.json types are open, without train.jsonl there is no in-domain pool.

    Raises:
        UserError: there is no such benchmark, it is in another language, or a label has no words.
    """
    source = BENCHMARKS.get(name) or _folder(Path(name), language)
    if source.language != language:
        raise UserError(f"benchmark {name} is in {source.language}, the recipe's language is {language}")
    words = json.loads(source.labels.read_text(encoding="utf-8")) if source.labels else None
    return Benchmark(
        name=name,
        test=_verbalise(read_corpus(source.test), words, source.labels),
        train=_verbalise(read_corpus(source.train), words, source.labels) if source.train else [],
        types=[word for word in dict.fromkeys(words.values()) if word != CATCH_ALL] if words else None,
    )


def _folder(path: Path, language: str) -> Source:
    test = next((path / name for name in ("test.jsonl", "dev.jsonl") if (path / name).is_file()), None)
    if test is None:
        near = difflib.get_close_matches(path.name, BENCHMARKS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise UserError(
            f"unknown benchmark {path}{hint} Known: {', '.join(BENCHMARKS)}, and folders with a test.jsonl or dev.jsonl"
        )
    train, labels = path / "train.jsonl", path / "labels.json"
    return Source(language, test, train if train.is_file() else None, labels if labels.is_file() else None)


def _verbalise(passages: list[Passage], words: dict[str, str] | None, labels: Path | None) -> list[Passage]:
    if words is None:
        return passages
    if missing := {entity.type for passage in passages for entity in passage.entities} - words.keys():
        raise UserError(f"{labels}: label {sorted(missing)[0]!r} has no words; add it")
    return [
        Passage(
            passage.id,
            passage.text,
            tuple(Entity(e.text, words[e.type], e.start, e.end) for e in passage.entities),
        )
        for passage in passages
    ]
