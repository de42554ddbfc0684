"""How long a conversation may be, for building, evaluation and extraction alike: examples give way first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .conversation import Message

T = TypeVar("T")


@dataclass(frozen=True)
class LengthLimit:
    """At most `tokens` tokens, as `count` counts those of a conversation."""

    tokens: int
    count: Callable[[list[Message]], int]

    def fits(self, messages: list[Message]) -> bool:
        return self.count(messages) <= self.tokens

    def fitting_examples(
        self, examples: Sequence[T], conversation: Callable[[Sequence[T]], list[Message]]
    ) -> Sequence[T]:
        """The longest beginning of `examples` with which the conversation fits, empty if it fits with none.

        Args:
            examples: best first.
            conversation: makes the messages that show the given examples.
        """
        while examples and not self.fits(conversation(examples)):
            examples = examples[:-1]
        return examples
