"""Benchmark x setting x model -> predictions -> scores, resumable by whole passages.

<output_dir>/answers.jsonl      journal: one line a passage, appended as answers come; makes a killed run resume
<output_dir>/predictions.jsonl  one row for each query
<output_dir>/scores.json        and report.md, report.html
"""

import difflib
import functools
import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from . import __version__, cards, hub
from .answers import parse_answer
from .benchmarks import Benchmark, load_benchmark
from .conversation import Message, NegativeTypes, find_wording, query
from .corpus import Passage, sample
from .errors import UserError
from .files import write_text
from .hub import LocalModel
from .inference import Engine
from .recipe import WITHOUT_ENCODER, EvaluateConfig, Recipe, Strategy
from .released import RELEASED
from .rendering import TEMPLATES
from .report import report, report_html, scores_json
from .retrieval.select import Example, Retriever
from .scoring import score_all

SETTINGS = ("zero_shot", *(f"in_domain-{strategy}" for strategy in get_args(Strategy) if strategy != "none"))


@dataclass(frozen=True)
class Model:
    """A model to evaluate and how it is asked. `name` is its row in tables; `base` is there for adapters alone.

    `system` and `chat_template` are None where the tokenizer's own template says all.
    """

    name: str
    local: LocalModel
    base: LocalModel | None
    wording: str
    language: str
    system: str | None = None
    chat_template: str | None = None


@dataclass(frozen=True)
class Task:
    """All queries of one passage in one setting."""

    benchmark: str
    setting: str
    passage: Passage
    types: list[str]
    examples: list[Example]

    def messages(self, model: Model) -> list[list[Message]]:
        wording = find_wording(model.wording, model.language)
        passages = [example.passage for example in self.examples]
        system = [{"role": "system", "content": model.system}] if model.system else []
        return [[*system, *query(self.passage.text, entity_type, passages, wording)] for entity_type in self.types]


def evaluate(recipe: Recipe, config: EvaluateConfig, output_dir: Path) -> dict:
    """Ask every model every query, write the files above, and return what scores.json holds.

    Raises:
        UserError: an unknown setting, benchmark or model.
    """
    models = _name_apart({name: find_model(name, recipe) for name in config.models})
    tasks = _tasks(recipe, config)
    journal = Journal(output_dir / "answers.jsonl")
    rows = []
    for model in models:
        load = functools.cache(functools.partial(_load_engine, model, config))
        rows += _predict(model, tasks, load, journal, f"{config.dtype} {config.max_new_tokens}")
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    write_text(output_dir / "predictions.jsonl", "\n".join(lines) + "\n")
    texts: dict[str, dict[str, str]] = {task.benchmark: {} for task in tasks}
    for task in tasks:
        texts[task.benchmark][task.passage.id] = task.passage.text
    scores = {"recipe": recipe.name, "ra_ner": __version__, **vars(config), **score_all(rows, texts, config.seed)}
    write_text(output_dir / "scores.json", scores_json(scores) + "\n")
    write_text(output_dir / "report.md", report(scores))
    write_text(output_dir / "report.html", report_html(scores, rows, texts))
    return scores


def _load_engine(model: Model, config: EvaluateConfig) -> Engine:
    from .inference.transformers import TransformersEngine

    template = (TEMPLATES / model.chat_template).read_text(encoding="utf-8") if model.chat_template else None
    adapter = model.local.path if model.base else None
    path = model.base.path if model.base else model.local.path
    return TransformersEngine(path, adapter, template, config.dtype, config.max_new_tokens)


def find_model(name: str, recipe: Recipe) -> Model:
    """Resolve `base`, `adapter`, a folder, a Hub id or `id@revision`, and fetch what is on the Hub.

    How a model is asked is known from ra_it.json of an adapter of ours, or from the table of released checkpoints; any
    other is asked in the words of the recipe. An adapter's base is the one that its config names, at that revision.

    Raises:
        UserError: it does not exist, can't be fetched, or its base is not the one it was trained on.
    """
    if name == "base":
        path, revision = (recipe.sections["train"].get(key) for key in ("model_name_or_path", "model_revision"))
        if not path:
            raise UserError(f"{recipe.path}: section train names no `model_name_or_path`, so there is no base model")
    elif name == "adapter":
        path, revision = str(recipe.output_dir / "adapter"), None
        if not Path(path).is_dir():
            raise UserError(f"{path} does not exist; train it by `accelerate launch train_sft.py {recipe.path}`")
    else:
        path, _, revision = (name, "", None) if Path(name).is_dir() else name.partition("@")
    local = hub.fetch_model(path, revision or None)
    if released := RELEASED.get(path):
        return Model(name, local, None, **vars(released))
    facts, base = local.facts, None
    if local.adapter_config:
        base = hub.fetch_model(local.adapter_config["base_model_name_or_path"], local.adapter_config.get("revision"))
        if facts and facts["base_revision"] != base.revision:
            raise UserError(
                f"adapter {path} was trained on {facts['base']} at {facts['base_revision']}, but that is now at "
                f"{base.revision}; bring the base model back, or train the adapter again"
            )
    return Model(
        name=facts.get("recipe", name) if Path(path).is_dir() else name,
        local=local,
        base=base,
        wording=facts.get("wording", recipe.dataset.wording),
        language=facts.get("language", recipe.language),
    )


