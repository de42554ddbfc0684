"""Checks of tokenised rows before the first training step. Each failure ends the run and says what to do."""

import logging
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Literal

from ..errors import UserError
from ..prompting.chat_template import prompt_ids
from ..prompting.conversation import Message

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel
    from trl import SFTTrainer

logger = logging.getLogger(__name__)

Sizes = list[tuple[int, int]]  # tokens, and trained tokens, of each row


def check(trainer: "SFTTrainer", max_length: int | None, on_overflow: Literal["error", "drop_row"]) -> dict[str, Sizes]:
    """Check all rows of a trainer, and drop rows over `max_length` if `on_overflow` says so.

    Returns:
        the sizes of the rows of each split.

    Raises:
        UserError: one of the checks below fails.
    """
    tokenizer = trainer.processing_class
    check_modules(trainer.model)
    check_vocabulary(len(tokenizer), trainer.model.get_input_embeddings().num_embeddings)
    stop = trainer.model.generation_config.eos_token_id
    stop_ids = frozenset(stop if isinstance(stop, list) else [stop, tokenizer.eos_token_id])

    def checked(dataset: "Dataset", split: str) -> "tuple[Dataset, Sizes]":
        rows = dataset.select_columns(["input_ids", "labels"])
        sizes = check_rows(rows, split, stop_ids, tokenizer.bos_token_id)
        # A sample is enough: what can go wrong here depends on the template, not on the text.
        spread = dataset.select(range(0, len(dataset), -(-len(dataset) // 1000)))
        check_prompts(spread, split, lambda prompt: prompt_ids(tokenizer, prompt))
        fit = rows_that_fit([tokens for tokens, _ in sizes], split, max_length, on_overflow)
        if len(fit) < len(sizes) and trainer.is_world_process_zero():
            logger.info(
                f"{split}: dropped {len(sizes) - len(fit)} of {len(sizes)} rows: longer than `max_length: {max_length}`"
            )
        return dataset.select(fit), [sizes[i] for i in fit]

    sizes = {}
    trainer.train_dataset, sizes["train"] = checked(trainer.train_dataset, "train")
    if isinstance(trainer.eval_dataset, dict):  # in two forms
        for form, dataset in trainer.eval_dataset.items():
            trainer.eval_dataset[form], sizes[f"validation {form}"] = checked(dataset, f"validation {form}")
    elif trainer.eval_dataset is not None:
        trainer.eval_dataset, sizes["validation"] = checked(trainer.eval_dataset, "validation")
    return sizes


def check_modules(model: "PreTrainedModel") -> None:
    """Check that an adapter has all modules that its config names: PEFT 0.21 leaves out what the base does not have.

    Raises:
        UserError: one is not there.
    """
    names = [f".{name}" for name, _ in model.named_modules()]
    for config in getattr(model, "peft_config", {}).values():
        wanted = [] if isinstance(config.target_modules, str) else config.target_modules
        for module in (*wanted, *(config.modules_to_save or ())):
            if not any(name.endswith(f".{module}") for name in names):
                raise UserError(
                    f"the base has no module {module!r}, which `lora_target_modules` or `lora_modules_to_save` names"
                )


def check_vocabulary(tokenizer_size: int, embedding_size: int) -> None:
    """Check that all token ids are within the embedding; others would crash a step, or read other memory.

    Raises:
        UserError: the tokenizer has more tokens than the embedding.
    """
    if tokenizer_size > embedding_size:
        raise UserError(
            f"the tokenizer has {tokenizer_size} tokens, the model's embedding only {embedding_size}: name the model "
            "that the tokenizer belongs to, or resize the embedding and save the model"
        )


def check_rows(
    rows: Iterable[dict[str, list[int]]], split: str, stop_ids: Collection[int], bos_id: int | None
) -> Sizes:
    """Check rows of `input_ids` and `labels` (-100 where nothing is trained), as the trainer sees them.

    Args:
        stop_ids: tokens at which generation stops.

    Raises:
        UserError: a row has no trained token, begins with two BOS tokens, or has an answer without a stop token.
    """
    sizes = []
    for number, row in enumerate(rows, 1):
        ids, labels = row["input_ids"], row["labels"]
        where = f"{split} row {number}"
        if bos_id is not None and ids[:2] == [bos_id, bos_id]:
            raise UserError(
                f"{where} begins with two BOS tokens: the chat template writes one and the tokenizer adds another; "
                "remove one of the two"
            )
        answers = trained_runs(labels)
        if not answers:
            raise UserError(
                f"{where} has no trained token: it has no answer, or the chat template has no generation marks around "
                "the assistant's turns; correct the dataset or the template"
            )
        if any(stop_ids.isdisjoint(answer) for answer in map(frozenset, answers)):
            raise UserError(
                f"{where} has an answer whose end-of-turn token is not trained or not a stop token, so the model would "
                "never stop: set `eos_token` to the token that ends a turn, and put it inside the template's "
                "generation marks"
            )
        sizes.append((len(ids), sum(map(len, answers))))
    return sizes


def check_prompts(rows: Iterable[dict], split: str, prompt_ids: Callable[[list[Message]], list[int]]) -> None:
    """Check that a row's `input_ids` begin with its prompt as evaluation renders it.

    Args:
        prompt_ids: renders a prompt as evaluation does.

    Raises:
        UserError: they don't, so the model would be asked differently than it was trained.
    """
    for row in rows:
        asked = prompt_ids(row["prompt"])
        if row["input_ids"][: len(asked)] != asked:
            raise UserError(
                f"{split} row {row['id']!r} does not begin with the prompt that evaluation asks: the chat template "
                "starts a new answer differently from a given one (with a think block, for example); name another "
                "template with `chat_template_path`, see docs/chat_templates.md"
            )


def rows_that_fit(
    lengths: list[int], split: str, max_length: int | None, on_overflow: Literal["error", "drop_row"]
) -> list[int]:
    """Indices of the rows with at most `max_length` tokens. Rows are never truncated.

    Raises:
        UserError: a row is longer and `on_overflow` is error, or no row fits.
    """
    fit = [i for i, length in enumerate(lengths) if max_length is None or length <= max_length]
    too_long = len(lengths) - len(fit)
    if too_long and (on_overflow == "error" or not fit):
        drop = ", drop them with `on_overflow: drop_row`" if fit else ""
        raise UserError(
            f"{too_long} of {len(lengths)} {split} rows are longer than `max_length: {max_length}` tokens and would "
            f"lose answers; the longest has {max(lengths)}: raise `max_length`{drop}, or build the dataset with "
            "`max_length` in its section or a smaller `k`"
        )
    return fit


def trained_runs(labels: list[int]) -> list[list[int]]:
    """The trained runs of a row, one for each answer: labels without -100, split where it stands."""
    runs: list[list[int]] = [[]]
    for label in labels:
        if label != -100:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
