"""Engines: what generates answers. Each takes all queries of one passage at once and gives one answer each."""

from typing import Protocol

from ..conversation import Message


class Engine(Protocol):
    def answer(self, queries: list[list[Message]]) -> list[str]:
        """The model's greedy answer to each query; the queries are those of one passage and share their opening."""
        ...
