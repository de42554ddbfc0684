"""Engines: what generates answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ..prompting.conversation import Message


@dataclass(frozen=True)
class Request:
    """All questions about one passage. `text` is the passage, `opening` the messages before the first question."""

    text: str
    opening: list[Message]
    questions: list[str]

    @property
    def queries(self) -> list[list[Message]]:
        """The messages that ask each question on its own."""
        return [[*self.opening, {"role": "user", "content": question}] for question in self.questions]


class Engine(Protocol):
    """Answers greedily, with at most `max_new_tokens` and never more than `answer_budget` of the text."""

    def answer(self, requests: list[Request]) -> Iterator[tuple[int, int, str]]:
        """Ask each question on its own; yields request number, question number and answer, as answers come."""
        ...

    def converse(self, request: Request) -> list[str]:
        """The answer to each question, asked one after the other in one conversation."""
        ...


def answer_budget(text_tokens: int, max_new_tokens: int) -> int:
    """Tokens that an answer may have: a list of mentions has room in twice the text it is taken from."""
    return min(max_new_tokens, 2 * text_tokens + 16)
