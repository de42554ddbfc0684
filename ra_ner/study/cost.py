"""Estimate what a study would cost on one H100, without training or generating anything.

Tokens are counted on samples. Seconds follow from the tokens, with N for the parameters of the base model:

    training     2 N FLOP per token for the forward pass and 2 N for the gradients of the activations; the frozen base
                 has no weight gradients. Activation checkpointing adds 2 N, for a second forward pass.
    validation   2 N FLOP per token in each validation.
    prompts      2 N FLOP per token; the shared prefix of a passage's queries is computed once.
    answers      each step of a batch reads all weights once. A batch takes as many steps as its longest gold answer
                 has tokens.

The estimate leaves out attention between tokens, the optimizer, loading, retrieval, and overhead between GPU kernels.
"""

import json
import os
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

from ..corpora.benchmarks import Benchmark
from ..corpora.sources import load_recipe_corpus
from ..dataset.build import PassageSplits, build
from ..errors import UserError
from ..evaluation.example_pools import ExamplePools
from ..evaluation.run import types_asked
from ..hub import repos
from ..markdown import table
from ..passage import sample
from ..prompting.chat_template import load_training_tokenizer, prompt_ids, training_length
from ..prompting.conversation import opening
from ..recipe import Recipe
from ..recipe_keys import TOKENIZER_KEYS, EvaluateConfig
from ..tasks import find_wording, task_of
from .grid import Grid

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from trl import SFTConfig

PEAK_FLOPS = 989e12  # of an H100 SXM in dense bfloat16 (NVIDIA's data sheet)
BANDWIDTH = 3.35e12  # of its memory, in bytes per second (the same data sheet)
UTILIZATION = 0.35  # share of PEAK_FLOPS that is reached; an assumption
TRAIN_SAMPLE = 200  # passages
EVALUATE_SAMPLE = 48  # passages of a benchmark
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
BYTES_IN_4BIT = 0.5


@dataclass(frozen=True)
class Cost:
    """Tokens, and seconds on the GPU."""

    train_tokens: float = 0
    prompt_tokens: float = 0
    answer_tokens: float = 0
    train_seconds: float = 0
    evaluate_seconds: float = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def times(self, factor: float) -> "Cost":
        return Cost(*(factor * value for value in vars(self).values()))

    @property
    def row(self) -> list[str]:
        """The values of a table row under HEADER."""
        tokens = (self.train_tokens, self.prompt_tokens, self.answer_tokens)
        seconds = (self.train_seconds, self.evaluate_seconds, self.train_seconds + self.evaluate_seconds)
        return [*(f"{count:,.0f}" for count in tokens), *map(_hours, seconds)]


HEADER = ("training tokens", "prompt tokens", "answer tokens", "training h", "evaluation h", "H100 hours")


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.2g}" if hours < 10 else f"{hours:,.0f}"


