"""The wording of prompts: how a passage becomes a conversation.

A conversation shows examples if any, then the text, then asks for one entity type in each turn. Each answer is a JSON
list of mentions. Training rows and queries are made by the same functions, so they can't differ.
"""

import json
import random
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ..passage import Passage

Message = dict[str, str]
Pairs = list[tuple[str, str]]


_json = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make a new encoder for each call


def format_pairs(pairs: Pairs) -> str:
    """Mentions with their types as JSON, such as `[{"Basel": "city"}]`."""
    return _json([{mention: type_} for mention, type_ in pairs])


def _unescaped_list(mentions: list[str]) -> str:
    return "[" + ", ".join(f'"{mention}"' for mention in mentions) + "]"


@dataclass(frozen=True)
class Wording:
    """The wording of a conversation in one language. Braces are placeholders."""

    examples: str
    example: str
    examples_read: str
    text: str
    text_read: str
    question: str
    format_entities: Callable[[Pairs], str] = format_pairs
    format_answer: Callable[[list[str]], str] = _json

    @property
    def answers_are_json(self) -> bool:
        return self.format_answer is _json


_ENGLISH = Wording(
    examples="Here are some examples of named entity recognition:\n{examples}",
    example="Text: {text}\nEntity: {entities}",
    examples_read="I've read these examples.",
    text="Text: {text}",
    text_read="I've read this text.",
    question="What describes {type} in the text?",
)
_CHINESE = Wording(
    examples="以下是一些命名实体识别的例子：\n{examples}",
    example="文本：{text}\n实体：{entities}",
    examples_read="我已读完这些例子。",
    text="文本： {text}",
    text_read="我已读完这段文本。",
    question='文本中属于"{type}"的实体有哪些？',
)

# By the recipe key `wording`, and language. `ra_it` is the paper's table. The others are as released (arXiv
# 2406.17305): the Chinese data writes example entities as a Python repr and answers without escaping; the English
# model card has curly apostrophes.
WORDINGS: dict[tuple[str, str], Wording] = {
    ("ra_it", "en"): _ENGLISH,
    ("ra_it", "zh"): _CHINESE,
    ("released_en", "en"): Wording(
        **{**vars(_ENGLISH), "examples_read": "I’ve read these examples.", "text_read": "I’ve read this text."}
    ),
    ("released_zh", "zh"): Wording(
        **{
            **vars(_CHINESE),
            "format_entities": lambda pairs: str([{mention: type_} for mention, type_ in pairs]),
            "format_answer": _unescaped_list,
        }
    ),
}


def opening(text: str, examples: Sequence[Passage], wording: Wording) -> list[Message]:
    """The turns before the first question: examples if there are any, then the text."""
    turns = []
    if examples:
        shown = "\n".join(
            wording.example.format(text=example.text, entities=wording.format_entities(example.pairs))
            for example in examples
        )
        turns += [wording.examples.format(examples=shown), wording.examples_read]
    turns += [wording.text.format(text=text), wording.text_read]
    return _messages(turns)


def _messages(turns: list[str]) -> list[Message]:
    return [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]


def query(text: str, entity_type: str, examples: Sequence[Passage], wording: Wording) -> list[Message]:
    """The messages that ask for the mentions of one type.

    Example:
        >>> query("Ada lived in London.", "city", [], WORDINGS["ra_it", "en"])[-1]
        {'role': 'user', 'content': 'What describes city in the text?'}
    """
    return [*opening(text, examples, wording), *_messages([wording.question.format(type=entity_type)])]


def training_conversation(
    passage: Passage, types: Sequence[str], examples: Sequence[Passage], wording: Wording
) -> tuple[list[Message], list[Message]]:
    """A training row: `(prompt, completion)`. The prompt ends in the first question, the completion has the rest."""
    mentions: dict[str, list[str]] = {}
    for mention, entity_type in passage.pairs:
        mentions.setdefault(entity_type, []).append(mention)
    turns = []
    for entity_type in types:
        turns += [wording.question.format(type=entity_type), wording.format_answer(mentions.get(entity_type, []))]
    messages = _messages(turns)
    return [*opening(passage.text, examples, wording), messages[0]], messages[1:]


def transcript(messages: list[Message]) -> str:
    """A conversation as readable text."""
    return "\n".join(f"[{message['role']}] {message['content']}" for message in messages)


class NegativeTypes:
    """Draws entity types that a passage does not have, in proportion to their frequency in the corpus.

    For each type of the passage a coin with `probability` is tossed; each success draws one type, without repetition
    (arXiv 2406.17305, which follows UniversalNER, arXiv 2308.03279, section 3.2). A type's frequency is its number of
    distinct mentions, summed over passages.
    """

    def __init__(self, passages: Sequence[Passage], probability: float = 0.5):
        frequency = Counter(type_ for passage in passages for _, type_ in passage.pairs)
        self.probability = probability
        self.known = frozenset(frequency)
        self.types = sorted(frequency)
        self.cumulative = list(accumulate(frequency[type_] for type_ in self.types))

    def sample(self, passage: Passage, rng: random.Random) -> list[str]:
        """Toss the coins and draw as many types; fewer if the corpus has no more."""
        return self.draw(passage, sum(rng.random() < self.probability for _ in passage.types), rng)

    def draw(self, passage: Passage, count: int, rng: random.Random) -> list[str]:
        """Draw `count` distinct types that the passage does not have."""
        refused = set(passage.types)
        count = min(count, len(self.types) - len(refused & self.known))
        drawn: list[str] = []
        while len(drawn) < count:
            type_ = self.types[bisect(self.cumulative, rng.random() * self.cumulative[-1])]
            if type_ not in refused:
                refused.add(type_)
                drawn.append(type_)
        return drawn
