"""Benchmark x setting x model -> predictions -> scores, resumable.

<output_dir>/answers.jsonl      journal: one line a query, appended as answers come; makes a killed run resume
<output_dir>/predictions.jsonl  one row for each query
<output_dir>/texts.json         benchmark -> passage id -> text: with the predictions, all that the scorer needs
<output_dir>/scores.json        and report.md, report.html
"""

import hashlib
import json
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tqdm import tqdm

from .. import __version__
from ..atomic_files import write_text
from ..corpora.benchmarks import Benchmark, load_benchmark
from ..distributed import distributed_state
from ..errors import UserError
from ..hub.repos import LocalModel
from ..inference.engine import Engine, Request
from ..inference.models import Model, find_model
from ..passage import Passage, sample
from ..prompting.answers import parse_answer
from ..prompting.chat_template import TEMPLATES
from ..prompting.conversation import NegativeTypes, find_wording, opening
from ..recipe import EvaluateConfig, Recipe
from ..retrieval.retriever import Example
from .example_pools import ExamplePools, check_settings
from .journal import Journal
from .report import report, report_html, scores_json
from .scoring import score_all

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """All queries of one passage in one setting."""

    benchmark: str
    labels: str
    setting: str
    passage: Passage
    types: list[str]
    examples: list[Example]

    def request(self, model: Model) -> Request:
        wording = find_wording(model.wording, model.language)
        system = [{"role": "system", "content": model.system}] if model.system else []
        shown = opening(self.passage.text, [example.passage for example in self.examples], wording)
        questions = [wording.question.format(type=entity_type) for entity_type in self.types]
        return Request(self.passage.text, [*system, *shown], questions)


