"""Estimate of what a study would cost on one H100: tokens are counted on samples, seconds follow by arithmetic.

    training    FLOP per token: 2 N forward and 2 N backward through the activations, because the base is frozen;
                activation checkpointing adds 2 N. N is the number of parameters of the base model. Each evaluation of
                the validation part: 2 N.
    prompts     2 N per token; what the questions about a passage share is computed once.
    answers     Each step of a batch reads all weights once and takes as long as that. There are as many steps as the
                longest gold answer has tokens.

Not included: attention between tokens, the optimizer, loading, retrieval, and overhead between GPU kernels.
"""

import json
import os
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from ..corpora.benchmarks import Benchmark, load_benchmark
from ..corpora.sources import load_corpus
from ..dataset.build import PassageSplits, build
from ..errors import UserError
from ..evaluation.example_pools import ExamplePools
from ..evaluation.run import types_asked
from ..hub import repos
from ..markdown import table
from ..passage import sample
from ..prompting.chat_template import load_training_tokenizer, prompt_ids, training_length
from ..prompting.conversation import find_wording, opening
from ..recipe import TOKENIZER_KEYS, EvaluateConfig, OutputConfig, PushScoresConfig, Recipe, RecipeParser
from .grid import Grid, show

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PEAK_FLOPS = 989e12  # H100 SXM, dense bfloat16 (NVIDIA's data sheet)
BANDWIDTH = 3.35e12  # bytes per second of its memory (the same source)
UTILISATION = 0.35  # of PEAK_FLOPS; assumed
TRAIN_SAMPLE = 200  # passages
EVALUATE_SAMPLE = 48  # passages of a benchmark
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


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
        hours = (self.train_seconds, self.evaluate_seconds, self.train_seconds + self.evaluate_seconds)
        tokens = (self.train_tokens, self.prompt_tokens, self.answer_tokens)
        return [f"{count:,.0f}" for count in tokens] + [
            f"{seconds / 3600:,.2g}" if seconds < 36_000 else f"{seconds / 3600:,.0f}" for seconds in hours
        ]


HEADER = ("training tokens", "prompt tokens", "answer tokens", "training h", "evaluation h", "H100 hours")


def estimate(grid: Grid) -> str:
    """A table of what a cell of each group costs, and a list of what is measured and what is assumed.

    Benchmarks that can't be read are listed, not refused.

    Raises:
        UserError: a corpus, a tokenizer, an encoder or a model's config can't be read.
    """
    first, seeds = {}, Counter(cell.group for cell in grid.cells)
    for cell in grid.cells:
        first.setdefault(cell.group, cell)
    train, evaluate = cache(_train_cost), cache(_evaluate_cost)
    costs, missing = {}, {}
    for group, cell in first.items():
        recipe = grid.recipe(cell)
        trains = grid.adapters[cell.name] == cell.name
        of_training = train(_Key(recipe, {"dataset": [], "train": []})) if trains else Cost()
        # Examples are random here, so the strategy does not change the count.
        of_evaluation, left_out = evaluate(_Key(recipe, {"dataset": ["strategy"], "evaluate": ["models"]}))
        costs[group] = of_training + of_evaluation
        missing |= left_out
    total = sum((cost.times(seeds[group]) for group, cost in costs.items()), Cost())
    rows = [[" ".join(map(show, group)), seeds[group], *cost.row] for group, cost in costs.items()]
    return "\n\n".join(
        [
            f"{grid.name}: {len(grid.cells)} cells. Each row is the cost of one cell, the last row of all cells.",
            table(["cell", "seeds", *HEADER], [*rows, ["all cells", len(grid.cells), *total.row]]),
            f"Measured with the recipe's tokenizer: a dataset of {TRAIN_SAMPLE} passages, and the questions about "
            f"{EVALUATE_SAMPLE} passages of each benchmark, scaled to all passages and epochs. Training examples come "
            "from the sample, so BM25 filters keep fewer than on the whole corpus. In-context prompts are counted with "
            "random examples of their pool, on_demand as if examples were always near enough, and answers as the gold "
            "ones.",
            f"Assumed: an H100 reaches {UTILISATION:.0%} of {PEAK_FLOPS / 1e12:.0f} TFLOP/s and reads "
            f"{BANDWIDTH / 1e12:.2f} TB/s; FLOP per token as in ra_ner/study/cost.py. No time was measured.",
            *(f"Not counted: {name}: {reason}" for name, reason in missing.items()),
        ]
    )


