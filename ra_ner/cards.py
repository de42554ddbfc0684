"""Cards of datasets and models: made from data, and merged so that each run touches its own part alone."""

import dataclasses
import json
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from huggingface_hub import EvalResult, RepoCard
from huggingface_hub.repocard_data import eval_results_to_model_index

from . import markdown
from .conversation import Message, find_wording, query
from .corpus import Entity, Passage
from .recipe import DatasetConfig, Recipe
from .rendering import end_of_turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Stands in a card for the repo that it is pushed to.
REPO = "<this repo>"

LIBRARIES = ("transformers", "trl", "peft", "datasets", "accelerate", "bitsandbytes", "torch", "sentence-transformers")


def card(metadata: dict[str, Any], title: str, name: str, body: str) -> str:
    """A card with one part. `name` marks the part, so that `merge` finds it again."""
    kept = {key: value for key, value in metadata.items() if value is not None}
    front = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n# {markdown.cell(title)}\n\n{_part(name, body)}\n"


def _part(name: str, body: str) -> str:
    # A text of the data must not be able to end its part.
    return f"<!-- ra-ner: {name} -->\n{body.replace('<!--', '<!- -')}\n<!-- /ra-ner: {name} -->"


def merge(existing: str, new: str) -> str:
    """Put the parts and the metadata of `new` into an existing card; everything else there stays as it is.

    A part of the same name is replaced, another is added at the end. Of the metadata, configs are replaced by name,
    other lists are united, and single values are those of `new`.
    """
    old_card, new_card = RepoCard(existing), RepoCard(new)
    metadata = old_card.data.to_dict()
    for key, value in new_card.data.to_dict().items():
        metadata[key] = _merge_value(key, metadata.get(key), value)
    text = old_card.text
    for match in re.finditer(r"<!-- ra-ner: (.+?) -->\n.*?\n<!-- /ra-ner: \1 -->", new_card.text, re.DOTALL):
        pattern = match[0].split("\n", 1)[0], match[0].rsplit("\n", 1)[1]
        old = re.search(f"{re.escape(pattern[0])}.*?{re.escape(pattern[1])}", text, re.DOTALL)
        text = text[: old.start()] + match[0] + text[old.end() :] if old else f"{text.rstrip()}\n\n{match[0]}\n"
    front = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n{text}"


def _merge_value(key: str, old: Any, new: Any) -> Any:
    if key == "configs":
        names = {config["config_name"] for config in new}
        return [config for config in old or [] if config["config_name"] not in names] + new
    if key == "model-index":
        ours = [_result_name(result) for result in new[0]["results"]]
        others = [result for entry in old or [] for result in entry["results"] if _result_name(result) not in ours]
        return [{**new[0], "results": others + new[0]["results"]}]
    if isinstance(old, list) or isinstance(new, list) or (key == "language" and old not in (None, new)):
        united = [item for value in (old, new) for item in (value if isinstance(value, list) else [value])]
        return list(dict.fromkeys(item for item in united if item is not None))
    return new


def _result_name(result: dict) -> tuple[str, str]:
    return result["dataset"]["name"], result["task"]["type"]


def conversation(messages: list[Message]) -> str:
    """A conversation for people to read."""
    return "\n".join(f"[{message['role']}] {message['content']}" for message in messages)


