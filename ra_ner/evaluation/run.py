"""Benchmarks x settings x models -> queries -> answers -> scores, resumable.

<output_dir>/answers.jsonl      journal: each answer is appended as it comes, so a killed run resumes
<output_dir>/predictions.jsonl  one row for each query
<output_dir>/texts.json         benchmark -> passage id -> text: with the predictions, all that the scorer needs
<output_dir>/scores.json        and report.md, report.html, passages.html
"""

import hashlib
import json
import logging
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from .. import __version__
from ..atomic_files import write_text
from ..corpora.benchmarks import Benchmark
from ..distributed import distributed_state
from ..errors import UserError
from ..hub.repos import LocalModel
from ..inference.engine import Request, ServerOptions, by_text
from ..inference.models import Model, check_copy_only, find_model, load_engine, longest_question
from ..output_folder import claim
from ..passage import Passage, sample
from ..prompting.alignment import grounded
from ..prompting.conversation import Message, NegativeTypes, transcript
from ..recipe import Recipe
from ..recipe_keys import EvaluateConfig
from ..retrieval.on_demand import OnDemand
from ..retrieval.retriever import Example
from ..tasks import Task, task_of, task_of_recipe
from ..tasks.scoring import score_all
from .example_pools import ExamplePools
from .journal import Journal
from .passages import judge_passages, write_passages
from .report import report, report_html, scores_json

if TYPE_CHECKING:
    from ..inference.server import ServerEngine

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """One passage in one setting: which types are asked, and which examples are to be shown."""

    benchmark: str
    setting: str
    passage: Passage
    types: list[str]
    examples: list[Example]


@dataclass(frozen=True)
class Query(Request):
    """One question to one model.

    Attributes:
        key: of its answer in the journal. It covers all that the answer depends on.
        examples: those of the item that fit into the prompt.
        error: why it can't be asked; None if it can.
    """

    model: Model
    item: Item
    type: str
    key: str
    examples: Sequence[Example]
    error: str | None = None

    @property
    def lists_mentions(self) -> bool:
        return task_of(self.model.wording).extracts


def evaluate(recipe: Recipe, config: EvaluateConfig, output_dir: Path) -> dict | None:
    """Ask every model every query, write the files above, and return the content of scores.json.

    Under `accelerate launch` each process asks its share; the main one writes, the others return None.

    Raises:
        UserError: a setting, a benchmark or a model is unknown or can't be read, or something else stands in the
            folder.
    """
    state, task = distributed_state(), task_of_recipe(recipe)
    if state.is_main_process:
        claim(output_dir, "evaluation")
    benchmarks, pools = _benchmarks(recipe, config)
    models = _models(recipe, config)
    queries = _all_queries(models, benchmarks, pools, config)
    journal = Journal(output_dir, state.process_index)
    for model in models:
        _ask([query for query in queries if query.model is model], config, journal)
    state.wait_for_everyone()
    if not state.is_main_process:
        return None
    journal.read()
    rows = [_row(task, query, "" if query.error else journal.answers[query.key]) for query in queries]
    rows += _baseline_rows(task, queries)
    texts: dict[str, dict[str, str]] = {}
    for query in queries:
        texts.setdefault(query.item.benchmark, {})[query.item.passage.id] = query.text
    is_sample = any(config.limit and len(benchmark.test) > config.limit for benchmark in benchmarks)
    scores = {
        "recipe": recipe.name,
        "ra_ner": __version__,
        **task.facts,
        "config": vars(config) | {"limit": config.limit if is_sample else None},  # reports call a limited run a sample
        "labels": {benchmark.name: benchmark.label_set for benchmark in benchmarks},
        "benchmarks": {benchmark.name: _facts(benchmark, pools) for benchmark in benchmarks},
        "counts": _counts(queries),
        "on_demand": {model.name: str(chosen) for model in models if (chosen := _chosen_threshold(model, config))},
        **score_all(rows, texts, config.seed, metric=task.metric),
    }
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    write_text(output_dir / "predictions.jsonl", "".join(lines))
    write_text(output_dir / "texts.json", json.dumps(texts, indent=1) + "\n")
    write_text(output_dir / "scores.json", scores_json(scores) + "\n")
    write_text(output_dir / "report.md", report(scores))
    judged = list(judge_passages(rows, texts, task.metric.judge))
    write_text(output_dir / "report.html", report_html(scores, judged))
    write_passages(recipe.name, judged, output_dir / "passages.html")
    return scores


