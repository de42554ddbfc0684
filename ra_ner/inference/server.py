"""Generation by an OpenAI-compatible server: vLLM, TGI, llama.cpp, or a vendor."""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

import openai
from transformers import AutoTokenizer

from ..errors import UserError
from ..prompting.chat_template import prompt_ids
from ..prompting.conversation import Message
from ..redaction import redact
from .engine import Generation, Piece, R, ServerOptions, answer_budget

RETRIES = 6  # by the client: after 429, 5xx and cut connections, with growing pauses
ATTEMPTS = 3  # at getting an answer with content
MENTIONS = {"type": "array", "items": {"type": "string"}}


class _LimitReached(BaseException):
    """Not an Exception: the client would take that for a failure of the connection and try again."""


class ServerEngine:
    """A model of a server, asked with several requests at a time.

    With the API `completions`, prompts are sent as the token ids that training rendered, so they are the same as in
    other engines; with `chat` the server renders the messages. The key comes from the environment variable
    OPENAI_API_KEY.

    Args:
        name: of the model on the server.
        options: how the server is asked.
        max_new_tokens: longest answer.
        tokenizer: folder of the tokenizer, for `completions`.
        chat_template: used instead of the tokenizer's own.
        with_pieces: also give the tokens of each answer with their probabilities.

    Raises:
        UserError: the options lack a URL, or the tokenizer can't be loaded.
    """

    def __init__(
        self,
        name: str,
        options: ServerOptions,
        max_new_tokens: int = 256,
        tokenizer: Path | None = None,
        chat_template: str | None = None,
        with_pieces: bool = False,
    ):
        if not options.url:
            raise UserError("engine server needs `server_url`, such as http://localhost:8000/v1")
        if len(options.prices) != 2:
            raise UserError("`server_prices` takes two: of a million prompt tokens, and of a million answer tokens")
        self.name, self.options, self.tokenizer = name, options, None
        self.max_new_tokens, self.with_pieces = max_new_tokens, with_pieces
        if options.api == "completions":
            try:
                self.tokenizer = AutoTokenizer.from_pretrained(tokenizer)
            except (OSError, ValueError) as error:
                raise UserError(f"tokenizer of {name} can't be loaded: {error}") from None
            self.tokenizer.chat_template = chat_template or self.tokenizer.chat_template
        self.lock = threading.Lock()
        self.requests = self.prompt_tokens = self.answer_tokens = self.reserved = 0
        self.client = openai.OpenAI(
            base_url=options.url,
            # A server of one's own needs no key, but the client does.
            api_key=os.environ.get("OPENAI_API_KEY", "none"),
            max_retries=RETRIES,
            timeout=options.timeout,
            http_client=openai.DefaultHttpxClient(event_hooks={"request": [self._count]}),
        )

    def _count(self, request: object) -> None:
        """The client calls this before it sends anything, retries included."""
        with self.lock:
            if self.requests >= self.options.max_requests:
                raise _LimitReached(f"server_max_requests: {self.options.max_requests}")
            self.requests += 1

    def answer(self, requests: Sequence[R]) -> Iterator[tuple[R, Generation]]:
        """Answer each question on its own. Answers that arrived are yielded even if others fail.

        Raises:
            UserError: a limit is reached, or the server refuses or fails for good.
        """
        failure: BaseException | None = None
        with ThreadPoolExecutor(self.options.concurrency) as pool:
            asked: dict[Future[Generation], R] = {pool.submit(self._ask, r.messages, r.text): r for r in requests}
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
                    yield asked[future], answer
        if failure:
            raise self._explain(failure)

    def converse(self, requests: Sequence[R]) -> list[str]:
        """Ask all questions about one text one after the other in one conversation."""
        messages, answers = list(requests[0].opening), []
        for request in requests:
            messages.append(request.messages[-1])
            try:
                answers.append(self._ask(messages, request.text).text)
            except _LimitReached as error:
                raise self._explain(error) from None
            messages.append({"role": "assistant", "content": answers[-1]})
        return answers

    def _explain(self, error: BaseException) -> UserError:
        if isinstance(error, UserError):
            return error
        return UserError(f"stopped at `{error}`: raise it and run this again; answers so far are kept")

    def _ask(self, messages: list[Message], text: str) -> Generation:
        text_tokens = len(self.tokenizer(text).input_ids) if self.tokenizer else len(text.encode())
        budget = answer_budget(text_tokens, self.max_new_tokens)
        ids = prompt_ids(self.tokenizer, messages) if self.tokenizer else None
        # Without the model's tokenizer an upper bound: a token has at least a byte, and a message a few for its role.
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
                    return Generation(said, _pieces(choice.logprobs) if self.with_pieces else ())
        except openai.APIStatusError as error:
            raise UserError(f"{self._where()} refused ({error.status_code}): {redact(error.message)[:300]}") from None
        except openai.OpenAIError as error:
            raise UserError(f"{self._where()} can't be reached or broke off ({error}): run this again") from None
        except (AttributeError, TypeError, ValueError):
            pass  # a reply without the fields of an answer
        finally:
            self._reserve(-most)
            with self.lock:
                self.prompt_tokens += prompt
                self.answer_tokens += answered
        raise UserError(
            f"{self._where()} does not answer like an OpenAI-compatible server: check server_url and server_api"
        )

    def _reserve(self, tokens: int) -> None:
        with self.lock:
            self.reserved += tokens
            if tokens > 0 and self.prompt_tokens + self.answer_tokens + self.reserved > self.options.max_tokens:
                self.reserved -= tokens
                raise _LimitReached(f"server_max_tokens: {self.options.max_tokens}")

    def _send(self, messages: list[Message], ids: list[int] | None, budget: int):
        extra = {"structured_outputs": {"json": MENTIONS}} if self.options.json else {}
        common = {"model": self.name, "temperature": 0.0}
        if ids is None:
            common |= {"logprobs": True} if self.with_pieces else {}
            return self.client.chat.completions.create(
                messages=messages, max_completion_tokens=budget, extra_body=extra, **common
            )
        common |= {"logprobs": 0} if self.with_pieces else {}
        extra["stop_token_ids"] = [self.tokenizer.eos_token_id]  # the end of a turn, if the server knows another
        return self.client.completions.create(prompt=ids, max_tokens=budget, extra_body=extra, **common)

    def _where(self) -> str:
        return f"model {self.name} of {self.options.url}"

    @property
    def cost(self) -> str:
        """Requests and tokens so far, with their price if prices are given."""
        prompt, answer = self.options.prices
        price = (self.prompt_tokens * prompt + self.answer_tokens * answer) / 1e6
        return f"{self.requests} requests, {self.prompt_tokens} prompt tokens, {self.answer_tokens} answer tokens" + (
            f", cost {price:.4f}" if price else ""
        )


def _pieces(logprobs: object) -> tuple[Piece, ...]:
    """The tokens of an answer, from the log probabilities of either API; empty if the server sends none."""
    if content := getattr(logprobs, "content", None):
        return tuple((entry.token, entry.logprob) for entry in content)
    tokens, values = (getattr(logprobs, name, None) or () for name in ("tokens", "token_logprobs"))
    return tuple(zip(tokens, values, strict=False))