def _name_apart(models: dict[str, Model]) -> list[Model]:
    """Models whose runs share a name go by what the user wrote."""
    count = Counter(model.name for model in models.values())
    return [replace(model, name=given) if count[model.name] > 1 else model for given, model in models.items()]


def _tasks(recipe: Recipe, config: EvaluateConfig) -> list[Task]:
    if not config.benchmarks:
        raise UserError(f"{recipe.path}: section evaluate names no `benchmarks`")
    for setting in config.settings:
        if setting not in SETTINGS:
            near = difflib.get_close_matches(setting, SETTINGS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(SETTINGS)}"
            raise UserError(f"unknown setting {setting!r}; {hint}")
    tasks = []
    for name in config.benchmarks:
        benchmark = load_benchmark(name, recipe.language)
        passages = sample(benchmark.test, config.limit, config.seed)
        types = _types_asked(benchmark, passages, config.seed)
        for setting in config.settings:
            examples = _retriever(setting, benchmark, recipe, config).examples(passages)
            tasks += [
                Task(benchmark.name, setting, passage, asked, shown)
                for passage, asked, shown in zip(passages, types, examples, strict=True)
            ]
    return tasks


def _retriever(setting: str, benchmark: Benchmark, recipe: Recipe, config: EvaluateConfig) -> Retriever:
    """The retriever of a setting: the dataset builder's, with the keys of section evaluate in place of its own."""
    _, _, strategy = setting.partition("-")
    encoder = None
    if strategy and not benchmark.train:
        raise UserError(f"setting {setting} needs examples, but benchmark {benchmark.name} has no train part")
    if strategy and strategy not in WITHOUT_ENCODER:
        name = config.encoder or recipe.dataset.encoder
        if not name:
            raise UserError(f"setting {setting} needs an `encoder`, a sentence-transformers model")
        encoder = hub.fetch_model(name)
    keys = replace(recipe.dataset, strategy=strategy or "none", k=config.k, seed=config.seed)
    return Retriever(benchmark.train, keys, recipe.language, encoder)


def _types_asked(benchmark: Benchmark, passages: list[Passage], seed: int) -> list[list[str]]:
    """The whole label set for every passage; of open types, the passage's own and as many others."""
    if benchmark.types is not None:
        return [benchmark.types for _ in passages]
    others = NegativeTypes(benchmark.test)
    return [
        passage.types + others.draw(passage, len(passage.types), random.Random(f"{seed}:{passage.id}"))
        for passage in passages
    ]


def push_to_hub(output_dir: Path, recipe: Recipe, repo_id: str) -> str:
    """Push predictions, scores and report to a model repo, and put the report into its card.

    Raises:
        UserError: the push failed.
    """
    folder = f"evaluation/{recipe.name}"
    files = {f"{folder}/{name}": output_dir / name for name in ("predictions.jsonl", "scores.json", "report.md")}
    card = cards.scores_card(recipe, (output_dir / "report.md").read_text(encoding="utf-8"))
    keep = f"the scores are kept in {output_dir}; a re-run asks no model again"
    return hub.push("model", repo_id, files, card, f"Scores of recipe {recipe.name}", keep, folder)


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


def _predict(
    model: Model, tasks: list[Task], engine: Callable[[], Engine], journal: Journal, generation: str
) -> Iterator[dict]:
    weights = [model.local.revision, model.base and model.base.revision, model.chat_template]
    for task in tqdm(tasks, desc=model.name, unit="passage"):
        messages = task.messages(model)
        prompts = [hashlib.sha256(json.dumps(conversation).encode()).hexdigest()[:16] for conversation in messages]
        identity = [*weights, generation, task.benchmark, task.setting, task.passage.id, *prompts]
        key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
        if key not in journal.answers:
            journal.add(key, engine().answer(messages))
        for entity_type, prompt_hash, raw in zip(task.types, prompts, journal.answers[key], strict=True):
            answer = parse_answer(raw)
            yield {
                "model": model.name,
                "revision": model.local.revision,
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
                "example_scores": [example.score for example in task.examples],
            }
