"""QLoRA training of an adapter on an RA-IT dataset, with TRL's SFTTrainer."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from datasets import Dataset, DatasetDict, load_dataset
from datasets.exceptions import DatasetNotFoundError
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.trainer_utils import get_last_checkpoint
from trl import ModelConfig, SFTConfig, SFTTrainer, get_peft_config, get_quantization_config

from . import __version__
from .errors import UserError
from .files import replace_folder
from .recipe import Recipe, TrainConfig
from .rendering import control_tokens, training_chat_template

if TYPE_CHECKING:
    from accelerate.state import PartialState


def train(recipe: Recipe, config: TrainConfig, model_args: ModelConfig, args: SFTConfig) -> Path:
    """Train an adapter and return its folder: weights, tokenizer, the chat template trained on, and ra_it.json.

    `args.output_dir` is to hold the folders `checkpoints` and `adapter`.

    Raises:
        UserError: the dataset is missing or does not fit, a key does not fit, or the model can't be loaded.
    """
    run_dir = Path(args.output_dir)
    args.output_dir = str(run_dir / "checkpoints")
    if not model_args.model_name_or_path:
        raise UserError(f"{recipe.path}: section train has no `model_name_or_path`; name a Hub id or a folder")
    if not model_args.use_peft:
        raise UserError(f"{recipe.path}: section train: this script trains adapters; write `use_peft: true`")

    splits, facts = _load_dataset(recipe, config)
    tokenizer = _load_tokenizer(model_args, args)
    splits = _drop_rows_with_control_tokens(splits, tokenizer, args.distributed_state)

    max_length, args.max_length = args.max_length, None  # TRL would cut rows without a word; they are refused below
    args.model_init_kwargs = {
        **(args.model_init_kwargs or {}),
        "revision": model_args.model_revision,
        "attn_implementation": model_args.attn_implementation,
        "dtype": model_args.dtype,
    }
    try:
        trainer = SFTTrainer(
            model=model_args.model_name_or_path,
            args=args,
            train_dataset=splits["train"],
            eval_dataset=splits["validation"] if args.eval_strategy != "no" else None,
            processing_class=tokenizer,
            quantization_config=get_quantization_config(model_args),
            peft_config=get_peft_config(model_args),
        )
    except OSError as error:
        raise UserError(f"model {model_args.model_name_or_path!r} can't be loaded: {error}") from None
    _refuse_long_rows(trainer, max_length)

    lengths = [len(ids) for ids in trainer.train_dataset["input_ids"]]
    trained = sum(label != -100 for labels in trainer.train_dataset["labels"] for label in labels)
    trainer.accelerator.print(
        f"{len(lengths)} rows, {sum(lengths)} tokens an epoch, {trained} of them trained; longest row {max(lengths)}"
    )
    trainer.train(resume_from_checkpoint=_checkpoint(args))

    # Saving is a collective call under FSDP and ZeRO-3: every rank makes it, the main one renames the whole folder.
    new = run_dir / ".adapter.tmp"
    trainer.save_model(str(new))
    if trainer.is_world_process_zero():
        (new / "training_args.bin").unlink(missing_ok=True)  # a pickle, which nothing here reads
        ra_it = {
            "ra_ner": __version__,
            "recipe": recipe.name,
            **{key: facts[key] for key in ("language", "wording", "strategy", "k", "encoder")},
            "base": model_args.model_name_or_path,
            "base_revision": getattr(trainer.model.config, "_commit_hash", None),
            "dataset": config.dataset_name or str(recipe.output_dir / "dataset"),
            "dataset_config": facts["recipe"],
            "corpus_fingerprint": facts["corpus_fingerprint"],
        }
        (new / "ra_it.json").write_text(json.dumps(ra_it, indent=2) + "\n", encoding="utf-8")
        replace_folder(new, run_dir / "adapter")
    trainer.accelerator.wait_for_everyone()
    trainer.end()
    return run_dir / "adapter"


def _load_dataset(recipe: Recipe, config: TrainConfig) -> tuple[DatasetDict, dict]:
    """The rows, and the facts of how they were made."""
    source = config.dataset_name or str(recipe.output_dir / "dataset")
    name = config.dataset_config or recipe.name
    facts_file = Path(source) / name / "ra_it.json"
    if not facts_file.is_file():
        raise UserError(
            f"{source} holds no RA-IT dataset {name!r}; make it by `python build_ra_dataset.py {recipe.path}`"
        )
    try:
        return load_dataset(source, name), json.loads(facts_file.read_text(encoding="utf-8"))
    except (DatasetNotFoundError, ValueError, OSError) as error:
        raise UserError(f"dataset {source} can't be loaded: {error}") from None


def _load_tokenizer(model_args: ModelConfig, args: SFTConfig) -> PreTrainedTokenizerBase:
    """The base model's tokenizer with the chat template that is trained, which is then saved beside the adapter."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            model_args.model_name_or_path,
            revision=model_args.model_revision,
            trust_remote_code=args.trust_remote_code,
        )
        if args.chat_template_path:
            tokenizer.chat_template = Path(args.chat_template_path).read_text(encoding="utf-8")
            args.chat_template_path = None
    except (OSError, ValueError) as error:
        raise UserError(f"tokenizer of {model_args.model_name_or_path!r} can't be loaded: {error}") from None
    tokenizer.chat_template = training_chat_template(tokenizer)
    return tokenizer


