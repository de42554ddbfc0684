"""QLoRA training of an adapter on an RA-IT dataset, with TRL's SFTTrainer."""

import json
import logging
from pathlib import Path

import torch
import trl.trainer.utils
from datasets import DatasetDict, load_dataset
from datasets.exceptions import DatasetsError
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase
from trl import ModelConfig, SFTConfig, SFTTrainer, get_peft_config, get_quantization_config
from trl.trainer.utils import global_then_local_main_first

from .. import __version__
from ..atomic_files import replace_folder
from ..errors import UserError
from ..hub import repos
from ..hub.card import REPO, license_of
from ..prompting.chat_template import control_tokens, load_training_tokenizer
from ..recipe import Recipe, TrainConfig
from . import checkpoints, checks, launch_checks, preview, run_record, throughput
from .card import model_card

logger = logging.getLogger(__name__)

_scores_trained_positions_alone = trl.trainer.utils._use_triton
# Where there is no Triton, trl 1.16 projects every position onto the vocabulary and masks the result, for devices that
# compile for each shape anew. A CPU does not, and with one token in ten trained SmolLM2 took 1.8 times as long a step.
# Can go once `add_fused_lm_head` scores the trained positions alone on a CPU too.
trl.trainer.utils._use_triton = lambda device: device.type == "cpu" or _scores_trained_positions_alone(device)


class AdapterTrainer(SFTTrainer):
    """TRL's trainer, with whole checkpoints, and the throughput in its logs.

    Args:
        facts: of the run, written to ra_it.json of each checkpoint.
    """

    def __init__(self, *args, facts: dict, **kwargs):
        self.facts, self.throughput = facts, throughput.Throughput()
        super().__init__(*args, callbacks=[self.throughput], **kwargs)

    def get_batch_samples(self, *args, **kwargs):
        batches, trained_tokens = super().get_batch_samples(*args, **kwargs)
        self.throughput.begin_step(trained_tokens)
        return batches, trained_tokens

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        if "loss" in logs:  # of training; evaluation logs have names of their own
            peak = torch.tensor(throughput.peak_memory(self.args.device), device=self.args.device)
            logs |= self.throughput.read() | {"peak_memory_gb": round(self.accelerator.gather(peak).max().item(), 3)}
        super().log(logs, *args, **kwargs)

    def _save_checkpoint(self, model, trial) -> None:
        limit, self.args.save_total_limit = self.args.save_total_limit, None  # older ones stay until this one is whole
        super()._save_checkpoint(model, trial)
        self.args.save_total_limit = limit
        checkpoints.mark_last(self, self.facts)

    def _run_epoch(self, *args, **kwargs) -> None:
        """Train nothing more where all has been trained.

        Resumed from the checkpoint of `max_steps`, transformers 5.23 would train one step beyond it.
        """
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def _load_from_checkpoint(self, *args, **kwargs) -> None:
        """Resume in the number format of training, which TRL makes bfloat16 for the adapter of a quantised model.

        PEFT's `load_adapter` casts it to float32 (trl 1.16, peft 0.21), so that a resumed run would be another one. Can
        go once the Trainer passes `autocast_adapter_dtype=False`.
        """
        dtypes = {name: parameter.dtype for name, parameter in self.model.named_parameters()}
        super()._load_from_checkpoint(*args, **kwargs)
        for name, parameter in self.model.named_parameters():
            parameter.data = parameter.data.to(dtypes[name])


