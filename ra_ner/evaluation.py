"""Benchmark x setting x model -> predictions -> scores, resumable by whole passages.

<output_dir>/answers.jsonl      journal: one line a passage, appended as answers come; makes a killed run resume
<output_dir>/predictions.jsonl  one row for each query
<output_dir>/scores.json        and report.md
"""

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from . import __version__
from .benchmarks import Benchmark, load_benchmark
from .conversation import Message, NegativeTypes, Wording, find_wording, parse_answer, query
from .corpus import Entity, Passage, sample
from .errors import UserError
from .files import write_text
from .inference import Engine
from .recipe import EvaluateConfig, Recipe
from .report import report
from .retrieval.select import Example, nearest_neighbours
from .scoring import Counts, legacy_counts, span_counts

SETTINGS = ("zero_shot", "in_domain-nn")


@dataclass(frozen=True)
class Model:
    """A model to evaluate. `name` is its row in tables, `revision` tells its weights from any others."""

    name: str
    path: str
    revision: str
    wording: str
    language: str


@dataclass(frozen=True)
class Task:
    """All queries of one passage in one setting."""

    benchmark: str
    setting: str
    passage: Passage
    types: list[str]
    examples: list[Example]

    def messages(self, wording: Wording) -> list[list[Message]]:
        passages = [example.passage for example in self.examples]
        return [query(self.passage.text, entity_type, passages, wording) for entity_type in self.types]


def evaluate(recipe: Recipe, config: EvaluateConfig, output_dir: Path) -> dict:
    """Ask every model every query, write the files above, and return what scores.json holds.

    Raises:
        UserError: an unknown setting, benchmark or model.
    """
    from .inference.transformers import TransformersEngine

    models = [_model(name, recipe) for name in config.models]
    tasks = _tasks(recipe, config)
    journal = Journal(output_dir / "answers.jsonl")
    rows = []
    for model in models:
        load = _once(lambda m=model: TransformersEngine(m.path, None, config.dtype, config.max_new_tokens))
        rows += _predict(model, tasks, load, journal, f"{config.dtype} {config.max_new_tokens}")
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    write_text(output_dir / "predictions.jsonl", "\n".join(lines) + "\n")
    scores = _scores(rows, recipe, config)
    write_text(output_dir / "scores.json", json.dumps(scores, indent=2, ensure_ascii=False) + "\n")
    write_text(output_dir / "report.md", report(scores))
    return scores


def _model(name: str, recipe: Recipe) -> Model:
    """Resolve `base`, `adapter`, a folder or a Hub id. An adapter of ours says in ra_it.json how it was trained."""
    if name == "base":
        path = recipe.sections["train"].get("model_name_or_path")
        if not path:
            raise UserError(f"{recipe.path}: section train names no `model_name_or_path`, so there is no base model")
    else:
        path = str(recipe.output_dir / "adapter") if name == "adapter" else name
    facts_file = Path(path) / "ra_it.json"
    if name == "adapter" and not facts_file.is_file():
        raise UserError(f"{path} holds no adapter; train it by `accelerate launch train_sft.py {recipe.path}`")
    facts = json.loads(facts_file.read_text(encoding="utf-8")) if facts_file.is_file() else {}
    return Model(
        name=facts.get("recipe", name),
        path=path,
        revision=_revision(path),
        wording=facts.get("wording", recipe.dataset.wording),
        language=facts.get("language", recipe.language),
    )


def _revision(path: str) -> str:
    """The content of a folder's small files and the sizes of its large ones, as a digest."""
    digest = hashlib.sha256()
    if not Path(path).is_dir():
        raise UserError(f"model {path!r}: no such folder")
    for file in sorted(Path(path).iterdir()):
        if file.is_file():
            size = file.stat().st_size
            digest.update(f"{file.name} {size} ".encode())
            digest.update(file.read_bytes() if size < 2**28 else str(file.stat().st_mtime_ns).encode())
    return digest.hexdigest()[:16]


