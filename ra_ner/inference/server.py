"""Generation by an OpenAI-compatible server: vLLM, TGI, llama.cpp, or a vendor."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

import openai
from transformers import AutoTokenizer

from ..errors import UserError
from ..prompting.chat_template import prompt_ids
from ..prompting.conversation import Message
from ..recipe import EvaluateConfig
from .engine import Request, answer_budget

RETRIES = 6  # the client's own: after 429, 5xx and cut connections, with growing pauses
ATTEMPTS = 3  # at an answer that is none
MENTIONS = {"type": "array", "items": {"type": "string"}}


class _LimitReached(BaseException):
    """Not an Exception, which the client would take for a failure of the connection and try again."""


class ServerEngine:
    """A model of a server, asked by `server_concurrency` requests at a time.

    With `server_api: completions` prompts are sent as the token ids that training rendered, so they are the same as
    elsewhere; with `chat` the server renders the messages. The key comes from the environment variable OPENAI_API_KEY.

    Args:
        name: of the model on the server.
        config: its `server_...` keys and `max_new_tokens` are read.
        tokenizer: folder of the tokenizer, for `completions`.
        chat_template: used instead of the tokenizer's own.

    Raises:
        UserError: no `server_url`, or the tokenizer can't be loaded.
    """

    def __init__(self, name: str, config: EvaluateConfig, tokenizer: Path | None, chat_template: str | None = None):
        if not config.server_url:
            raise UserError("engine server needs `server_url`, such as http://localhost:8000/v1")
        if len(config.server_prices) != 2:
            raise UserError("server_prices takes two: of a million prompt tokens, and of a million answer tokens")
        self.name, self.config, self.tokenizer = name, config, None
        if config.server_api == "completions":
            try:
                self.tokenizer = AutoTokenizer.from_pretrained(tokenizer)
            except (OSError, ValueError) as error:
                raise UserError(f"tokenizer of {name} can't be loaded: {error}") from None
            self.tokenizer.chat_template = chat_template or self.tokenizer.chat_template
        self.lock = threading.Lock()
        self.requests = self.prompt_tokens = self.answer_tokens = self.reserved = 0
        self.client = openai.OpenAI(
            base_url=config.server_url,
            # Servers of one's own ask for no key, but the client does.
            api_key=os.environ.get("OPENAI_API_KEY", "none"),
            max_retries=RETRIES,
            timeout=config.server_timeout,
            http_client=openai.DefaultHttpxClient(event_hooks={"request": [self._count]}),
        )

    def _count(self, request: object) -> None:
        """Called before anything is sent, retries too."""
        with self.lock:
            if self.requests >= self.config.server_max_requests:
                raise _LimitReached(f"server_max_requests: {self.config.server_max_requests}")
            self.requests += 1

    def answer(self, requests: list[Request]) -> Iterator[tuple[int, int, str]]:
        """Ask each question on its own; what has been answered is yielded, whatever becomes of the others.

        Raises:
            UserError: a limit is reached, or the server refuses or fails for good.
        """
        failure: BaseException | None = None
        with ThreadPoolExecutor(self.config.server_concurrency) as pool:
            asked: dict[Future[str], tuple[int, int]] = {}
            for i, request in enumerate(requests):
                for j, messages in enumerate(request.queries):
                    asked[pool.submit(self._ask, messages, request.text)] = (i, j)
            for future in as_completed(asked):
                if future.cancelled():
                    continue
                try:
                    answer = future.result()
                except (UserError, _LimitReached) as error:
                    failure = failure or error
                    for other in asked:
                        other.cancel()
                else:
                    yield *asked[future], answer
        if failure:
            raise self._explain(failure)

    def converse(self, request: Request) -> list[str]:
        """The answer to each question, asked one after the other in one conversation."""
        messages, answers = list(request.opening), []
        for question in request.questions:
            messages.append({"role": "user", "content": question})
            try:
                answers.append(self._ask(messages, request.text))
            except _LimitReached as error:
                raise self._explain(error) from None
            messages.append({"role": "assistant", "content": answers[-1]})
        return answers

    def _explain(self, error: BaseException) -> UserError:
        if isinstance(error, UserError):
            return error
        return UserError(f"stopped at `{error}`: raise it and run this again; what was answered is kept")

    def _ask(self, messages: list[Message], text: str) -> str:
        text_tokens = len(self.tokenizer(text).input_ids) if self.tokenizer else len(text.encode())
        budget = answer_budget(text_tokens, self.config.max_new_tokens)
        ids = prompt_ids(self.tokenizer, messages) if self.tokenizer else None
        # Without the model's tokenizer: a token has a byte or more, and a message some for its role.
        most = budget + (len(ids) if ids else sum(len(m["content"].encode()) + 16 for m in messages))
        self._reserve(most)
        prompt = answered = 0
        try:
            for _ in range(ATTEMPTS):
                reply = self._send(messages, ids, budget)
                prompt += reply.usage.prompt_tokens if reply.usage else 0
                answered += reply.usage.completion_tokens if reply.usage else 0
                choice = reply.choices[0] if reply.choices else None
                said = choice and (choice.text if ids else choice.message and choice.message.content)
                if isinstance(said, str):
                    return said
        except openai.APIStatusError as error:
            raise UserError(f"{self._where()} refused ({error.status_code}): {error.message[:300]}") from None
        except openai.OpenAIError as error:
            raise UserError(f"{self._where()} can't be reached or broke off ({error}): run this again") from None
        except (AttributeError, TypeError, ValueError):
            pass  # an answer without the fields of one
        finally:
            self._reserve(-most)
            with self.lock:
                self.prompt_tokens += prompt
                self.answer_tokens += answered
        raise UserError(
            f"{self._where()} gives no answers of an OpenAI-compatible server: check server_url, server_api"
        )

    def _reserve(self, tokens: int) -> None:
        with self.lock:
            self.reserved += tokens
            if tokens > 0 and self.prompt_tokens + self.answer_tokens + self.reserved > self.config.server_max_tokens:
                self.reserved -= tokens
                raise _LimitReached(f"server_max_tokens: {self.config.server_max_tokens}")

    def _send(self, messages: list[Message], ids: list[int] | None, budget: int):
        extra = {"structured_outputs": {"json": MENTIONS}} if self.config.server_json else {}
        common = {"model": self.name, "temperature": 0.0}
        if ids is None:
            return self.client.chat.completions.create(
                messages=messages, max_completion_tokens=budget, extra_body=extra, **common
            )
        extra["stop_token_ids"] = [self.tokenizer.eos_token_id]  # the end of a turn, if the server knows another
        return self.client.completions.create(prompt=ids, max_tokens=budget, extra_body=extra, **common)

    def _where(self) -> str:
        return f"model {self.name} of {self.config.server_url}"

    @property
    def cost(self) -> str:
        """What was asked so far, with the price if `server_prices` gives any."""
        prompt, answer = self.config.server_prices
        price = (self.prompt_tokens * prompt + self.answer_tokens * answer) / 1e6
        return f"{self.requests} requests, {self.prompt_tokens} prompt tokens, {self.answer_tokens} answer tokens" + (
            f", cost {price:.4f}" if price else ""
        )
