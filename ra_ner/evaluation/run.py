"""Benchmark x setting x model -> predictions -> scores, resumable.

<output_dir>/answers.jsonl      journal: one line a query, appended as answers come; makes a killed run resume
<output_dir>/predictions.jsonl  one row for each query
<output_dir>/texts.json         benchmark -> passage id -> text: with the predictions, all that the scorer needs
<output_dir>/scores.json        and report.md, report.html
"""

import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml
from tqdm import tqdm

from .. import __version__
from ..atomic_files import write_text
from ..corpora.benchmarks import BENCHMARKS, Benchmark, load_benchmark
from ..distributed import distributed_state
from ..errors import UserError
from ..hub import repos
from ..hub.repos import LocalModel
from ..inference.engine import Engine, Request
from ..passage import Passage, sample
from ..prompting.answers import parse_answer
from ..prompting.chat_template import TEMPLATES
from ..prompting.conversation import NegativeTypes, find_wording, opening
from ..prompting.known_checkpoints import KNOWN_CHECKPOINTS
from ..recipe import EvaluateConfig, Recipe
from ..retrieval.retriever import Example
from .card import predictions_card, scores_card
from .example_pools import ExamplePools, check_settings
from .report import report, report_html, scores_json
from .scoring import score_all


@dataclass(frozen=True)
class Model:
    """A model to evaluate and how it is asked. `name` is its row in tables; `base` is there for adapters alone.

    `server_name` is what a server calls it. `system` and `chat_template` are None where the tokenizer's own template
    says all.
    """

    name: str
    local: LocalModel
    base: LocalModel | None
    wording: str
    language: str
    system: str | None = None
    chat_template: str | None = None
    server_name: str | None = None


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
        models = _name_apart({name: find_model(name, recipe, config) for name in config.models})
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


def find_model(name: str, recipe: Recipe, config: EvaluateConfig) -> Model:
    """Resolve `base`, `adapter`, a folder, a Hub id or `id@revision`, and fetch what is on the Hub.

    How a model is asked is known from ra_it.json of an adapter of ours, or from the table of released checkpoints; any
    other is asked in the words of the recipe. An adapter's base is the one that its config names, at that revision.

    Raises:
        UserError: it does not exist, can't be fetched, or its base is not the one it was trained on.
    """
    if config.server_models and len(config.server_models) != len(config.models):
        raise UserError("`server_models` names one for each of `models`, in their order")
    served = dict(zip(config.models, config.server_models or config.models, strict=True))[name]
    if config.engine == "server" and config.server_api == "chat":  # a vendor's model, of which nothing can be fetched
        local = LocalModel(Path(), f"{served} of {config.server_url}")
        return Model(name, local, None, recipe.dataset.wording, recipe.language, server_name=served)
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
    files = repos.TOKENIZER_FILES if config.engine == "server" else repos.MODEL_FILES
    local = repos.fetch_model(path, revision or None, files)
    if released := KNOWN_CHECKPOINTS.get(path):
        return Model(name, local, None, **vars(released), server_name=served)
    facts, base = local.facts, None
    if local.adapter_config:
        named = local.adapter_config
        try:
            base = repos.fetch_model(named["base_model_name_or_path"], named.get("revision"), files)
        except UserError as error:
            raise UserError(f"the base of adapter {path}: {error}") from None
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
        server_name=served,
    )


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


def push_to_hub(output_dir: Path, recipe: Recipe, repo_id: str, predictions_id: str | None = None) -> None:
    """Push scores and report to a model repo, and predictions to that too, or to a dataset repo where one is named.

    The report goes into the model's card; what is scored of the model itself also goes into `model-index` and, on
    benchmarks of the Hub, `.eval_results`, from which the Hub makes its leaderboards.

    Raises:
        UserError: a push failed.
    """
    folder, keep = f"evaluation/{recipe.name}", f"the scores are kept in {output_dir}; a re-run asks no model again"
    scores = json.loads((output_dir / "scores.json").read_text(encoding="utf-8"))
    own = [row for row in scores["results"] if row["model"].partition("@")[0] in (repo_id, recipe.name)]
    names = ["scores.json", "report.md", "report.html", *([] if predictions_id else ["predictions.jsonl"])]
    files = {f"{folder}/{name}": output_dir / name for name in names}
    on_hub = [(BENCHMARKS[row["benchmark"]], row) for row in own if row["benchmark"] in BENCHMARKS]
    if entries := [
        EvalResultEntry(
            dataset_id=entry.hub_id,
            task_id=f"{entry.hub_config}_{row['setting']}",
            value=round(100 * row["span"]["f1"], 2),
            notes=f"span F1, {row['setting']}, {sample_note(scores)}, labels {scores['labels'][row['benchmark']]}",
        )
        for entry, row in on_hub
        if entry.hub_id
    ]:
        files[f".eval_results/{recipe.name}.yaml"] = output_dir / "eval_results.yaml"
        content = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
        write_text(files[f".eval_results/{recipe.name}.yaml"], content)
    results = [
        EvalResult(
            task_type="token-classification",
            task_name="open named entity recognition",
            dataset_type=row["benchmark"],
            dataset_name=f"{row['benchmark']}, {row['setting']}, {sample_note(scores)}",
            metric_type="f1",
            metric_name=f"{name} F1",
            metric_value=round(100 * row[name]["f1"], 2),
        )
        for row in own
        for name in ("span", "uniner")
    ]
    card = scores_card(recipe, (output_dir / "report.md").read_text(encoding="utf-8"), results)
    commit = repos.push("model", repo_id, files, card, f"Scores of recipe {recipe.name}", keep, folder)
    print(f"pushed to {repo_id} at {commit}")
    if predictions_id:
        file = f"{recipe.name}/predictions.jsonl"
        card = predictions_card(recipe, file)
        files = {file: output_dir / "predictions.jsonl"}
        commit = repos.push("dataset", predictions_id, files, card, f"Predictions of recipe {recipe.name}", keep)
        print(f"pushed to {predictions_id} at {commit}")


def sample_note(scores: dict) -> str:
    """A sample is marked as such everywhere."""
    return f"a sample of {scores['limit']} passages" if scores["limit"] else "all passages"


class Journal:
    """Answers by key, kept in JSON Lines files that are only appended to. A line torn by a kill is dropped.

    Each process writes a file of its own, and reads those of all.
    """

    def __init__(self, folder: Path, process: int = 0):
        self.folder, self.answers = folder, {}
        self.path = folder / (f"answers-{process}.jsonl" if process else "answers.jsonl")
        folder.mkdir(parents=True, exist_ok=True)
        self.read()

    def read(self) -> None:
        for path in sorted(self.folder.glob("answers*.jsonl")):
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if path == self.path:
                os.truncate(path, len(whole))
            for line in whole.splitlines():
                entry = json.loads(line)
                self.answers[entry["key"]] = entry["answer"]

    def add(self, key: str, answer: str) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps({"key": key, "answer": answer}).encode() + b"\n")
        self.answers[key] = answer


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
        print(f"{model.name}: {engine.cost}")


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