def dataset_card(facts: dict, rows: list[dict], files: dict[str, str]) -> str:
    """The card of one config.

    Args:
        facts: those of ra_it.json.
        rows: some to show.
        files: each split's Parquet file.
    """
    name = facts["recipe"]
    metadata = {
        "language": [facts["language"]],
        "license": facts["corpus_licence"],
        "task_categories": ["token-classification", "text-generation"],
        "tags": ["named-entity-recognition", "open-ner", "ra-it"],
        "configs": [{"config_name": name, "data_files": [{"split": s, "path": p} for s, p in files.items()]}],
    }
    examples = (
        f"at most {facts['k']} examples a passage by strategy `{facts['strategy']}`, from the train split without the "
        "passage itself"
        if facts["k"]
        else "no examples (vanilla instruction tuning)"
    )
    split_counts = ("rows", "questions", "examples")
    splits = [(split, *(facts[key][split] for key in split_counts)) for split in facts["rows"]]
    settings = [config_field.name for config_field in dataclasses.fields(DatasetConfig)]
    recipe = {"language": facts["language"], "dataset": {key: facts[key] for key in settings}}
    counts = [(key.replace("_", " "), n) for key, n in facts.items() if type(n) is int and key not in settings]
    tokens = [("tokens a row", *facts["tokens"].values())]
    lengths = f"""
Lengths under the tokenizer of the model that the recipe trains; no row is over {facts["max_length"]}:

{markdown.table(["", *facts["tokens"]], tokens)}
"""
    shown = "\n\n".join(markdown.fence(conversation(row["prompt"] + row["completion"])) for row in rows)
    body = f"""## {markdown.cell(name)}

Conversations with {examples}.

{markdown.table(["split", *split_counts], splits)}
{lengths if facts["tokens"] else ""}
Load it with `load_dataset(<this folder or repo>, "{name}")`. `prompt` holds the examples, the text and the first
question, `completion` its answer and all further questions with their answers.

Source: {markdown.cell(facts["corpus"])}, {f"commit {facts['corpus_commit']}" if facts["corpus_commit"] else "a file"};
licence: {markdown.cell(facts["corpus_licence"] or "not known, ask who made it")}. What became of its passages:

{markdown.table(["count", "passages"], counts)}

Of {facts["types"]} types, those of most passages:

{markdown.table(["type", "passages"], facts["passages_of_type"].items())}

The recipe, made with {", ".join(f"{library} {number}" for library, number in facts["versions"].items())}:

{markdown.fence(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True).rstrip(), "yaml")}

The first rows:

{shown}

{CITATION}"""
    return card(metadata, "RA-IT: open named entity recognition as conversations", name, body)


def model_card(
    facts: dict,
    recipe: Recipe,
    tokenizer: "PreTrainedTokenizerBase",
    settings: dict,
    measured: Sequence[tuple[str, object]],
    curves: str | None,
) -> str:
    """The card of an adapter. Metadata names only what the Hub knows.

    Args:
        facts: those of ra_it.json.
        tokenizer: with the chat template that was trained.
        settings: of section train, as the run had them.
        measured: rows for the table of what the run was.
        curves: file name of the image of the losses, if there is one.
    """
    on_hub = not Path(facts["base"]).is_dir()
    base_licence, data_licence = facts.get("base_licence"), facts.get("dataset_licence")
    metadata = {
        "library_name": "peft",
        "license": base_licence if base_licence == data_licence else base_licence and data_licence and "other",
        "base_model": facts["base"] if on_hub else None,
        "base_model_relation": "adapter" if on_hub else None,
        "datasets": None if Path(facts["dataset"]).is_dir() else [facts["dataset"]],
        "language": [facts["language"]],
        "pipeline_tag": "text-generation",
        "tags": ["named-entity-recognition", "open-ner", "ra-it", "lora", "sft", "trl"],
    }
    made = [
        ("base model", f"{facts['base']} at {facts['base_revision']}"),
        ("its licence", base_licence or "unknown, see its own page"),
        ("dataset", f"{facts['dataset']}, config {facts['dataset_config']}, at {facts['dataset_revision']}"),
        ("licence of its corpus", data_licence or "unknown, ask who made it"),
        ("examples a passage in training", f"{facts['k']} by strategy {facts['strategy']}"),
        ("wording", f"{facts['wording']}, {facts['language']}"),
        ("effective batch size", facts["effective_batch_size"]),
        *measured,
        *((library, version(library)) for library in LIBRARIES),
    ]
    used = yaml.safe_dump({"language": recipe.language, "train": settings}, sort_keys=False, allow_unicode=True)
    method = "RA-IT" if facts["k"] else "vanilla instruction tuning"
    kind = "A QLoRA adapter" if settings.get("load_in_4bit") else "A LoRA adapter"
    usage = f"""{kind} for open named entity recognition, trained with {method}. It is asked for one entity type
a turn and answers with a JSON list of mentions.

{_usage(facts, tokenizer, "peft", "AutoPeftModelForCausalLM")}"""
    training = f"""## Training

{markdown.table(["", ""], made)}

{f"![Training and validation loss over steps]({curves})" if curves else "No loss was logged."}

The recipe, {markdown.cell(recipe.name)}, as it was run, flags included:

{markdown.fence(used.rstrip(), "yaml")}

{CITATION}"""
    return card(metadata, recipe.name, "adapter", usage) + f"\n{_part('training', training)}\n"