def train(
    recipe: Recipe, config: TrainConfig, model_args: ModelConfig, args: SFTConfig, dry_run: bool = False
) -> Path | None:
    """Train an adapter and return its folder: weights, tokenizer, the chat template trained on, ra_it.json and a card.

    With `dry_run` nothing is trained, and None is returned: rows are made and checked as they would be, and
    what would be trained is printed.

    `args.output_dir` is to hold the folders `checkpoints` and `adapter`. With `push_to_hub` the adapter is pushed once,
    whole, at the end.

    Raises:
        UserError: the dataset is missing or does not fit, a key does not fit, the model can't be loaded, or the push
            fails; what was trained is kept.
    """
    run_dir = Path(args.output_dir)
    settings = run_record.changed_settings(recipe.sections["train"], config, model_args, args)
    args.output_dir = str(run_dir / "checkpoints")
    launch_checks.quiet_other_processes(args)
    _check_keys(recipe, model_args, args)
    launch_checks.check(model_args, args)
    throughput.check_trackers(args)
    wants_push = args.push_to_hub and not dry_run
    push_to = args.hub_model_id if wants_push else None
    if wants_push and args.process_index == 0:
        repos.prepare_push("model", args.hub_model_id, args.hub_private_repo is not False, "hub_model_id")
    args.push_to_hub = False

    source = config.dataset_name or str(recipe.output_dir / "dataset")
    splits, facts, dataset_revision = _load_dataset(source, config, recipe)
    base = repos.fetch_model(
        model_args.model_name_or_path, model_args.model_revision, files=["config.json", "README.md"]
    )
    on_hub = not Path(model_args.model_name_or_path).is_dir()
    if on_hub:
        model_args.model_revision = base.revision
    tokenizer = load_training_tokenizer(
        model_args.model_name_or_path, model_args.model_revision, args.chat_template_path, args.trust_remote_code
    )
    args.chat_template_path = None  # it is in the tokenizer now
    ra_it = {
        "ra_ner": __version__,
        "recipe": recipe.name,
        **{key: facts[key] for key in ("language", "wording", "strategy", "k", "encoder")},
        "base": model_args.model_name_or_path,
        "base_revision": base.revision,
        "dataset": source,
        "dataset_config": facts["recipe"],
        "dataset_revision": dataset_revision,
        "base_license": license_of(base.path),
        "dataset_license": facts["corpus_license"],
        "effective_batch_size": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
    }
    checkpoint = checkpoints.find(args, ra_it)
    splits = _drop_rows_with_control_tokens(splits, tokenizer, args)
    max_length, args.max_length = args.max_length, None  # TRL would cut rows without a word
    base_config = AutoConfig.from_pretrained(base.path)
    if not dry_run:  # TRL would take pickles too
        repos.fetch_model(model_args.model_name_or_path, model_args.model_revision)
    model = preview.dummy_model(base_config, model_args) if dry_run else model_args.model_name_or_path
    trainer = _make_trainer(model, splits, tokenizer, model_args, args, ra_it)
    sizes = checks.check(trainer, max_length, config.on_overflow)
    if trainer.is_world_process_zero():
        logger.info(preview.describe(trainer, sizes, base_config, model_args, with_row=dry_run))
    if dry_run:
        return None
    throughput.log_into(run_dir / "logs", trainer)
    if on_hub:
        trainer.model.peft_config["default"].revision = base.revision
    checkpoints.begin(args, checkpoint)
    with checkpoints.saved_on_sigterm(trainer):
        trainer.train(resume_from_checkpoint=checkpoint)

    # Saving is a collective call under FSDP and ZeRO-3: every rank makes it, the main one renames the whole folder.
    new, adapter = run_dir / ".adapter.tmp", run_dir / "adapter"
    trainer.save_model(str(new))
    if trainer.is_world_process_zero():
        (new / "training_args.bin").unlink(missing_ok=True)  # a pickle, which nothing here reads
        tokens = round(sum(tokens for tokens, _ in sizes["train"]) * (trainer.state.epoch or 0))  # through the model
        facts = json.dumps({**ra_it, "train_tokens": tokens}, indent=2)
        (new / "ra_it.json").write_text(facts + "\n", encoding="utf-8")
        curves = run_record.draw_curves(trainer.state.log_history, new)
        measured = run_record.measurements(trainer, sum(trained for _, trained in sizes["train"]))
        card = model_card(ra_it, recipe, tokenizer, settings, measured, curves)
        (new / "README.md").write_text(card, encoding="utf-8")
        replace_folder(new, adapter)
        if push_to:
            _push(adapter, push_to, recipe)
    trainer.accelerator.wait_for_everyone()
    # The DDP wrapper goes before the process group: freed after it, a process hung at its end in 2 of some 150 runs
    # (gloo, torch 2.13).
    trainer.model_wrapped = trainer.model
    trainer.accelerator.free_memory()
    trainer.end()
    return adapter


