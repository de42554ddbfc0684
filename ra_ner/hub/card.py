"""Cards of Hub repos: parts with a name, merged so that each run replaces its own part and leaves the rest alone."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from .. import markdown
from ..errors import UserError
from ..foreign_files import parse_yaml, use_booleans_of_yaml_1_2

_FRONT = re.compile(r"\s*---[ \t]*\r?\n(.*?)^---[ \t]*\r?$\n?", re.DOTALL | re.MULTILINE)

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


class _CardLoader(yaml.SafeLoader):
    """SafeLoader that leaves what the user wrote: `no` is Norwegian, and a number that would change stays a text."""

    def construct_number(self, node: yaml.ScalarNode) -> float | str:
        is_float = node.tag.endswith(":float")
        value = self.construct_yaml_float(node) if is_float else self.construct_yaml_int(node)
        return value if str(value) == node.value else node.value


use_booleans_of_yaml_1_2(_CardLoader)
for _kind in ("int", "float"):
    _CardLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _CardLoader.construct_number)


def read_card(card: str) -> tuple[dict[str, Any], str]:
    """The metadata of a card, without empty values, and its text.

    Raises:
        yaml.YAMLError: the metadata is not valid YAML, or no mapping.
    """
    front = _FRONT.match(card)
    metadata = (parse_yaml(front[1], _CardLoader) if front else None) or {}
    if not isinstance(metadata, dict):
        raise yaml.YAMLError("a mapping is needed")
    return {key: value for key, value in metadata.items() if value is not None}, card[front.end() if front else 0 :]


def merge(existing: str, new: str, replaced: Collection[str] = ()) -> str:
    """Put the parts and the metadata of `new` into an existing card. Everything else in it stays.

    A part replaces the one with the same name, or is added at the end. In the metadata configs are replaced by name,
    other lists are united, and single values and the widget are taken from `new`.

    Args:
        replaced: keys of the metadata that the existing card loses, even if `new` lacks them.

    Raises:
        UserError: the metadata of the existing card can't be read.
    """
    try:
        metadata, text = read_card(existing)
        metadata = {key: value for key, value in metadata.items() if key not in replaced}
        added, new_text = read_card(new)
        for key, value in added.items():
            metadata[key] = _merge_value(key, metadata.get(key), value)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"the metadata of README.md there can't be read ({error}): correct it by hand") from None
    for match in re.finditer(r"(<!-- ra-ner: (.+?) -->)\n.*?\n(<!-- /ra-ner: \2 -->)", new_text, re.DOTALL):
        before, begin, rest = text.partition(match[1])
        _, end, after = rest.partition(match[3])
        text = f"{before}{match[0]}{after}" if begin and end else f"{text.rstrip()}\n\n{match[0]}\n"
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
    if key == "widget":
        return new
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
        metadata, _ = read_card(file.read_text(encoding="utf-8")) if file.is_file() else ({}, "")
    except (UnicodeDecodeError, yaml.YAMLError):
        return None
    named = metadata.get("license_name") if metadata.get("license") == "other" else None
    found = named or metadata.get("license")
    return ", ".join(map(str, found)) if isinstance(found, list) else found and str(found)
