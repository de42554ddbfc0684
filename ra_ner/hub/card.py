"""Cards of Hub repos: parts with a name, merged so that each run replaces its own part and leaves the rest alone."""

import re
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import RepoCard

from .. import markdown

# Placeholder in a card for the id of its repo, known when it is pushed.
REPO = "<this repo>"

CITATION = """Method: *Retrieval Augmented Instruction Tuning for Open NER with Large Language Models*
([arXiv 2406.17305](https://huggingface.co/papers/2406.17305)); the form of the conversations is UniversalNER's
([arXiv 2308.03279](https://huggingface.co/papers/2308.03279))."""

# What a license asks every copy that is passed on to say.
LICENSE_NOTICES = {
    "gemma": "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms"
}


def new_card(metadata: dict[str, Any], title: str, name: str, body: str) -> str:
    """A card with one part.

    Args:
        metadata: keys with the value None are left out.
        name: marks the part, so that `merge` can replace it.
    """
    kept = {key: value for key, value in metadata.items() if value is not None}
    front = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n# {markdown.cell(title)}\n\n{part(name, body)}\n"


def part(name: str, body: str) -> str:
    # A text from the data must not be able to end its part.
    return f"<!-- ra-ner: {name} -->\n{body.replace('<!--', '<!- -')}\n<!-- /ra-ner: {name} -->"


def merge(existing: str, new: str) -> str:
    """Put the parts and the metadata of `new` into an existing card. Everything else in it stays.

    A part replaces the one with the same name, or is added at the end. In the metadata configs are replaced by name,
    other lists are united, and single values are taken from `new`.
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


def license_of(folder: Path) -> str | None:
    """The license that the card of a model names, None if it names none."""
    file = folder / "README.md"
    try:
        metadata = RepoCard(file.read_text(encoding="utf-8")).data.to_dict() if file.is_file() else {}
    except (ValueError, yaml.YAMLError):  # not valid YAML
        return None
    named = metadata.get("license_name") if metadata.get("license") == "other" else None
    found = named or metadata.get("license")
    return ", ".join(found) if isinstance(found, list) else found