def estimate(grid: Grid) -> str:
    """A table with the cost of each group's cells, followed by what was measured and what is assumed.

    Returns:
        Markdown. A benchmark that can't be read is left out and named with the reason.

    Raises:
        UserError: a corpus, a tokenizer, an encoder or a model's config can't be read.
    """
    seeds = Counter(cell.group for cell in grid.cells)
    first_cells = {cell.group: cell for cell in reversed(grid.cells)}
    train_cost, evaluate_cost = cache(_train_cost), cache(_evaluate_cost)
    costs, unreadable = {}, {}
    for group in seeds:
        cell = first_cells[group]
        recipe = grid.recipe(cell)
        training = train_cost(_CostKey(recipe, dataset=(), train=())) if grid.trains(cell) else Cost()
        # Examples are drawn at random for all strategies, so the strategy does not change the prompts.
        evaluation, its_unreadable = evaluate_cost(_CostKey(recipe, dataset=("strategy",), evaluate=("models",)))
        costs[group] = training + evaluation
        unreadable |= its_unreadable
    total = sum((cost.times(seeds[group]) for group, cost in costs.items()), Cost())
    rows = [[" ".join(group), seeds[group], *cost.row] for group, cost in costs.items()]
    return "\n\n".join(
        [
            f"{grid.name}: {len(grid.cells)} cells. Each row shows the cost of one cell, the last row the cost of all.",
            table(["cell", "seeds", *HEADER], [*rows, ["all cells", len(grid.cells), *total.row]]),
            f"Measured: tokens, counted with the recipe's tokenizer on a dataset of {TRAIN_SAMPLE} passages and on the "
            f"queries about {EVALUATE_SAMPLE} passages of each benchmark, then scaled to all passages and epochs. "
            "Training examples are retrieved from the sample, in which BM25 filters leave fewer examples than in the "
            "whole corpus. In-context examples are drawn at random from their pool; on_demand counts as if an example "
            "were always near enough, and its prompts as if no other setting had them. Answers are the gold answers.",
            f"Assumed: an H100 does {PEAK_FLOPS / 1e12:.0f} TFLOP/s, of which {UTILIZATION:.0%} are reached, and reads "
            f"{BANDWIDTH / 1e12:.2f} TB/s. ra_ner/study/cost.py has the formulas. No time was measured.",
            *(f"Not counted: {name}: {reason}" for name, reason in unreadable.items()),
        ]
    )


class _CostKey:
    """A recipe that equals others of the same cost, as the key of a cache.

    Args:
        ignored: the sections that the cost depends on, each with keys that do not change it. `seed` never does.
    """

    def __init__(self, recipe: Recipe, **ignored: tuple[str, ...]):
        self.recipe = recipe
        relevant = [
            {key: value for key, value in recipe.sections[section].items() if key not in ("seed", *keys)}
            for section, keys in ignored.items()
        ]
        self.identity = json.dumps([recipe.language, relevant], sort_keys=True)

    def __hash__(self) -> int:
        return hash(self.identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _CostKey) and self.identity == other.identity


def _tokenizer(recipe: Recipe) -> "PreTrainedTokenizerBase":
    model, revision, template = (recipe.sections["train"].get(key) for key in TOKENIZER_KEYS)
    if not model:
        raise UserError(f"{recipe.path}: section train has no `model_name_or_path`; name a Hub id or a folder")
    return load_training_tokenizer(model, revision, template)


@cache
def _parameters(model: str, revision: str | None) -> int:
    """Number of parameters of a model, from its config alone: no weights are fetched."""
    from accelerate import init_empty_weights
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    config = AutoConfig.from_pretrained(repos.fetch_model(model, revision, ["config.json"]).path)
    with init_empty_weights():
        empty = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
    empty.tie_weights()
    return empty.num_parameters()


def _train_cost(key: _CostKey) -> Cost:
    from ..training.defaults import train_parser

    recipe = key.recipe
    _, model, args = train_parser().parse_section(recipe)[:3]
    config, language = recipe.dataset, recipe.language
    source = load_recipe_corpus(config, language, task_of(config.wording).reading)
    size = config.size or len(source.passages)
    sample_config = replace(config, size=min(size, TRAIN_SAMPLE), exclude=[])
    passages = PassageSplits(source, language, sample_config)
    scale = size / len(passages.train + passages.validation)
    tokenizer = _tokenizer(recipe)
    count_tokens = training_length(tokenizer)
    splits = build(source, language, recipe.name, sample_config, tokenizer).splits
    tokens = {
        split: scale * sum(count_tokens(row["prompt"] + row["completion"]) for row in rows)
        for split, rows in splits.items()
    }
    trained_tokens = tokens["train"] * args.num_train_epochs
    validated_tokens = tokens.get("validation", 0) * _validations(round(scale * len(splits["train"])), args)
    passes = 3 if args.activation_checkpointing else 2
    flop_per_parameter = 2 * passes * trained_tokens + 2 * validated_tokens
    flop = flop_per_parameter * _parameters(model.model_name_or_path, model.model_revision)
    return Cost(train_tokens=trained_tokens, train_seconds=flop / (PEAK_FLOPS * UTILIZATION))


