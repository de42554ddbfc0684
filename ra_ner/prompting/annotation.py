"""Open discovery: one question for all entities, with types of the model's choice, for models that were not trained
to answer one type at a time.

The words are those that Pile-NER and Sky-NER were annotated with (arXiv 2308.03279, 2406.17305).
"""

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..passage import Passage
from .answers import outside_thoughts
from .conversation import Message, Pairs, format_pairs

_SYSTEM = {"en": "You are a helpful information extraction system.", "zh": "你是一个有效的信息抽取系统。"}
_REQUEST = {
    "en": "Given a passage, your task is to extract all entities and identify their entity types. The output should be "
    'in the following JSON format: [{"entity 1": "type of entity 1"}, ...].\nPassage: %s',
    "zh": "给定一段文本，你的任务是抽取所有实体并识别它们的实体类别。输出应为以下JSON格式："
    '[{"实体1": "实体1的类别"}, ...]。\n文本：%s',
}


def annotation_prompt(text: str, examples: Sequence[Passage], language: str) -> list[Message]:
    """The messages that ask for all entities of a text. Examples are earlier turns."""
    messages = [{"role": "system", "content": _SYSTEM[language]}]
    for example in examples:
        messages += [
            {"role": "user", "content": _REQUEST[language] % example.text},
            {"role": "assistant", "content": format_pairs(example.pairs)},
        ]
    return [*messages, {"role": "user", "content": _REQUEST[language] % text}]


@dataclass(frozen=True)
class Annotation:
    """A parsed answer: mentions with their types. `error` says why it could not be parsed; `pairs` is then empty."""

    pairs: Pairs
    error: str | None = None


_STRING = r'"(?:[^"\\]|\\.)*"'
_PAIR = re.compile(rf"({_STRING})\s*:\s*({_STRING})", re.DOTALL)
_KEYS = ({"entity", "mention", "text", "name"}, {"type", "label", "category", "entity_type"})


def parse_annotation(raw: str) -> Annotation:
    """Read each pair of a mention and a type. Never raises.

    The pairs may stand in one object or in a list of objects, with prose around them; `{"entity": "Ada", "type":
    "person"}` is such a pair too. Of an answer that was cut off the complete pairs count.

    Example:
        >>> parse_annotation('[{"Ada": "person"}, {"London": "city"}]').pairs
        [('Ada', 'person'), ('London', 'city')]
    """
    start, end = outside_thoughts(raw)
    raw = raw[start:end]
    found = [(_read(match[1]), _read(match[2])) for match in _PAIR.finditer(raw)]
    pairs: Pairs = []
    for (key, value), (next_key, next_value) in itertools.pairwise([*found, ("", "")]):
        if key.lower() in _KEYS[0] and next_key.lower() in _KEYS[1]:
            pairs.append((value, next_value))
        elif key.lower() not in _KEYS[1]:
            pairs.append((key, value))
    pairs = [pair for pair in dict.fromkeys(pairs) if all(pair)]
    if not pairs and not re.search(r"\[\s*\]|\{\s*\}", raw):
        return Annotation([], "no pair of an entity and its type")
    return Annotation(pairs)


def _read(literal: str) -> str:
    try:
        text = json.loads(literal, strict=False)
    except ValueError:  # an escape that JSON does not have
        text = literal[1:-1]
    return text.encode("utf-8", "replace").decode().strip()  # half a surrogate pair can't be written