def evaluate(recipe: Recipe, config: EvaluateConfig, output_dir: Path) -> dict | None:
    """Ask every model every query, write the files above, and return what scores.json holds.

    Under `accelerate launch` each process asks its share; the main one writes, the others return None.

    Raises:
        UserError: an unknown setting, benchmark or model.
    """
    state = distributed_state()
    with state.main_process_first():  # the others find the models in the cache
        models = _name_apart({name: resolve_model(name, recipe, config) for name in config.models})
    tasks = _tasks(recipe, config)  # by all together: each encodes its share of the texts
    journal = Journal(output_dir, state.process_index)
    asked = []
    for model in models:
        requests = [task.request(model) for task in tasks]
        keys = [_keys(model, task, request, config) for task, request in zip(tasks, requests, strict=True)]
        _ask(model, requests, keys, config, journal)
        asked.append((model, tasks, requests, keys))
    state.wait_for_everyone()
    if not state.is_main_process:
        return None
    journal.read()
    rows = [row for arguments in asked for row in _rows(*arguments, journal)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    write_text(output_dir / "predictions.jsonl", "\n".join(lines) + "\n")
    texts: dict[str, dict[str, str]] = {task.benchmark: {} for task in tasks}
    for task in tasks:
        texts[task.benchmark][task.passage.id] = task.passage.text
    write_text(output_dir / "texts.json", json.dumps(texts, indent=1) + "\n")
    scores = {
        "recipe": recipe.name,
        "ra_ner": __version__,
        **vars(config),
        "labels": {task.benchmark: task.labels for task in tasks},
        **score_all(rows, texts, config.seed),
    }
    write_text(output_dir / "scores.json", scores_json(scores) + "\n")
    write_text(output_dir / "report.md", report(scores))
    write_text(output_dir / "report.html", report_html(scores, rows, texts))
    return scores


def _load_engine(model: Model, config: EvaluateConfig) -> Engine:
    template = _chat_template(model)
    if config.engine == "server":
        from ..inference.server import ServerEngine

        return ServerEngine(model.server_name, config, model.local.path, template)

    from ..inference.cpu import prepare_for_cpu
    from ..inference.transformers import TransformersEngine

    adapter = model.local.path if model.base else None
    path = model.base.path if model.base else model.local.path
    engine = TransformersEngine(path, adapter, template, config.dtype, config.max_new_tokens, config.load_in_4bit)
    prepare_for_cpu(engine.model)
    return engine


def _chat_template(model: Model) -> str | None:
    return (TEMPLATES / model.chat_template).read_text(encoding="utf-8") if model.chat_template else None


@dataclass(frozen=True)
class EvaluatedModel(Model):
    """A model of an evaluation. `server_name` is what a server calls it."""

    server_name: str | None = None


def resolve_model(name: str, recipe: Recipe, config: EvaluateConfig) -> EvaluatedModel:
    """The model that `models` of section evaluate names: `base` and `adapter` of the recipe, or what find_model knows.

    Raises:
        UserError: see find_model.
    """
    if config.server_models and len(config.server_models) != len(config.models):
        raise UserError("`server_models` names one for each of `models`, in their order")
    served = dict(zip(config.models, config.server_models or config.models, strict=True))[name]
    wording, language = recipe.dataset.wording, recipe.language
    if config.engine == "server" and config.server_api == "chat":  # a vendor's model, of which nothing can be fetched
        local = LocalModel(Path(), f"{served} of {config.server_url}")
        return EvaluatedModel(name, local, None, wording, language, server_name=served)
    path, revision = name, None
    if name == "base":
        path, revision = (recipe.sections["train"].get(key) for key in ("model_name_or_path", "model_revision"))
        if not path:
            raise UserError(f"{recipe.path}: section train names no `model_name_or_path`, so there is no base model")
    elif name == "adapter":
        path = str(recipe.output_dir / "adapter")
        if not Path(path).is_dir():
            raise UserError(f"{path} does not exist; train it by `accelerate launch train_sft.py {recipe.path}`")
    with_weights = config.engine != "server"
    model = find_model(path, revision, wording=wording, language=language, with_weights=with_weights)
    if name == "base":
        model = replace(model, name="base")
    return EvaluatedModel(**vars(model), server_name=served)


def _name_apart(models: dict[str, Model]) -> list[Model]:
    """Models whose runs share a name go by what the user wrote."""
    count = Counter(model.name for model in models.values())
    return [replace(model, name=given) if count[model.name] > 1 else model for given, model in models.items()]


def _tasks(recipe: Recipe, config: EvaluateConfig) -> list[Task]:
    if not config.benchmarks:
        raise UserError(f"{recipe.path}: section evaluate names no `benchmarks`")
    check_settings(config.settings)
    pools = ExamplePools(recipe, config)
    tasks = []
    for name in config.benchmarks:
        benchmark = load_benchmark(name, recipe.language)
        if any(task.benchmark == benchmark.name for task in tasks):
            raise UserError(f"benchmark {benchmark.name} stands twice; scores are kept by its name")
        passages = sample(benchmark.test, config.limit, config.seed)
        types = types_asked(benchmark, passages, config.seed)
        for setting in config.settings:
            examples = pools.examples(setting, benchmark, passages)
            tasks += [
                Task(benchmark.name, benchmark.labels, setting, passage, asked, shown)
                for passage, asked, shown in zip(passages, types, examples, strict=True)
            ]
    return tasks


def types_asked(benchmark: Benchmark, passages: list[Passage], seed: int) -> list[list[str]]:
    """The whole label set for every passage; of open types, the passage's own and as many others."""
    if benchmark.types is not None:
        return [benchmark.types for _ in passages]
    others = NegativeTypes(benchmark.test)
    return [
        passage.types + others.draw(passage, len(passage.types), random.Random(f"{seed}:{passage.id}"))
        for passage in passages
    ]


def _keys(model: Model, task: Task, request: Request, config: EvaluateConfig) -> list[str]:
    """What tells the answer to each question from all others: a changed prompt or model never reuses an old one."""
    weights = [model.local.revision, model.base and model.base.revision, _chat_template(model)]
    if config.engine == "server":
        generation = [config.server_url, model.server_name, config.server_api, config.server_json]
    else:
        generation = [config.dtype, config.load_in_4bit]
    generation += [config.mode, config.max_new_tokens]
    identity = [*weights, *generation, task.benchmark, task.setting, task.passage.id, request.opening]
    earlier = config.mode == "conversation"  # questions are part of the prompt
    return [_digest(*identity, request.questions[: i * earlier], q) for i, q in enumerate(request.questions)]


def _ask(
    model: Model, requests: list[Request], keys: list[list[str]], config: EvaluateConfig, journal: Journal
) -> None:
    """Ask what the journal does not hold; of a conversation all is asked. Each process asks its share."""
    state, missing = distributed_state(), []
    for request, its_keys in zip(requests, keys, strict=True):
        left = [i for i, key in enumerate(its_keys) if key not in journal.answers]
        if config.mode == "conversation" and left:
            left = list(range(len(its_keys)))
        if left:
            questions = [request.questions[i] for i in left]
            missing.append((replace(request, questions=questions), [its_keys[i] for i in left]))
    # Passages of like length go together, and the longest first: if memory does not suffice, that shows at once.
    missing.sort(key=lambda pair: -sum(len(message["content"]) for message in pair[0].opening))
    missing = missing[state.process_index :: state.num_processes]
    if not missing:
        return
    engine = _load_engine(model, config)
    questions = sum(len(request.questions) for request, _ in missing)
    with tqdm(total=questions, desc=model.name, unit="query", disable=not state.is_main_process) as progress:
        # A server is given all at once, and takes what it can.
        size = config.batch_size if config.engine == "transformers" else len(missing)
        for start in range(0, len(missing), size):
            batch = missing[start : start + size]
            if config.mode == "query":
                answers = engine.answer([request for request, _ in batch])
            else:
                answers = ((i, j, a) for i, (r, _) in enumerate(batch) for j, a in enumerate(engine.converse(r)))
            for i, j, answer in answers:
                journal.add(batch[i][1][j], answer)
                progress.update()
    if config.engine == "server":
        logger.info(f"{model.name}: {engine.cost}")


def _rows(
    model: Model, tasks: list[Task], requests: list[Request], keys: list[list[str]], journal: Journal
) -> Iterator[dict]:
    """A row of predictions for each query."""
    for task, request, its_keys in zip(tasks, requests, keys, strict=True):
        for entity_type, messages, key in zip(task.types, request.queries, its_keys, strict=True):
            raw = journal.answers[key]
            answer = parse_answer(raw)
            yield {
                "model": model.name,
                "revision": model.local.revision,
                "prompt_hash": _digest(messages)[:16],
                "benchmark": task.benchmark,
                "passage_id": task.passage.id,
                "setting": task.setting,
                "type": entity_type,
                "gold": [asdict(entity) for entity in task.passage.entities if entity.type == entity_type],
                "raw_answer": raw,
                "parsed": answer.error is None,
                "predicted": list(answer.mentions),
                "parse_error": answer.error,
                "copied": _copied(answer.mentions, task),
                "example_ids": [example.passage.id for example in task.examples],
                "example_scores": [example.score for example in task.examples],
            }


def _copied(mentions: Sequence[str], task: Task) -> list[str]:
    """The mentions that stand in an example which was shown, and nowhere in the text."""
    passages = [example.passage for example in task.examples]
    shown = [text for passage in passages for text in (passage.text, *(entity.text for entity in passage.entities))]
    return [m for m in mentions if m not in task.passage.text and any(m in text for text in shown)]


def _digest(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