def _check_keys(recipe: Recipe, model_args: ModelConfig, args: SFTConfig) -> None:
    if not model_args.model_name_or_path:
        raise UserError(f"{recipe.path}: section train has no `model_name_or_path`; name a Hub id or a folder")
    if not model_args.use_peft:
        raise UserError(f"{recipe.path}: section train: this script trains adapters; write `use_peft: true`")
    if args.hub_strategy != "every_save":
        raise UserError(f"{recipe.path}: section train: delete `hub_strategy`; the adapter is pushed once, at the end")


def _load_dataset(source: str, config: TrainConfig, recipe: Recipe) -> tuple[DatasetDict, dict, str]:
    """The rows, the facts of how they were made, and their revision."""
    name = config.dataset_config or recipe.name
    way_out = f"make it by `python build_ra_dataset.py {recipe.path}`"
    if not config.dataset_name and not Path(source).is_dir():
        raise UserError(f"{source} does not exist; {way_out}")
    facts, revision = repos.fetch_dataset_facts(source, name, config.dataset_revision, way_out)
    try:
        on_hub = not Path(source).is_dir()
        splits = repos.load_dataset_at(source, revision, name) if on_hub else load_dataset(source, name)
    except (DatasetsError, FileNotFoundError, ValueError) as error:
        raise UserError(f"dataset {source} can't be loaded: {error}") from None
    return splits, facts, revision


def _push(adapter: Path, repo_id: str, recipe: Recipe) -> None:
    files = {file.name: file for file in adapter.iterdir() if file.name != "README.md"}
    card = (adapter / "README.md").read_text(encoding="utf-8").replace(REPO, repo_id)
    keep = (
        f"the adapter is kept in {adapter}: run this again with --resume_from_checkpoint true, which trains nothing "
        f"twice, or push it by `hf upload {repo_id} {adapter}`"
    )
    commit = repos.push("model", repo_id, files, card, f"Adapter of recipe {recipe.name}", keep)
    logger.info(f"pushed to {repo_id} at {commit}")


def _make_trainer(
    model: str | PreTrainedModel,
    splits: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    model_args: ModelConfig,
    args: SFTConfig,
    facts: dict,
) -> AdapterTrainer:
    """A trainer of an adapter on the model that is named, or of a stand-in, for its rows alone."""
    adapter = {}
    if isinstance(model, str):
        args.model_init_kwargs = {
            **(args.model_init_kwargs or {}),
            "revision": model_args.model_revision,
            "attn_implementation": model_args.attn_implementation,
            "dtype": model_args.dtype,
        }
        adapter["quantization_config"] = get_quantization_config(model_args)
        adapter["peft_config"] = get_peft_config(model_args)
    with repos.hub_errors(f"model {model_args.model_name_or_path!r} can't be fetched"):
        try:
            return AdapterTrainer(
                model=model,
                args=args,
                train_dataset=splits["train"],
                eval_dataset=splits["validation"] if args.eval_strategy != "no" else None,
                processing_class=tokenizer,
                facts=facts,
                **adapter,
            )
        except RuntimeError as error:
            if "no assistant tokens" not in str(error):  # TRL's own check, the words of which name no way out
                raise
            raise UserError(
                "a row has no trained token: it has no answer, or the chat template has no generation marks around the "
                "assistant's turns; mend the dataset or the template"
            ) from None


def _drop_rows_with_control_tokens(
    splits: DatasetDict, tokenizer: PreTrainedTokenizerBase, args: SFTConfig
) -> DatasetDict:
    """Drop rows in which a text or a mention holds a string such as `<|im_end|>`.

    Tokenised for training it would become a control token. `sanitize_control_tokens=True`, with which evaluation keeps
    it text, can't be combined with the assistant mask (transformers 5.23); once it can, rows need not be dropped.
    """
    control = control_tokens(tokenizer)

    def is_clean(prompt: list[dict], completion: list[dict]) -> bool:
        return not any(token in message["content"] for message in prompt + completion for token in control)

    with global_then_local_main_first():  # the others find the rows in the cache
        kept = splits.filter(is_clean, input_columns=["prompt", "completion"], desc="Looking for control tokens")
    for split in splits:
        dropped = len(splits[split]) - len(kept[split])
        if dropped and args.process_index == 0:
            logger.info(f"{split}: dropped {dropped} of {len(splits[split])} rows: their text holds a control token")
    if not len(kept["train"]):
        raise UserError("every training row holds a control token of the tokenizer; there is nothing to train on")
    return kept