def plan(recipe: Recipe, config: EvaluateConfig) -> str:
    """Describe what `evaluate` would ask, without asking: models, benchmarks, numbers of queries, and one prompt.

    Raises:
        UserError: as `evaluate`.
    """
    benchmarks, pools = _benchmarks(recipe, config)
    queries = _all_queries(_models(recipe, config), benchmarks, pools, config)
    counts = Counter((query.model.name, query.item.benchmark, query.item.setting) for query in queries)
    lines = [f"{model} {benchmark} {setting}: {count} queries" for (model, benchmark, setting), count in counts.items()]
    lines += [f"{key}: {count}" for key, count in _counts(queries).items()]
    lines += [f"labels of {benchmark.name}: {benchmark.label_set} ({benchmark.tested})" for benchmark in benchmarks]
    for shown in [*(query for query in queries if query.examples), *queries][:1]:
        lines += ["", f"A prompt of setting {shown.item.setting}:", "", transcript(shown.messages)]
    return "\n".join(lines)


def _models(recipe: Recipe, config: EvaluateConfig) -> list[Model]:
    """The models that are asked. If two share a name, all go by what the user wrote."""
    with distributed_state().main_process_first():  # the other processes find the models in the cache
        models = {name: resolve_model(name, recipe, config) for name in config.models}
    if len({model.name for model in models.values()}) == len(models):
        return list(models.values())
    return [replace(model, name=given) for given, model in models.items()]


def resolve_model(name: str, recipe: Recipe, config: EvaluateConfig) -> Model:
    """The model that an entry of `models` names: `base` and `adapter` of the recipe, a folder, or a Hub id.

    Raises:
        UserError: it does not exist or can't be fetched.
    """
    if config.server_models and len(config.server_models) != len(config.models):
        raise UserError("`server_models` needs one name for each of `models`, in the same order")
    served = dict(zip(config.models, config.server_models or config.models, strict=True))[name]
    wording, language = recipe.dataset.wording, recipe.language
    if config.engine == "server" and config.server_api == "chat":  # a vendor's model: nothing of it can be fetched
        local = LocalModel(Path(), f"{served} of {config.server_url}")
        return Model(name, local, None, wording, language, server_name=served)
    path, revision = name, None
    if name == "base":
        path, revision = (recipe.sections["train"].get(key) for key in ("model_name_or_path", "model_revision"))
        if not path:
            raise UserError(f"{recipe.path}: section train names no `model_name_or_path`, so there is no base model")
    elif name == "adapter":
        path = str(recipe.output_dir / "adapter")
        if not Path(path).is_dir():
            raise UserError(f"{path} does not exist; train it with `accelerate launch -m ra_ner train {recipe.path}`")
    with_weights = config.engine != "server"
    model = find_model(path, revision, wording=wording, language=language, with_weights=with_weights)
    if (trained := task_of(model.wording)) is not task_of(wording):
        raise UserError(f"model {name} was trained for {trained.title}, the recipe's task is {task_of(wording).title}")
    if config.copy_only:
        check_copy_only(model)
    return replace(model, name="base" if name == "base" else model.name, server_name=served)


def _benchmarks(recipe: Recipe, config: EvaluateConfig) -> tuple[list[Benchmark], ExamplePools]:
    """The benchmarks and the pools of their examples. A warning tells of words that were never trained."""
    pools = ExamplePools(recipe, config)
    benchmarks = pools.benchmarks()
    if set(config.models) != {"base"}:
        for benchmark in benchmarks:
            if message := untrained_words(benchmark, pools.trained_types):
                logger.warning(message)
    return benchmarks, pools


def untrained_words(benchmark: Benchmark, trained: Callable[[], Set[str]]) -> str | None:
    """A warning, if words of a benchmark were never trained while the labels that they stand for were."""
    verbalised = {word: labels for word, labels in benchmark.labels_of.items() if word not in labels}
    types = trained() if verbalised else set()
    pairs = [(label, word) for word, labels in verbalised.items() if word not in types for label in labels & types]
    if not pairs:
        return None
    shown = ", ".join(f"{word!r} for {label!r}" for label, word in sorted(pairs))
    return (
        f"benchmark {benchmark.name} is asked by words that the recipe's corpus does not have, though it has the "
        f"labels: {shown}. Write these words into labels.json beside the corpus, or ask by its labels (`words: file`, "
        "without a labels.json)"
    )