class _Key:
    """A recipe, equal to others of the same cost: their sections are equal except for seeds and the given keys."""

    def __init__(self, recipe: Recipe, without: dict[str, list[str]]):
        self.recipe = recipe
        kept = [
            {key: value for key, value in recipe.sections[section].items() if key not in ("seed", *keys)}
            for section, keys in without.items()
        ]
        self.identity = json.dumps([recipe.language, kept], sort_keys=True)

    def __hash__(self) -> int:
        return hash(self.identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.identity == other.identity


def _tokenizer(recipe: Recipe) -> "PreTrainedTokenizerBase":
    model, revision, template = (recipe.sections["train"].get(key) for key in TOKENIZER_KEYS)
    if not model:
        raise UserError(f"{recipe.path}: section train has no `model_name_or_path`; name a Hub id or a folder")
    return load_training_tokenizer(model, revision, template)


@cache
def _parameters(model: str, revision: str | None) -> int:
    """The number of parameters of a model, from its config: no weights are fetched."""
    from accelerate import init_empty_weights
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    config = AutoConfig.from_pretrained(repos.fetch_model(model, revision, ["config.json"]).path)
    with init_empty_weights():
        empty = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
    empty.tie_weights()
    return empty.num_parameters()


def _train_cost(key: _Key) -> Cost:
    from ..training.defaults import train_parser
    from ..training.preview import training_steps

    recipe = key.recipe
    _, model, args = train_parser().parse_section(recipe)[:3]
    keys, language = recipe.dataset, recipe.language
    source = load_corpus(keys.corpus, language, revision=keys.revision, config=keys.corpus_config)
    size = keys.size or len(source.passages)
    config = replace(keys, size=min(size, TRAIN_SAMPLE), exclude=[])
    splits = PassageSplits(source, language, config)
    scale = size / len(splits.train + splits.validation)
    tokenizer = _tokenizer(recipe)
    count = training_length(tokenizer)
    rows = build(source, language, recipe.name, config, tokenizer).splits
    tokens = {split: scale * sum(count(row["prompt"] + row["completion"]) for row in rows[split]) for split in rows}
    validations = 0.0
    if args.eval_strategy == "epoch":
        validations = args.num_train_epochs
    elif args.eval_strategy == "steps":  # below 1 `eval_steps` is a share of all steps
        steps = training_steps(round(scale * len(rows["train"])), args)
        validations = steps / args.eval_steps if args.eval_steps >= 1 else 1 / args.eval_steps
    trained = tokens["train"] * args.num_train_epochs
    flop = (6 if args.activation_checkpointing else 4) * trained + 2 * validations * tokens.get("validation", 0)
    flop *= _parameters(model.model_name_or_path, model.model_revision)
    return Cost(train_tokens=trained, train_seconds=flop / (PEAK_FLOPS * UTILISATION))


def _evaluate_cost(key: _Key) -> tuple[Cost, dict[str, str]]:
    """The cost, and the benchmarks that can't be read with the reason."""
    recipe, missing, cost = key.recipe, {}, Cost()
    config = RecipeParser("evaluate", EvaluateConfig, PushScoresConfig, OutputConfig).parse_section(recipe)[0]
    config = replace(config, allow_overlap=True)  # nothing is scored
    pools, tokenizer = ExamplePools(recipe, config), _tokenizer(recipe)
    model, revision, _ = (recipe.sections["train"].get(key) for key in TOKENIZER_KEYS)
    parameters = _parameters(model, revision)
    weights = parameters * (0.5 if config.load_in_4bit else BYTES[config.dtype])
    for name in config.benchmarks:
        try:
            benchmark = load_benchmark(name, recipe.language)
        except UserError as error:
            missing[name] = str(error)
            continue
        for setting in config.settings:
            prompts, answers, steps = _questions(benchmark, setting, recipe, config, pools, tokenizer)
            seconds = 2 * parameters * prompts / (PEAK_FLOPS * UTILISATION) + steps * weights / BANDWIDTH
            cost += Cost(prompt_tokens=prompts, answer_tokens=answers, evaluate_seconds=seconds)
    return cost, missing


def _questions(
    benchmark: Benchmark,
    setting: str,
    recipe: Recipe,
    config: EvaluateConfig,
    pools: ExamplePools,
    tokenizer: "PreTrainedTokenizerBase",
) -> tuple[float, float, float]:
    """Tokens of prompts, tokens of gold answers, and generation steps of a benchmark in a setting."""
    asked = len(sample(benchmark.test, config.limit, config.seed))
    passages = sample(benchmark.test, min(asked, EVALUATE_SAMPLE), config.seed)
    wording = find_wording(recipe.dataset.wording, recipe.language)
    prompts, answers = 0, []
    examples = pools.examples(_by_chance(setting, benchmark), benchmark, passages)
    for passage, types, shown in zip(passages, types_asked(benchmark, passages, config.seed), examples, strict=True):
        messages = opening(passage.text, [example.passage for example in shown], wording)
        questions = [{"role": "user", "content": wording.question.format(type=type_)} for type_ in types]
        ids = [prompt_ids(tokenizer, [*messages, question]) for question in questions]
        shared = len(os.path.commonprefix(ids))  # noqa: RUF071 - lists, not paths
        prompts += shared + sum(len(prompt) - shared for prompt in ids)
        gold = [wording.format_answer(passage.mentions(type_)) for type_ in types]
        answers.append([len(tokenizer(answer).input_ids) + 1 for answer in gold])  # plus the end of the turn
    batches = [answers[start : start + config.batch_size] for start in range(0, len(answers), config.batch_size)]
    steps = sum(max(max(row) for row in batch) for batch in batches)
    scale = asked / len(passages)
    return scale * prompts, scale * sum(map(sum, answers)), scale * steps


def _by_chance(setting: str, benchmark: Benchmark) -> str:
    """A setting with random examples of the same pool, which needs no encoder."""
    if setting == "zero_shot":
        return setting
    in_domain = setting.startswith("in_domain") or (setting == "on_demand" and benchmark.train)
    return f"{'in' if in_domain else 'out'}_domain-random"