def _tasks(recipe: Recipe, config: EvaluateConfig) -> list[Task]:
    if not config.benchmarks:
        raise UserError(f"{recipe.path}: section evaluate names no `benchmarks`")
    for setting in config.settings:
        if setting not in SETTINGS:
            raise UserError(f"unknown setting {setting!r}; choose from {', '.join(SETTINGS)}")
    tasks = []
    for name in config.benchmarks:
        benchmark = load_benchmark(name, recipe.language)
        passages = sample(benchmark.test, config.limit, config.seed)
        types = _types_asked(benchmark, passages, config.seed)
        for setting in config.settings:
            if setting == "zero_shot":
                examples: list[list[Example]] = [[] for _ in passages]
            else:
                encoder = config.encoder or recipe.dataset.encoder
                if not benchmark.train or not encoder:
                    raise UserError(f"setting {setting} needs a train part of {name} and an `encoder`")
                examples = nearest_neighbours(passages, benchmark.train, config.k, encoder)
            tasks += [
                Task(benchmark.name, setting, passage, asked, shown)
                for passage, asked, shown in zip(passages, types, examples, strict=True)
            ]
    return tasks


def _types_asked(benchmark: Benchmark, passages: list[Passage], seed: int) -> list[list[str]]:
    """The whole label set for every passage; of open types, the passage's own and as many others."""
    if benchmark.types is not None:
        return [benchmark.types for _ in passages]
    others = NegativeTypes(benchmark.test)
    return [
        passage.types + others.draw(passage, len(passage.types), random.Random(f"{seed}:{passage.id}"))
        for passage in passages
    ]


class Journal:
    """Answers by key, kept in a JSON Lines file that is only appended to. A line torn by a kill is dropped."""

    def __init__(self, path: Path):
        self.path, self.answers = path, {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            os.truncate(path, len(whole))
            for line in whole.splitlines():
                entry = json.loads(line)
                self.answers[entry["key"]] = entry["answers"]

    def add(self, key: str, answers: list[str]) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps({"key": key, "answers": answers}).encode() + b"\n")
        self.answers[key] = answers


def _once(load: Callable[[], Engine]) -> Callable[[], Engine]:
    """Load on the first call, so that a run with nothing left to ask loads no model."""
    loaded: list[Engine] = []

    def get() -> Engine:
        if not loaded:
            loaded.append(load())
        return loaded[0]

    return get


def _predict(
    model: Model, tasks: list[Task], engine: Callable[[], Engine], journal: Journal, generation: str
) -> Iterator[dict]:
    wording = find_wording(model.wording, model.language)
    for task in tqdm(tasks, desc=model.name, unit="passage"):
        messages = task.messages(wording)
        prompts = [hashlib.sha256(json.dumps(conversation).encode()).hexdigest()[:16] for conversation in messages]
        identity = [model.path, model.revision, generation, task.benchmark, task.setting, task.passage.id, *prompts]
        key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
        if key not in journal.answers:
            journal.add(key, engine().answer(messages))
        for entity_type, prompt_hash, raw in zip(task.types, prompts, journal.answers[key], strict=True):
            answer = parse_answer(raw)
            yield {
                "model": model.name,
                "revision": model.revision,
                "prompt_hash": prompt_hash,
                "benchmark": task.benchmark,
                "passage_id": task.passage.id,
                "setting": task.setting,
                "type": entity_type,
                "gold": [asdict(entity) for entity in task.passage.entities if entity.type == entity_type],
                "raw_answer": raw,
                "parsed": answer.error is None,
                "predicted": list(answer.mentions),
                "parse_error": answer.error,
                "example_ids": [example.passage.id for example in task.examples],
            }


def _scores(rows: list[dict], recipe: Recipe, config: EvaluateConfig) -> dict:
    """Micro-averaged scores for each model, benchmark and setting, in the order they were asked."""
    groups: dict[tuple[str, str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["benchmark"], row["setting"]), []).append(row)
    results = []
    for (model, benchmark, setting), group in groups.items():
        legacy = span = Counts()
        for row in group:
            gold = [Entity(**entity) for entity in row["gold"]]
            legacy += legacy_counts(json.dumps([entity.text for entity in gold]), row["raw_answer"])
            span += span_counts(gold, row["predicted"], unparsed=not row["parsed"])
        results.append(
            {
                "model": model,
                "revision": group[0]["revision"],
                "benchmark": benchmark,
                "setting": setting,
                "passages": len({row["passage_id"] for row in group}),
                "queries": len(group),
                "unparsed": sum(not row["parsed"] for row in group),
                "span": _figures(span),
                "legacy": _figures(legacy),
            }
        )
    return {"recipe": recipe.name, "ra_ner": __version__, **vars(config), "results": results}


def _figures(counts: Counts) -> dict[str, float]:
    return {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1, **asdict(counts)}