def _all_queries(
    models: Sequence[Model], benchmarks: Sequence[Benchmark], pools: ExamplePools, config: EvaluateConfig
) -> list[Query]:
    """All queries to all models. Models differ in when `on_demand` shows them examples."""
    queries: list[Query] = []
    items: dict[float | None, list[Item]] = {}  # by threshold of on_demand
    for model in models:
        threshold = None
        if chosen := _chosen_threshold(model, config):
            logger.info(f"{model.name}: {chosen}")
            threshold = chosen.threshold
        if threshold not in items:
            items[threshold] = _items(benchmarks, pools, config, threshold)
        queries += _queries(model, items[threshold], config)
    return queries


def _chosen_threshold(model: Model, config: EvaluateConfig) -> OnDemand | None:
    return model.on_demand if config.calibrated and "on_demand" in config.settings else None


def _items(
    benchmarks: Sequence[Benchmark], pools: ExamplePools, config: EvaluateConfig, threshold: float | None
) -> list[Item]:
    items = []
    for benchmark in benchmarks:
        passages = sample(benchmark.test, config.limit, config.seed)
        types = types_asked(benchmark, passages, config.seed)
        for setting in config.settings:
            examples = pools.examples(setting, benchmark, passages, threshold)
            items += [
                Item(benchmark.name, setting, passage, asked, shown)
                for passage, asked, shown in zip(passages, types, examples, strict=True)
            ]
    return items


def types_asked(benchmark: Benchmark, passages: list[Passage], seed: int) -> list[list[str]]:
    """The types that each passage is asked for: its file's own questions; the whole label set; or of open types its own
    and as many others.
    """
    if benchmark.asked is not None:
        return [benchmark.asked[passage.id] for passage in passages]
    if benchmark.types is not None:
        return [benchmark.types for _ in passages]
    others = NegativeTypes(benchmark.test)
    return [
        passage.types + others.draw(passage, len(passage.types), random.Random(f"{seed}:{passage.id}"))
        for passage in passages
    ]


def _queries(model: Model, items: Sequence[Item], config: EvaluateConfig) -> Iterator[Query]:
    """All queries to a model. Examples are dropped, the last one first, until a prompt and its answer fit."""
    renders = config.engine == "transformers" or config.server_api == "completions"  # else a vendor's server does
    for item in items:
        text, questions = item.passage.text, [model.question(entity_type) for entity_type in item.types]
        examples, error = item.examples, None
        if renders and questions:
            longest = partial(_prompt, model, text, longest_question(questions))
            room = model.max_length and max(1, model.max_length - config.server_thinking_tokens)
            lists_mentions = task_of(model.wording).extracts
            examples = model.fitting_examples(text, examples, longest, room, config.max_new_tokens, lists_mentions)
            if model.positions and not examples:
                tokens = model.count_tokens(longest([]))
                if tokens > model.positions:
                    error = f"a prompt of {tokens} tokens is longer than the {model.positions} that the model reads"
        opening = model.opening(text, [example.passage for example in examples])
        for number, (entity_type, question) in enumerate(zip(item.types, questions, strict=True)):
            earlier = [asked["content"] for asked in questions[:number] if config.mode == "conversation"]
            key = _key(model, config, opening, earlier, question["content"])
            yield Query(text, [*opening, question], model, item, entity_type, key, examples, error)


def _prompt(model: Model, text: str, question: Message, examples: Sequence[Passage]) -> list[Message]:
    return [*model.opening(text, examples), question]


def _key(model: Model, config: EvaluateConfig, opening: list[Message], earlier: list[str], question: str) -> str:
    """Tells the answer to a question from all others, so that a changed prompt or model never reuses an old one.

    A prompt that two settings have in common, as `on_demand` and `zero_shot` do, is asked once.
    """
    weights = [model.local.revision, model.base and model.base.revision, model.template]
    if config.engine == "server":
        generation = [config.server_url, model.server_name, config.server_api, config.server_json]
        generation += [config.server_thinking_tokens] if config.server_thinking_tokens else []
    else:
        generation = [config.dtype, config.load_in_4bit]
    generation += [config.mode, config.max_new_tokens, *(["copy_only"] if config.copy_only else [])]
    return _digest(*weights, *generation, opening, earlier, question)


