"""The cards of an adapter and of a merged model."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from .. import markdown
from ..hub.card import CITATION, LICENSE_NOTICES, REPO, merge, new_card, part, read_card
from ..prompting.chat_template import end_of_turn
from ..tasks import find_wording, task_of
from .shown_answers import shown_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LIBRARIES = ("transformers", "trl", "peft", "datasets", "accelerate", "bitsandbytes", "torch", "sentence-transformers")
# Metadata that describes the weights, so nothing of it stays when other weights are pushed to the same repo.
OF_THE_WEIGHTS = ("base_model", "base_model_relation", "datasets", "widget")


def model_card(
    facts: dict,
    tokenizer: "PreTrainedTokenizerBase",
    measured: Sequence[tuple[str, object]],
    curves: str | None,
    answers: Mapping[str, str] | None = None,
) -> str:
    """The card of an adapter. Its metadata names only repos of the Hub, no local folders.

    Args:
        facts: the content of ra_it.json.
        tokenizer: with the chat template that was trained.
        measured: rows of the training table, label and value.
        curves: file name of the image of the losses, None if no loss was logged.
        answers: what the model answers to `shown_prompts`, by what they show.
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
        "widget": _widget(facts, answers or {}),
        "tags": [*task.tags, "ra-it", "lora", "sft", "trl"],
    }
    made = [
        ("base model", f"{facts['base']} at {facts['base_revision']}"),
        ("license of the base model", LICENSE_NOTICES.get(base_license, base_license) or "unknown, see its page"),
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

{_usage(facts, tokenizer, "peft", "AutoPeftModelForCausalLM")}{_answered(facts, answers or {})}"""
    training = f"""## Training

{markdown.table(["", ""], made)}

{f"![Training and validation loss over steps]({curves})" if curves else "No loss was logged."}

The settings of recipe {markdown.cell(facts["recipe"])} as run, with defaults and command-line flags:

{markdown.fence(yaml.safe_dump(used, sort_keys=False, allow_unicode=True).rstrip(), "yaml")}

{CITATION}"""
    return new_card(metadata, facts["recipe"], "adapter", usage) + f"\n{part('training', training)}\n"


def _answered(facts: dict, answers: Mapping[str, str]) -> str:
    """What the model answered when the card was made."""
    if not answers:
        return ""
    asked, example = task_of(facts["wording"]).sample(facts["language"])
    [answer] = example.entities
    shown = {"one example": f'one example: "{example.text}", {answer.type} "{answer.text}"'}
    rows = [(shown.get(name, name), raw) for name, raw in answers.items()]
    return f"""

When this card was made, the model was asked for {asked.types[0]} in "{asked.text}" and answered:

{markdown.table(["the prompt shows", "answer"], rows)}"""


def _widget(facts: dict, answers: Mapping[str, str]) -> list[dict] | None:
    """Examples that the Hub's page of the model shows."""
    prompts = shown_prompts(facts)
    return [{"messages": prompts[name], "output": {"text": raw}} for name, raw in answers.items()] or None


def merged_card(adapter_card: str, facts: dict, tokenizer: "PreTrainedTokenizerBase", findings: Sequence[str]) -> str:
    """The card of a merged model, made from the card of its adapter.

    Args:
        findings: sentences on how the merged model compares with the adapter.
    """
    metadata = {"library_name": "transformers"}
    if "base_model" in read_card(adapter_card)[0]:
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
    sample, prompts = task.sample(facts["language"])[0], list(shown_prompts(facts).values())
    text, [asked] = sample.text, sample.types
    stop = end_of_turn(tokenizer)
    answered = [*prompts[-1], {"role": "assistant", "content": wording.format_answer(sample.mentions(asked))}]
    extraction = f"""from ra_ner import Extractor

ner = Extractor.from_pretrained("{REPO}")
print(ner.extract({json.dumps(text, ensure_ascii=False)}, {json.dumps([asked], ensure_ascii=False)}))"""
    if facts["k"]:
        extraction += f"""

# Each prompt shows the most similar passages of a corpus; `strategy="nn"`, as in training, needs an encoder.
ner = Extractor.from_pretrained("{REPO}", examples="sample_{facts["language"]}", strategy="bm25")
print(ner.extract({json.dumps(text, ensure_ascii=False)}, {json.dumps([asked], ensure_ascii=False)}))"""
    code = f"""from {package} import {loader}
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{REPO}")
model = {loader}.from_pretrained("{REPO}", dtype="bfloat16", device_map="auto")
messages = {json.dumps(prompts[0], indent=4, ensure_ascii=False)}
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
stop = tokenizer.convert_tokens_to_ids({json.dumps(stop)})  # ends a turn
answer = model.generate(**prompt.to(model.device), max_new_tokens=64, do_sample=False, eos_token_id=stop)
print(tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))"""
    turn = " (a turn with examples may come before the text)" if facts["k"] else ""
    with_package = f"""With the package `ra_ner` of this project, entities have their places in the text and a score:

{markdown.fence(extraction, "python")}

Long texts are read in windows, and each type may have a definition.

Without it:

"""
    return f"""{with_package if task.extracts else ""}{markdown.fence(code, "python")}

The chat template comes with the tokenizer. A rendered prompt, with the answer at its end{turn}:

{markdown.fence(tokenizer.apply_chat_template(answered, tokenize=False).rstrip())}"""