def _validations(rows: int, args: "SFTConfig") -> float:
    """How often the validation split is evaluated during a training on so many rows."""
    from ..training.preview import training_steps

    if args.eval_strategy == "epoch":
        return args.num_train_epochs
    if args.eval_strategy == "steps":
        is_share_of_all_steps = args.eval_steps < 1
        return 1 / args.eval_steps if is_share_of_all_steps else training_steps(rows, args) / args.eval_steps
    return 0


def _evaluate_cost(key: _CostKey) -> tuple[Cost, dict[str, str]]:
    """The cost, and the benchmarks that can't be read with the reason."""
    recipe, unreadable, cost = key.recipe, {}, Cost()
    config = replace(recipe.evaluate, allow_overlap=True)  # tokens are counted, nothing is scored
    pools, tokenizer = ExamplePools(recipe, config), _tokenizer(recipe)
    model, revision, _ = (recipe.sections["train"].get(key) for key in TOKENIZER_KEYS)
    parameters = _parameters(model, revision)
    weight_bytes = parameters * (BYTES_IN_4BIT if config.load_in_4bit else BYTES[config.dtype])
    for name in config.benchmarks:
        try:
            benchmark = pools.load(name)
        except UserError as error:
            unreadable[name] = str(error)
            continue
        for setting in config.settings:
            prompts, answers, steps = _count_queries(benchmark, setting, recipe, config, pools, tokenizer)
            seconds = 2 * parameters * prompts / (PEAK_FLOPS * UTILIZATION) + steps * weight_bytes / BANDWIDTH
            cost += Cost(prompt_tokens=prompts, answer_tokens=answers, evaluate_seconds=seconds)
    return cost, unreadable


def _count_queries(
    benchmark: Benchmark,
    setting: str,
    recipe: Recipe,
    config: EvaluateConfig,
    pools: ExamplePools,
    tokenizer: "PreTrainedTokenizerBase",
) -> tuple[float, float, float]:
    """Tokens of the prompts, tokens of the gold answers, and generation steps, for a benchmark in a setting."""
    total = len(sample(benchmark.test, config.limit, config.seed))
    passages = sample(benchmark.test, min(total, EVALUATE_SAMPLE), config.seed)
    wording = find_wording(recipe.dataset.wording, recipe.language)
    types_by_passage = types_asked(benchmark, passages, config.seed)
    examples_by_passage = pools.examples(_random_setting(setting, benchmark), benchmark, passages)
    prompt_tokens, answer_lengths = 0, []  # lengths in tokens of the answers, by passage
    for passage, types, examples in zip(passages, types_by_passage, examples_by_passage, strict=True):
        messages = opening(passage.text, [example.passage for example in examples], wording)
        questions = [{"role": "user", "content": wording.question.format(type=type_)} for type_ in types]
        prompts = [prompt_ids(tokenizer, [*messages, question]) for question in questions]
        shared = len(os.path.commonprefix(prompts))  # noqa: RUF071 - lists, not paths
        prompt_tokens += sum(map(len, prompts)) - shared * (len(prompts) - 1)
        answers = [wording.format_answer(passage.mentions(type_)) for type_ in types]
        answer_lengths.append([len(tokenizer(answer).input_ids) + 1 for answer in answers])  # 1 ends the turn
    batches = [answer_lengths[i : i + config.batch_size] for i in range(0, len(passages), config.batch_size)]
    steps = sum(max(chain.from_iterable(batch), default=0) for batch in batches)
    scale = total / len(passages)
    return scale * prompt_tokens, scale * sum(map(sum, answer_lengths)), scale * steps


def _random_setting(setting: str, benchmark: Benchmark) -> str:
    """A setting with random examples from the same pool, so that no encoder is needed."""
    if setting == "zero_shot":
        return setting
    if setting == "on_demand":
        return "in_domain-random" if benchmark.train else "out_domain-random"
    domain = setting.partition("-")[0]
    return f"{domain}-random"
