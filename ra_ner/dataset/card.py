"""The card of an RA-IT dataset."""

import yaml

from .. import markdown
from ..corpora import decontamination
from ..hub.card import CITATION, new_card
from ..prompting.conversation import transcript
from ..tasks import task_of


def dataset_card(facts: dict, rows: list[dict], files: dict[str, str]) -> str:
    """The card of one config.

    Args:
        facts: the content of ra_it.json.
        rows: example rows to show.
        files: the Parquet file of each split.
    """
    name, config, corpus = facts["recipe"], facts["config"], facts["corpus"]
    task = task_of(config["wording"])
    metadata = {
        "language": [facts["language"]],
        "license": corpus["license"],
        "task_categories": [task.category, "text-generation"],
        "tags": [*task.tags, "ra-it"],
        "configs": [{"config_name": name, "data_files": [{"split": s, "path": p} for s, p in files.items()]}],
    }
    examples = (
        f"up to {config['k']} in-context examples for each passage (strategy `{config['strategy']}`), from the train "
        "split without the passage itself"
        if config["k"]
        else "no in-context examples (vanilla instruction tuning)"
    )
    split_counts = ("rows", "questions", "examples")
    splits = [(split, *(facts[key][split] for key in split_counts)) for split in facts["rows"]]
    counts = [(key.replace("_", " "), number) for key, number in facts["counts"].items()]
    lengths = f"""
Tokens of a row, by the tokenizer of the model that the recipe trains (at most {config["max_length"]}):

{markdown.table(["", *facts["tokens"]], [("tokens", *facts["tokens"].values())])}
"""
    asked = ", ".join(f"{label} as {word}" for label, word in corpus.get("words", {}).items())
    words = f"Its labels are asked in words: {markdown.cell(asked)}. " if asked else ""
    excluded = f"""
Decontamination by the test parts of {", ".join(map(markdown.cell, config["exclude"]))}.
{decontamination.describe(facts["language"])}
"""
    recipe = {"language": facts["language"], "dataset": config}
    shown = "\n\n".join(markdown.fence(transcript(row["prompt"] + row["completion"])) for row in rows)
    body = f"""## {markdown.cell(name)}

Conversations with {examples}.

{markdown.table(["split", *split_counts], splits)}
{lengths if facts["tokens"] else ""}
Load it with `load_dataset(<this folder or repo>, "{name}")`. `prompt` holds the examples, the text and the first
question; `completion` holds its answer and all further questions with their answers.

Source: {markdown.cell(config["corpus"])}, {f"commit {corpus['commit']}" if corpus["commit"] else "a local file"};
license: {markdown.cell(corpus["license"] or "unknown, ask its authors")}. {words}What happened to its passages:

{markdown.table(["count", "number"], counts)}
{excluded if config["exclude"] else ""}
The most frequent of its {facts["types"]} {task.counted[0]}:

{markdown.table(["type", "passages"], facts["passages_of_type"].items())}

The recipe, run with {", ".join(f"{library} {number}" for library, number in facts["versions"].items())}:

{markdown.fence(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True).rstrip(), "yaml")}

The first rows:

{shown}

{CITATION}"""
    return new_card(metadata, f"RA-IT: {task.title} as conversations", name, body)