def merged_card(adapter_card: str, facts: dict, tokenizer: "PreTrainedTokenizerBase", findings: Sequence[str]) -> str:
    """The card of an adapter, made that of the model that the adapter was merged into.

    Args:
        findings: sentences on how the merged model compares with the adapter.
    """
    metadata = {"library_name": "transformers"}
    if "base_model" in RepoCard(adapter_card).data:
        metadata["base_model_relation"] = "finetune"
    usage = f"""A model for open named entity recognition in bfloat16: an adapter merged into its base. It is asked
for one entity type a turn and answers with a JSON list of mentions.

{_usage(facts, tokenizer, "transformers", "AutoModelForCausalLM")}

## The merge

{chr(10).join(f"- {markdown.cell(finding)}" for finding in findings)}"""
    return merge(adapter_card, card(metadata, facts["recipe"], "adapter", usage))


def _usage(facts: dict, tokenizer: "PreTrainedTokenizerBase", package: str, loader: str) -> str:
    """How the model is asked: code that runs, and the prompt as the model reads it."""
    wording = find_wording(facts["wording"], facts["language"])
    text, asked, mentions, example = {
        "en": ("Ada Lovelace lived in London.", "city", ["London"], ("The Rhine flows past Basel.", "Basel", "city")),
        "zh": ("鲁迅生于绍兴。", "城市", ["绍兴"], ("莱茵河流经巴塞尔。", "巴塞尔", "城市")),
    }[facts["language"]]
    messages = query(text, asked, [], wording)
    stop = end_of_turn(tokenizer)
    shown = [Passage("", example[0], (Entity(*example[1:], None, None),))] if facts["k"] else []
    asked_with_examples = query(text, asked, shown, wording)
    answered = [*asked_with_examples, {"role": "assistant", "content": wording.format_answer(mentions)}]
    code = f"""from {package} import {loader}
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{REPO}")
model = {loader}.from_pretrained("{REPO}", dtype="bfloat16", device_map="auto")
messages = {json.dumps(messages, indent=4, ensure_ascii=False)}
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
stop = tokenizer.convert_tokens_to_ids({json.dumps(stop)})  # ends a turn
answer = model.generate(**prompt.to(model.device), max_new_tokens=64, do_sample=False, eos_token_id=stop)
print(tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))"""
    examples = "; a turn with examples may come before the text" if facts["k"] else ""
    return f"""{markdown.fence(code, "python")}

The chat template comes with the tokenizer. What the model reads and, at the end, writes{examples}:

{markdown.fence(tokenizer.apply_chat_template(answered, tokenize=False).rstrip())}"""


def licence(folder: Path) -> str | None:
    """What the card of a model names as its licence, None if there is no card or none in it."""
    file = folder / "README.md"
    try:
        metadata = RepoCard(file.read_text(encoding="utf-8")).data.to_dict() if file.is_file() else {}
    except (ValueError, yaml.YAMLError):  # a card that only its writer can read
        return None
    named = metadata.get("license_name") if metadata.get("license") == "other" else None
    found = named or metadata.get("license")
    return ", ".join(found) if isinstance(found, list) else found


def scores_card(recipe: Recipe, report: str, results: list[EvalResult]) -> str:
    """The part of a model's card that holds an evaluation's report, and the results as metadata."""
    index = eval_results_to_model_index(recipe.name, results) if results else None
    body = report.replace("# ", "## Scores: ", 1)
    return card({"model-index": index}, recipe.name, f"scores of {recipe.name}", body)


def predictions_card(recipe: Recipe, file: str) -> str:
    """The card of a config of predictions."""
    metadata = {
        "language": [recipe.language],
        "tags": ["named-entity-recognition", "open-ner", "ra-it", "predictions"],
        "configs": [{"config_name": recipe.name, "data_files": [{"split": "test", "path": file}]}],
    }
    body = f"""## {markdown.cell(recipe.name)}

Each query of an evaluation: the gold entities, the raw answer, what was read of it, and the examples shown. Load it
with `load_dataset(<this repo>, "{recipe.name}", split="test")`."""
    return card(metadata, "Predictions for open named entity recognition", recipe.name, body)


CITATION = """Method: *Retrieval Augmented Instruction Tuning for Open NER with Large Language Models*
([arXiv 2406.17305](https://huggingface.co/papers/2406.17305)); the form of the conversations is UniversalNER's
([arXiv 2308.03279](https://huggingface.co/papers/2308.03279))."""
