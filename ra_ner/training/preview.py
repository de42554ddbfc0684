"""Description of a run before it starts: a row with trained tokens marked, lengths, steps, memory. Needs no weights."""

import math
import os
import re
import sys
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .memory import GB, RUNTIME, Memory, estimate, gpu_for

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
    from trl import ModelConfig, SFTConfig, SFTTrainer

    from .checks import Sizes

GREEN, PLAIN = "\x1b[32m", "\x1b[0m"
QUANTILES = (0, 0.25, 0.5, 0.75, 0.95, 1)


def dummy_model(base_config: "PretrainedConfig", model_args: "ModelConfig") -> "PreTrainedModel":
    """A model of a few kilobytes with the vocabulary and stop tokens of the base, for which TRL makes the same rows."""
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    text = base_config.get_text_config()
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=text.vocab_size,
            hidden_size=2,
            intermediate_size=2,
            num_hidden_layers=1,
            num_attention_heads=1,
            eos_token_id=text.eos_token_id,
        )
    )
    # A base without one gets it from its config, as the dummy model just did.
    with suppress(OSError):
        model.generation_config = GenerationConfig.from_pretrained(
            model_args.model_name_or_path, revision=model_args.model_revision
        )
    return model


def describe(
    trainer: "SFTTrainer",
    sizes: "dict[str, Sizes]",
    base_config: "PretrainedConfig",
    model_args: "ModelConfig",
    with_row: bool,
) -> str:
    """Rows, steps and an estimate of the memory, as text.

    Args:
        trainer: of the base model or of a dummy model, with the training rows.
        sizes: tokens, and trained tokens, of the rows of each split.
        base_config: the config of the base model.
        model_args: quantisation, number format and adapter.
        with_row: also show the first training row with its trained tokens marked, and more figures.
    """
    args = trainer.args
    lengths = {split: [tokens for tokens, _ in rows] for split, rows in sizes.items()}
    eval_longest = max([0, *(n for s in lengths if s != "train" for n in lengths[s])])
    tokens, eval_tokens = max(lengths["train"]), args.per_device_eval_batch_size * eval_longest
    try:
        memory = estimate(base_config, model_args, args.per_device_train_batch_size * tokens, eval_tokens)
    except (AttributeError, RuntimeError):  # configs that lack a key, or have one for each layer (transformers 5.23)
        memory = None
    split_rows = ", ".join(f"{len(rows):,} {split}" for split, rows in sizes.items())
    trained = sum(trained for _, trained in sizes["train"])
    steps, accumulated = training_steps(len(lengths["train"]), args), args.gradient_accumulation_steps
    batch = args.per_device_train_batch_size * args.world_size * accumulated
    lines = [
        f"rows     {split_rows}; {sum(lengths['train']):,} tokens per epoch, {trained:,} of them trained",
        f"steps    {steps:,} of {batch} rows ({args.per_device_train_batch_size} per device x {args.world_size} x "
        f"{accumulated} accumulated), about {round(batch * np.mean(lengths['train'])):,} tokens each",
        f"memory   {_memory(memory, args.activation_checkpointing)}",
    ]
    if with_row:
        row = trainer.train_dataset[0]
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        text = mark_trained(trainer.processing_class, row["input_ids"], row["labels"], colour)
        quantiles = zip(QUANTILES, np.quantile(lengths["train"], QUANTILES), strict=True)
        otherwise = not args.activation_checkpointing
        lines = [
            f"The first training row; ⟦ and ⟧ enclose what is trained.\n\n{text}\n",
            lines[0],
            f"lengths  quantiles of train: {', '.join(f'{q:.0%} {round(tokens):,}' for q, tokens in quantiles)} tokens",
            *lines[1:],
            f"         with `activation_checkpointing: {str(otherwise).lower()}`: {_memory(memory, otherwise)}",
        ]
    return "\n".join(lines)


def training_steps(rows: int, args: "SFTConfig") -> int:
    """Optimizer steps of a run, counted as the Trainer does."""
    if args.max_steps > 0:
        return args.max_steps
    rounded = math.floor if args.dataloader_drop_last else math.ceil
    batches = rounded(rounded(rows / args.per_device_train_batch_size) / args.world_size)
    return math.ceil(args.num_train_epochs * max(1, math.ceil(batches / args.gradient_accumulation_steps)))


def mark_trained(
    tokenizer: "PreTrainedTokenizerBase", input_ids: list[int], labels: list[int], colour: bool = False
) -> str:
    """A row's text with each trained run between `⟦` and `⟧`, in green if `colour`.

    Control characters are escaped, because a text from a corpus must not control the terminal.
    """
    opening, closing = (GREEN + "⟦", "⟧" + PLAIN) if colour else ("⟦", "⟧")
    trained = [label != -100 for label in labels]
    starts = [i for i in range(len(trained)) if i == 0 or trained[i] != trained[i - 1]]
    parts = []
    for start, end in pairwise([*starts, len(trained)]):
        text = tokenizer.decode(input_ids[start:end], skip_special_tokens=False)
        text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda m: m[0].encode("unicode_escape").decode(), text)
        parts.append(opening + text + closing if trained[start] else text)
    return "".join(parts)


def _memory(memory: Memory | None, checkpointing: bool) -> str:
    if memory is None:
        return "not estimated for this architecture"
    total = memory.total(checkpointing)
    parts = {
        "weights": memory.weights,
        "adapter and optimizer": memory.adapter,
        "activations": memory.checkpointed if checkpointing else memory.activations,
        "runtime": RUNTIME,
    }
    fits = f"fits on a GPU of {gpu_for(total)} GB" if gpu_for(total) else "fits on no single GPU"
    return f"{total / GB:.1f} GB, estimated ({', '.join(f'{k} {v / GB:.1f}' for k, v in parts.items())}); {fits}"
