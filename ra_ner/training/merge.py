"""Merging an adapter into its base: one model that servers load without PEFT, checked against the adapter.

The base is loaded again in bfloat16, even if it was trained in 4 bits: merging into 4-bit weights would round the
adapter away (peft#2321). A merged model therefore differs slightly from the model that was trained. The difference is
measured, printed and written into the card.
"""

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.utils.memory import clear_device_cache
from datasets import Dataset, load_dataset
from datasets.exceptions import DatasetsError
from transformers import GenerationConfig
from trl import SFTConfig

from ..errors import UserError
from ..hub import repos
from ..inference.engine import Request
from ..inference.models import Model, find_model
from ..inference.shared_prefix import other_layers
from ..inference.transformers import TransformersEngine
from ..output_folder import check, new_folder
from ..prompting.chat_template import end_of_turn
from .card import merged_card
from .run_record import CURVES

logger = logging.getLogger(__name__)

ROWS = 8  # of the dataset, on which the models are compared
POSITIONS = 128  # at the end of each row, where the answers are
MAX_NEW_TOKENS = 64


def check_merge(args: SFTConfig, is_finished: bool, output: Path) -> None:
    """Refuse, before any work, what can't be merged.

    Raises:
        UserError: there are several processes, a finished adapter is to be pushed, or something else stands in the
            folder `output` of the merged model.
    """
    check(output, "merged model")
    if args.world_size > 1:
        raise UserError("merging needs a single process: train first, then run `ra-ner merge RECIPE`")
    if args.push_to_hub and is_finished:
        raise UserError(
            "`--merge` of a finished adapter pushes nothing: leave out `push_to_hub`, and push the folder `merged` "
            "with `hf upload NAMESPACE/NAME FOLDER`"
        )


def merge(adapter: Path, output: Path) -> list[str]:
    """Write the merged model to `output`, completely or not at all.

    The folder holds safetensors in bfloat16, the tokenizer with the chat template that was trained, a generation config
    that answers greedily and stops at the end of a turn, ra_it.json, and a card.

    Returns:
        sentences on how the merged model compares with the adapter.

    Raises:
        UserError: the base is missing, has changed, or is quantised; the training dataset is missing; or the merged
            model does not agree with the adapter.
    """
    model = find_model(str(adapter))
    facts = model.local.facts
    if model.base is None or not facts:
        raise UserError(
            f"{adapter} has no adapter_config.json or no ra_it.json: only adapters of this project can be merged"
        )
    if "quantization_config" in json.loads((model.base.path / "config.json").read_text(encoding="utf-8")):
        raise UserError(
            f"base {facts['base']} is quantised, so merging would round the adapter away: use the adapter as it is, or "
            "train it on the unquantised base"
        )
    rows = _rows(facts)
    with new_folder(output, "merged model") as new:
        expected, without = _write_model(new, model, rows)
        engine = TransformersEngine(new)
        agreement = compare(expected, _logits(engine, rows))
        rounding = tolerance(engine.model.config.get_text_config().num_hidden_layers)
        if not agreement.relative <= rounding:
            raise UserError(
                f"the merged model does not agree with {adapter}: {agreement}; rounding to bfloat16 explains "
                f"{rounding:.1%}. Nothing was written; use the adapter as it is"
            )
        findings = [
            f"Compared with the adapter on the same base in bfloat16, on {len(rows)} rows: {agreement}. "
            f"(The base without the adapter: {compare(expected, without)}.)"
        ]
        tokenizer = engine.tokenizer
        if facts["config"].get("load_in_4bit") and not other_layers(engine.model):  # else only a server can ask it
            requests = [request for row in rows for request in _requests(row)]
            answers = _answers(engine, requests)
            del engine
            clear_device_cache(garbage_collection=True)
            trained = _answers(TransformersEngine(model.base.path, adapter, load_in_4bit=True), requests)
            same = sum(answers[number] == trained[number] for number in answers)
            findings.append(
                f"Compared with the adapter on its 4-bit base, as trained: {same} of {len(answers)} greedy answers are "
                "equal. The 16-bit base differs slightly from the one in training, so evaluate the form that you use."
            )
        for name in ("ra_it.json", CURVES):
            if (adapter / name).is_file():
                shutil.copyfile(adapter / name, new / name)
        card = (adapter / "README.md").read_text(encoding="utf-8")
        (new / "README.md").write_text(merged_card(card, facts, tokenizer, findings), encoding="utf-8")
    for line in (f"{output}: merged model, tokenizer and chat template", *findings):
        logger.info(line)
    return findings


