"""What an engine is: it generates the answers to questions about texts."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, TypeVar

from ..errors import UserError
from ..prompting.conversation import Message

Piece = tuple[str, float]  # the text of a generated token, and the natural logarithm of its probability


@dataclass(frozen=True)
class Request:
    """One question. `messages` is the whole prompt, which ends in the question; `text` is the text it is about."""

    text: str
    messages: list[Message]

    @property
    def opening(self) -> list[Message]:
        """The messages before the question, which all questions about a text share."""
        return self.messages[:-1]

    @property
    def lists_mentions(self) -> bool:
        """Whether the answer is a list of mentions of the text. Other answers may be longer than the text."""
        return True


@dataclass(frozen=True)
class Generation:
    """A generated answer. `pieces` are its tokens, where the engine was asked for probabilities."""

    text: str
    pieces: tuple[Piece, ...] = ()


R = TypeVar("R", bound=Request)


class Engine(Protocol):
    """Generates greedily, at most `max_new_tokens` and never more than `Request.budget` tokens."""

    def answer(self, requests: Sequence[R]) -> Iterator[tuple[R, Generation]]:
        """Answer each question on its own. Yields requests with their answers, in any order, as answers come.

        Questions about one text should follow one another: what they share is computed once.
        """
        ...

    def converse(self, requests: Sequence[R]) -> list[str]:
        """Ask all questions about one text one after the other in one conversation; returns the answers in order."""
        ...


@dataclass(frozen=True)
class ServerOptions:
    """How an OpenAI-compatible server is asked.

    Attributes:
        url: such as http://localhost:8000/v1.
        api: `completions` sends token ids, rendered as in training; `chat` sends messages, for vendors.
        json: have a vLLM server constrain answers to JSON lists.
        concurrency: requests at a time.
        timeout: seconds to wait for a whole answer.
        max_requests: most requests to send, retries included; no limit by default.
        max_tokens: most tokens to send and receive; no limit by default.
        thinking_tokens: most tokens that a reasoning model may think, beside those of its answer.
        prices: of a million prompt tokens and of a million answer tokens.

    Raises:
        UserError: a value is not possible.
    """

    url: str | None
    api: str = "completions"
    json: bool = False
    concurrency: int = 8
    timeout: float = 120.0
    max_requests: int = sys.maxsize
    max_tokens: int = sys.maxsize
    thinking_tokens: int = 0
    prices: tuple[float, ...] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if self.url and not self.url.startswith(("http://", "https://")):
            raise UserError(f"`server_url: {self.url}` must start with http:// or https://")
        if self.api not in ("completions", "chat"):
            raise UserError(f"`server_api: {self.api}` is not known; choose completions or chat")
        if self.concurrency < 1 or self.thinking_tokens < 0 or not self.timeout > 0:
            raise UserError(
                "`server_concurrency` must be at least 1, `server_timeout` above 0, `server_thinking_tokens` at least 0"
            )

    @classmethod
    def of(cls, server: "ServerOptions | Mapping[str, object] | str") -> "ServerOptions":
        """Options as they are, from a mapping with their fields, or from a URL.

        Raises:
            UserError: it is something else, or a value is not possible.
        """
        if isinstance(server, ServerOptions):
            return server
        try:
            return cls(**{"url": server} if isinstance(server, str) else server)
        except (TypeError, AttributeError) as error:  # an unknown field, or a value of another kind
            raise UserError(f"`server` is a URL, or has the fields of ServerOptions: {error}") from None


def by_text(requests: Sequence[R]) -> list[list[R]]:
    """Groups of consecutive requests about one text that differ in their question alone, the longest prompts first.

    Prompts of similar length are then computed together, and if memory does not suffice, that shows at once.
    """
    groups = [list(group) for _, group in groupby(requests, key=lambda request: (request.text, request.opening))]
    return sorted(groups, key=lambda group: -sum(len(message["content"]) for message in group[0].opening))


def answer_budget(text_tokens: int, max_new_tokens: int, lists_mentions: bool) -> int:
    """The most tokens that an answer may have. A list of mentions fits into twice the tokens of its text."""
    return min(max_new_tokens, 2 * text_tokens + 16) if lists_mentions else max_new_tokens