def _ask(queries: Sequence[Query], config: EvaluateConfig, journal: Journal) -> None:
    """Ask a model what the journal does not hold. Each process asks its share."""
    state = distributed_state()
    distinct = {query.key: query for query in queries if not query.error}
    missing = by_text([query for key, query in distinct.items() if key not in journal.answers])
    if config.mode == "conversation":  # each question depends on the answers before it
        begun = {id(query.item) for group in missing for query in group}
        whole = [query for query in queries if id(query.item) in begun]
        missing = [list(group) for _, group in groupby(whole, key=lambda query: id(query.item))]
    missing = missing[state.process_index :: state.num_processes]
    if not missing:
        return
    model = missing[0][0].model
    server = None
    if config.engine == "server":
        keys = ("url", "api", "json", "concurrency", "timeout", "max_requests", "max_tokens", "thinking_tokens")
        options = {key: getattr(config, f"server_{key}") for key in keys}
        server = ServerOptions(**options, prices=tuple(config.server_prices))
    engine = load_engine(
        model,
        server=server,
        dtype=config.dtype,
        load_in_4bit=config.load_in_4bit,
        max_new_tokens=config.max_new_tokens,
        batch_size=config.batch_size,
        copy_only=config.copy_only,
    )
    count = sum(map(len, missing))
    bar = tqdm(total=count, desc=model.name, unit="query", disable=not state.is_main_process)
    with bar as progress, _first_interrupt_stops(engine) if server else nullcontext():
        if config.mode == "query":
            with closing(engine.answer([query for group in missing for query in group])) as answers:
                for query, answer in answers:
                    journal.add(query.key, answer.text)
                    progress.update()
        else:
            for group in missing:
                for query, answer in zip(group, engine.converse(group), strict=True):
                    journal.add(query.key, answer)
                    progress.update()
    if server:
        logger.info(f"{model.name}: {engine.cost}")


@contextmanager
def _first_interrupt_stops(engine: "ServerEngine") -> Iterator[None]:
    """Have the first Ctrl-C send nothing more and await the answers that were paid for; the second ends at once."""
    if threading.current_thread() is not threading.main_thread():  # it gets no signals
        yield
        return

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        engine.stop(KeyboardInterrupt())

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _row(task: Task, query: Query, raw: str) -> dict:
    """The row of predictions of a query and its answer."""
    item, answer = query.item, task.read_answer(raw, query.type)
    return {
        "model": query.model.name,
        "revision": query.model.local.revision,
        "prompt_hash": _digest(query.messages)[:16],
        "benchmark": item.benchmark,
        "passage_id": item.passage.id,
        "setting": item.setting,
        "type": query.type,
        "gold": [asdict(entity) for entity in item.passage.entities if entity.type == query.type],
        "raw_answer": raw,
        "parsed": answer.error is None,
        "predicted": list(answer.mentions),
        **({"grounded": grounded(answer.mentions, query.text)} if task.extracts else {}),
        "parse_error": query.error or answer.error,
        "copied": copied(task, answer.mentions, query.text, [example.passage for example in query.examples]),
        "example_ids": [example.passage.id for example in query.examples],
        "example_scores": [example.score for example in query.examples],
    }


def copied(task: Task, items: Sequence[str], text: str, shown: Sequence[Passage]) -> list[str]:
    """The items of an answer that stand in a shown example, but not in the text."""
    return [item for item in items if not task.find(item, text) and any(passage.holds(item) for passage in shown)]


def _baseline_rows(task: Task, queries: Sequence[Query]) -> Iterator[dict]:
    """The rows of the task's baseline, in all settings with examples. They have no revision, as it is no model."""
    if not task.baseline:
        return
    name, answer = task.baseline
    for query in queries:
        if query.model is queries[0].model and query.item.setting != "zero_shot":
            asked = replace(query, examples=query.item.examples, error=None)
            raw = answer([example.passage for example in asked.examples])
            yield _row(task, asked, raw) | {"model": name, "revision": None}


def _facts(benchmark: Benchmark, pools: ExamplePools) -> dict:
    """What scores.json says of a benchmark."""
    return {
        "labels": benchmark.label_set,
        "tested": benchmark.tested,
        "types": benchmark.types,
        "not_asked": list(benchmark.not_asked),
        "dropped_from_pool": pools.dropped(benchmark),
        "faults": dict(benchmark.counts),
    }


def _counts(queries: Sequence[Query]) -> dict[str, int]:
    """What did not fit into prompts: examples that were dropped, counted by prompt, and queries not asked at all."""
    return {
        "dropped_examples": sum(len(query.item.examples) - len(query.examples) for query in queries),
        "too_long_queries": sum(query.error is not None for query in queries),
    }


def _digest(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