def _write_model(folder: Path, model: Model, rows: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Write merged weights, tokenizer and generation config.

    Returns:
        the logits before merging, with and without the adapter.
    """
    engine = TransformersEngine(model.base.path, model.local.path)
    tokenizer, logits = engine.tokenizer, _logits(engine, rows)
    with engine.model.disable_adapter():
        without = _logits(engine, rows)
    try:
        merged = engine.model.merge_and_unload(safe_merge=True)
    except ValueError as error:  # NaNs in the merged weights
        raise UserError(f"{model.local.path} can't be merged: {error}") from None
    merged.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.convert_tokens_to_ids(end_of_turn(tokenizer)),
        pad_token_id=tokenizer.pad_token_id,
    )
    merged.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    del engine, merged
    clear_device_cache(garbage_collection=True)
    return logits, without


@dataclass(frozen=True)
class Agreement:
    """How the logits of two models differ: the largest difference, the relative one, and the share of equal argmax."""

    largest: float
    relative: float
    same_token: float

    def __str__(self) -> str:
        return (
            f"logits differ by at most {self.largest:.3g}, by {self.relative:.2%} in the root mean square, and the "
            f"likeliest token is the same at {self.same_token:.1%} of positions"
        )


def compare(expected: torch.Tensor, got: torch.Tensor) -> Agreement:
    """Compare logits of shape (positions, vocabulary), up to a constant, which softmax ignores."""
    expected, got = (logits - logits.mean(-1, keepdim=True) for logits in (expected, got))
    difference = got - expected
    return Agreement(
        largest=difference.abs().max().item(),
        relative=(difference.norm() / expected.norm()).item(),
        same_token=(expected.argmax(-1) == got.argmax(-1)).float().mean().item(),
    )


def tolerance(layers: int) -> float:
    """The relative difference that rounding explains.

    bfloat16 keeps 8 bits, and the errors of about 8 operations in each layer add up like a random walk.
    """
    return 2**-8 * (8 * layers) ** 0.5


def _rows(facts: dict) -> Dataset:
    """Rows of the dataset that the adapter was trained on: of its validation split, else of its train split."""
    name, config, revision = (facts[key] for key in ("dataset", "dataset_config", "dataset_revision"))
    try:
        splits = load_dataset(name, config) if Path(name).is_dir() else repos.load_dataset_at(name, revision, config)
    except (DatasetsError, FileNotFoundError, ValueError) as error:
        raise UserError(f"dataset {name}, on which the merged model is checked, can't be loaded: {error}") from None
    rows = splits["validation" if len(splits.get("validation", [])) else "train"]
    return rows.select(range(min(ROWS, len(rows))))


def _requests(row: dict) -> list[Request]:
    """The questions of a training row, as evaluation asks them."""
    *opening, first = row["prompt"]
    questions = [first, *(message for message in row["completion"] if message["role"] == "user")]
    return [Request(opening[-2]["content"], [*opening, question]) for question in questions]


@torch.inference_mode()
def _logits(engine: TransformersEngine, rows: Dataset) -> torch.Tensor:
    """Logits at the last positions of each row, float32 of shape (positions, vocabulary)."""
    logits = []
    for row in rows:
        ids = engine.tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=False)
        output = engine.model(torch.tensor([ids], device=engine.model.device), use_cache=False)
        logits.append(output.logits[0, -POSITIONS:].float().cpu())
    return torch.cat(logits)


def _answers(engine: TransformersEngine, requests: list[Request]) -> dict[int, str]:
    """The answer to each request, by its place."""
    engine.max_new_tokens, engine.batch_size = MAX_NEW_TOKENS, len(requests)
    place = {id(request): number for number, request in enumerate(requests)}
    return {place[id(request)]: answer.text for request, answer in engine.answer(requests)}