def _drop_rows_with_control_tokens(
    splits: DatasetDict, tokenizer: PreTrainedTokenizerBase, state: "PartialState"
) -> DatasetDict:
    """Drop rows in which a text or a mention holds a string such as `<|im_end|>`.

    Tokenised for training it would become a control token. `sanitize_control_tokens=True`, with which evaluation keeps
    it text, can't be combined with the assistant mask (transformers 5.23); once it can, rows need not be dropped.
    """
    control = control_tokens(tokenizer)

    def is_clean(prompt: list[dict], completion: list[dict]) -> bool:
        return not any(token in message["content"] for message in prompt + completion for token in control)

    with state.main_process_first():
        kept = splits.filter(is_clean, input_columns=["prompt", "completion"], desc="Looking for control tokens")
    for split in splits:
        if dropped := len(splits[split]) - len(kept[split]):
            print(f"{split}: dropped {dropped} of {len(splits[split])} rows: their text holds a control token")
    if not len(kept["train"]):
        raise UserError("every training row holds a control token of the tokenizer; there is nothing to train on")
    return kept


def _refuse_long_rows(trainer: SFTTrainer, max_length: int | None) -> None:
    def longest(dataset: Dataset) -> int:
        return max(len(ids) for ids in dataset["input_ids"])

    for dataset in (trainer.train_dataset, trainer.eval_dataset):
        if dataset is not None and max_length and longest(dataset) > max_length:
            over = sum(len(ids) > max_length for ids in dataset["input_ids"])
            raise UserError(
                f"{over} of {len(dataset)} rows are longer than `max_length: {max_length}` tokens and would lose "
                f"answers; the longest has {longest(dataset)}: raise `max_length`, or build with a smaller `k`"
            )


def _checkpoint(args: SFTConfig) -> str | None:
    """The checkpoint that `resume_from_checkpoint` names: `true` or `last` is the newest one, if there is any."""
    wanted = args.resume_from_checkpoint
    if wanted is None or wanted.lower() == "false":
        return None
    if wanted.lower() in ("true", "last"):
        return get_last_checkpoint(args.output_dir) if Path(args.output_dir).is_dir() else None
    if not Path(wanted).is_dir():
        raise UserError(
            f"resume_from_checkpoint: {wanted} is no folder; write true, last or the folder of a checkpoint"
        )
    return wanted
