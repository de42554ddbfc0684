"""The card of an RA-IT dataset."""

import dataclasses

import yaml

from .. import markdown
from ..hub.card import CITATION, new_card
from ..prompting.conversation import transcript
from ..recipe import DatasetConfig


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
        "license": facts["corpus_license"],
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
    shown = "\n\n".join(markdown.fence(transcript(row["prompt"] + row["completion"])) for row in rows)
    body = f"""## {markdown.cell(name)}

Conversations with {examples}.

{markdown.table(["split", *split_counts], splits)}
{lengths if facts["tokens"] else ""}
Load it with `load_dataset(<this folder or repo>, "{name}")`. `prompt` holds the examples, the text and the first
question, `completion` its answer and all further questions with their answers.

Source: {markdown.cell(facts["corpus"])}, {f"commit {facts['corpus_commit']}" if facts["corpus_commit"] else "a file"};
license: {markdown.cell(facts["corpus_license"] or "not known, ask who made it")}. What became of its passages:

{markdown.table(["count", "passages"], counts)}

Of {facts["types"]} types, those of most passages:

{markdown.table(["type", "passages"], facts["passages_of_type"].items())}

The recipe, made with {", ".join(f"{library} {number}" for library, number in facts["versions"].items())}:

{markdown.fence(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True).rstrip(), "yaml")}

The first rows:

{shown}

{CITATION}"""
    return new_card(metadata, "RA-IT: open named entity recognition as conversations", name, body)
