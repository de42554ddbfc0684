"""The cards of an adapter and of a merged model."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from huggingface_hub import RepoCard

from .. import markdown
from ..hub.card import CITATION, REPO, merge, new_card, part
from ..prompting.chat_template import end_of_turn
from ..prompting.conversation import query
from ..tasks import find_wording, task_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LIBRARIES = ("transformers", "trl", "peft", "datasets", "accelerate", "bitsandbytes", "torch", "sentence-transformers")


def model_card(
    facts: dict, tokenizer: "PreTrainedTokenizerBase", measured: Sequence[tuple[str, object]], curves: str | None
) -> str:
    """The card of an adapter. Its metadata names only repos of the Hub, no local folders.

    Args:
        facts: the content of ra_it.json.
        tokenizer: with the chat template that was trained.
        measured: rows of the training table, label and value.
        curves: file name of the image of the losses, None if no loss was logged.
    """
    on_hub, task = not Path(facts["base"]).is_dir(), task_of(facts["wording"])
    base_license, data_license = facts.get("base_license"), facts.get("dataset_license")
    metadata = {
        "library_name": "peft",
        "license": base_license if base_license == data_license else base_license and data_license and "other",
        "base_model": facts["base"] if on_hub else None,
        "base_model_relation": "adapter" if on_hub else None,
        "datasets": None if Path(facts["dataset"]).is_dir() else [facts["dataset"]],
        "language": [facts["language"]],
        "pipeline_tag": "text-generation",
        "tags": [*task.tags, "ra-it", "lora", "sft", "trl"],
    }
    made = [
        ("base model", f"{facts['base']} at {facts['base_revision']}"),
        ("license of the base model", base_license or "unknown, see its page"),
        ("dataset", f"{facts['dataset']}, config {facts['dataset_config']}, at {facts['dataset_revision']}"),
        ("license of the corpus", data_license or "unknown, ask its authors"),
        ("in-context examples for each passage", f"{facts['k']}, strategy {facts['strategy']}"),
        ("wording", f"{facts['wording']}, {facts['language']}"),
        ("effective batch size", facts["effective_batch_size"]),
        *measured,
        *((library, version(library)) for library in LIBRARIES),
    ]
    used = {"language": facts["language"], "train": facts["config"]}
    method = "RA-IT" if facts["k"] else "vanilla instruction tuning"
    kind = "A QLoRA adapter" if facts["config"].get("load_in_4bit") else "A LoRA adapter"
    usage = f"""{kind} for {task.title}, trained with {method}. {task.asks}

{_usage(facts, tokenizer, "peft", "AutoPeftModelForCausalLM")}"""
    training = f"""## Training

{markdown.table(["", ""], made)}

{f"![Training and validation loss over steps]({curves})" if curves else "No loss was logged."}

The settings of recipe {markdown.cell(facts["recipe"])} as run, with defaults and command-line flags:

{markdown.fence(yaml.safe_dump(used, sort_keys=False, allow_unicode=True).rstrip(), "yaml")}

{CITATION}"""
    return new_card(metadata, facts["recipe"], "adapter", usage) + f"\n{part('training', training)}\n"


def merged_card(adapter_card: str, facts: dict, tokenizer: "PreTrainedTokenizerBase", findings: Sequence[str]) -> str:
    """The card of a merged model, made from the card of its adapter.

    Args:
        findings: sentences on how the merged model compares with the adapter.
    """
    metadata = {"library_name": "transformers"}
    if "base_model" in RepoCard(adapter_card).data:
        metadata["base_model_relation"] = "finetune"
    task = task_of(facts["wording"])
    usage = f"""A model for {task.title} in bfloat16: an adapter merged into its base. {task.asks}

{_usage(facts, tokenizer, "transformers", "AutoModelForCausalLM")}

## The merge

{chr(10).join(f"- {markdown.cell(finding)}" for finding in findings)}"""
    return merge(adapter_card, new_card(metadata, facts["recipe"], "adapter", usage))


def _usage(facts: dict, tokenizer: "PreTrainedTokenizerBase", package: str, loader: str) -> str:
    """How to ask the model: code that runs, and the rendered prompt."""
    wording = find_wording(facts["wording"], facts["language"])
    task = task_of(facts["wording"])
    sample = task.samples[facts["language"]]
    text, asked = sample.text, sample.type
    messages = query(text, asked, [], wording)
    stop = end_of_turn(tokenizer)
    asked_with_examples = query(text, asked, [sample.example] if facts["k"] else [], wording)
    answered = [*asked_with_examples, {"role": "assistant", "content": wording.format_answer(sample.answers)}]
    extraction = f"""from ra_ner import Extractor

ner = Extractor.from_pretrained("{REPO}")
print(ner.extract({json.dumps(text, ensure_ascii=False)}, {json.dumps([asked], ensure_ascii=False)}))"""
    examples = ' With `examples="my_corpus.jsonl"`, each prompt shows the most similar passages of that corpus.'
    pool = examples if facts["k"] else ""
    code = f"""from {package} import {loader}
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{REPO}")
model = {loader}.from_pretrained("{REPO}", dtype="bfloat16", device_map="auto")
messages = {json.dumps(messages, indent=4, ensure_ascii=False)}
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
stop = tokenizer.convert_tokens_to_ids({json.dumps(stop)})  # ends a turn
answer = model.generate(**prompt.to(model.device), max_new_tokens=64, do_sample=False, eos_token_id=stop)
print(tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))"""
    turn = " (a turn with examples may come before the text)" if facts["k"] else ""
    with_package = f"""With the package `ra_ner` of this project, entities have their places in the text and a score:

{markdown.fence(extraction, "python")}

Long texts are read in windows, and each type may have a definition.{pool}

Without it:

"""
    return f"""{with_package if task.extracts else ""}{markdown.fence(code, "python")}

The chat template comes with the tokenizer. A rendered prompt, with the answer at its end{turn}:

{markdown.fence(tokenizer.apply_chat_template(answered, tokenize=False).rstrip())}"""
