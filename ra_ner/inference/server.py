"""Generation by an OpenAI-compatible server: vLLM, TGI, llama.cpp, or a vendor."""

import asyncio
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import openai

from ..errors import RequestError, UserError
from ..prompting.chat_template import load_tokenizer, prompt_ids
from ..redaction import redact
from .copying import copy_grammar, is_copied
from .engine import Generation, Piece, R, Request, ServerOptions, answer_budget

logger = logging.getLogger(__name__)

RETRIES = 6  # by the client: after 429, 5xx and cut connections, with growing pauses
ATTEMPTS = 3  # at getting a reply that holds an answer
TOO_SLOW = 2  # requests without a reply within `timeout`, after which a question is given up
ALL_EMPTY = 10  # first answers: if all are empty because the model thinks too long, no more are paid for
ROOM = "A reasoning model needs room to think: raise `server_thinking_tokens`"
OF_ONE_REQUEST = {400, 413, 422}  # statuses that another request may not have, for example because it is shorter
MENTIONS = {"type": "array", "items": {"type": "string"}}
OPTIONAL = ("temperature", "logprobs", "stop_token_ids")  # parameters that are left out where a server refuses them
EXTENSIONS = ("structured_outputs", "stop_token_ids")  # parameters of vLLM, which the client does not know


# Errors of the client's own kind: it passes them on, and does not take them for a failure of the connection.
class _LimitReached(openai.OpenAIError):
    """One more request would be more than the user allows."""


class _TooSlow(openai.OpenAIError):
    """The whole reply did not come within the time limit."""


class _Stopped(openai.OpenAIError):
    """Nothing more may be sent."""


class ServerEngine:
    """A model of a server, asked with several requests at a time.

    With the API `completions`, prompts are sent as the token ids that training rendered, so they are the same as in
    other engines; with `chat` the server renders the messages. The key comes from the environment variable
    OPENAI_API_KEY.

    Requests run in an event loop, in a thread of its own: they can be ended at any moment, by a time limit or a Ctrl-C.

    Args:
        name: of the model on the server.
        options: how the server is asked.
        max_new_tokens: longest answer.
        tokenizer: folder of the tokenizer, for `completions`.
        chat_template: used instead of the tokenizer's own.
        with_pieces: also give the tokens of each answer with their probabilities.
        copy_only: have a vLLM server constrain each answer to a JSON list of substrings of its text.

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
        copy_only: bool = False,
    ):
        if not options.url:
            raise UserError("engine server needs `server_url`, such as http://localhost:8000/v1")
        if len(options.prices) != 2:
            raise UserError("`server_prices` takes two: of a million prompt tokens, and of a million answer tokens")
        self.name, self.options, self.tokenizer = name, options, None
        self.max_new_tokens, self.with_pieces, self.copy_only = max_new_tokens, with_pieces, copy_only
        if options.api == "completions":
            self.tokenizer = load_tokenizer(tokenizer, chat_template)
        self.requests = self.prompt_tokens = self.answer_tokens = self.reserved = self.answers = 0
        self.estimated = False  # whether the server lacks counts of tokens
        self.faults: Counter[str] = Counter()  # of answers, in words
        self.left_out: set[str] = set()  # parameters that the server refuses
        self.failure: BaseException | None = None  # once it is set, nothing more is sent
        self.stopped = False
        self.workers: set[asyncio.Task] = set()
        self.sending: set[asyncio.Task] = set()  # workers with a request that was sent and not answered
        self.client = openai.AsyncOpenAI(
            base_url=options.url,
            # A server of one's own needs no key, but the client does.
            api_key=os.environ.get("OPENAI_API_KEY", "none"),
            max_retries=RETRIES,
            timeout=None,  # it would be for each read alone
            http_client=_HttpClient(self),
        )
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def answer(self, requests: Sequence[R]) -> Iterator[tuple[R, Generation]]:
        """Answer each question on its own. Answers that arrived are yielded even if others fail.

        Closing the generator cancels what is under way.

        Raises:
            RequestError: the server refuses one of the requests.
            UserError: a limit is reached, or the server fails for good.
        """
        if not self.stopped:
            self.failure = None
        arrived: SimpleQueue = SimpleQueue()
        asking = asyncio.run_coroutine_threadsafe(self._answer_all(requests, arrived.put), self.loop)
        asking.add_done_callback(lambda _: arrived.put(None))
        try:
            while answer := arrived.get():
                yield answer
        finally:
            asking.cancel()
        asking.result()
        if self.failure:
            raise self.failure

    def converse(self, requests: Sequence[R]) -> list[str]:
        """Ask all questions about one text one after the other in one conversation."""
        messages, answers = list(requests[0].opening), []
        for request in requests:
            messages.append(request.messages[-1])
            with closing(self.answer([Request(request.text, list(messages))])) as answered:
                answers += [answer.text for _, answer in answered]
            messages.append({"role": "assistant", "content": answers[-1]})
        return answers

    def stop(self, error: BaseException) -> None:
        """Send nothing more. Answers that are under way are still yielded, then `error` is raised.

        Can be called in a signal handler.
        """
        self.stopped, self.failure = True, error
        self.loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self.stopped and self.sending:
            logger.info(f"stopping: {len(self.sending)} answers are under way; press Ctrl-C again to drop them")
        for worker in self.workers - self.sending - {asyncio.current_task()}:
            worker.cancel()  # it waits before it sends again

    async def _answer_all(self, requests: Sequence[R], put: Callable[[tuple[R, Generation]], None]) -> None:
        waiting = iter(requests)

        async def work() -> None:
            while not self.failure and (request := next(waiting, None)):
                try:
                    put((request, await self._ask(request)))
                    self._check_answers()
                except Exception as error:
                    self.failure = self.failure or error
                    self._stop()

        workers = {asyncio.create_task(work()) for _ in range(min(self.options.concurrency, len(requests)))}
        self.workers |= workers
        try:
            await asyncio.gather(*workers, return_exceptions=True)
        finally:
            self.workers -= workers
            for worker in workers:
                worker.cancel()

    async def _ask(self, request: Request) -> Generation:
        ids = prompt_ids(self.tokenizer, request.messages) if self.tokenizer else None
        budget = answer_budget(self._count(request.text), self.max_new_tokens, request.lists_mentions)
        budget += self.options.thinking_tokens
        # Without the model's tokenizer an upper bound: a message has a few tokens for its role.
        prompt = len(ids) if ids else sum(self._count(message["content"]) + 16 for message in request.messages)
        slow = 0
        try:
            for _ in range(ATTEMPTS):
                try:
                    reply = await self._exchange(request, ids, prompt, budget)
                except _TooSlow:
                    slow += 1
                    if slow < TOO_SLOW:
                        continue
                    raise UserError(
                        f"{self._where} gave no whole answer within `server_timeout: {self.options.timeout:g}` "
                        "seconds, twice: raise it, or lower `server_concurrency`; answers so far are kept"
                    ) from None
                choice = reply.choices[0] if reply.choices else None
                said = choice and (choice.text if ids else choice.message and (choice.message.content or ""))
                if isinstance(said, str):
                    said = said.encode("utf-8", "replace").decode()  # half a surrogate pair can't be sent back
                    self._note(said, choice.finish_reason, budget)
                    if self.copy_only and choice.finish_reason != "length" and not is_copied(said, request.text):
                        raise UserError(
                            f"{self._where} answered with more than a list of substrings: it ignores the grammar of "
                            "`copy_only`, which needs vLLM; see docs/evaluation.md"
                        )
                    return Generation(said, _pieces(choice.logprobs) if self.with_pieces else ())
        except _LimitReached as error:
            raise UserError(f"stopped at `{error}`: raise it and run this again; answers so far are kept") from None
        except openai.APIStatusError as error:
            kind = RequestError if error.status_code in OF_ONE_REQUEST else UserError
            raise kind(f"{self._where} refused ({error.status_code}): {redact(error.message)[:300]}") from None
        except openai.OpenAIError as error:
            raise UserError(f"{self._where} can't be reached or broke off ({error}): run this again") from None
        except (AttributeError, TypeError, ValueError):
            pass  # a reply without the fields of an answer
        raise UserError(
            f"{self._where} does not answer like an OpenAI-compatible server: check server_url and server_api"
        )

    def _count(self, text: str) -> int:
        """The tokens of a text; without the model's tokenizer its bytes, because a token has at least one."""
        return len(self.tokenizer(text).input_ids) if self.tokenizer else len(text.encode("utf-8", "replace"))

    async def _exchange(self, request: Request, ids: list[int] | None, prompt: int, budget: int) -> Any:
        """Send a prompt and receive a reply within the limit of tokens, and count them."""
        if self.prompt_tokens + self.answer_tokens + self.reserved + prompt + budget > self.options.max_tokens:
            raise _LimitReached(f"server_max_tokens: {self.options.max_tokens}")
        self.reserved += prompt + budget
        try:
            reply = await self._send(request, ids, budget)
        except _TooSlow:
            self.prompt_tokens += prompt
            raise
        finally:
            self.reserved -= prompt + budget
        usage = reply.usage
        if not (usage and usage.prompt_tokens):
            self.estimated = True
            said = "".join(_texts(reply))
            self.prompt_tokens += prompt
            self.answer_tokens += min(budget, self._count(said))
        else:
            self.prompt_tokens += usage.prompt_tokens
            self.answer_tokens += usage.completion_tokens or 0
        return reply

    async def _send(self, request: Request, ids: list[int] | None, budget: int) -> Any:
        body: dict[str, Any] = {"model": self.name, "temperature": 0.0}
        if self.copy_only:
            body["structured_outputs"] = {"grammar": copy_grammar(request.text)}
        elif self.options.json:
            body["structured_outputs"] = {"json": MENTIONS}
        if ids is None:
            create = self.client.chat.completions.create
            body |= {"messages": request.messages, "max_completion_tokens": budget}
            body |= {"logprobs": True} if self.with_pieces else {}
        else:
            create = self.client.completions.create
            # The end of a turn, if the server knows another.
            body |= {"prompt": ids, "max_tokens": budget, "stop_token_ids": [self.tokenizer.eos_token_id]}
            body |= {"logprobs": 0} if self.with_pieces else {}
        while True:
            sent = {key: value for key, value in body.items() if key not in self.left_out}
            extra = {key: sent.pop(key) for key in EXTENSIONS if key in sent}
            try:
                return await create(**sent, extra_body=extra)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                named = [key for key in OPTIONAL if key in sent | extra and key in f"{error.param} {error.message}"]
                if not named:
                    raise
                if named[0] not in self.left_out:
                    self.left_out.add(named[0])
                    logger.info(f"{self._where} refuses the parameter {named[0]}; it is left out from here on")

    def _note(self, said: str, reason: str | None, budget: int) -> None:
        """Count an answer that is empty or cut off, and name the first of each kind."""
        self.answers += 1
        if said.strip() and reason != "length":
            return
        fault = f"{'cut off' if said.strip() else 'empty'} (finish_reason: {reason})"
        self.faults[fault] += 1
        if self.faults[fault] == 1 and not said.strip():
            hint = f": it spent its {budget} tokens before it answered. {ROOM}" if reason == "length" else ""
            logger.warning(f"{self._where}: an answer is {fault}{hint}")

    def _check_answers(self) -> None:
        if self.answers == self.faults["empty (finish_reason: length)"] == ALL_EMPTY:
            raise UserError(
                f"the first {ALL_EMPTY} answers of {self._where} are all empty (finish_reason: length): it spends its "
                f"tokens before it answers. {ROOM}"
            )

    @property
    def _where(self) -> str:
        return f"model {self.name} of {self.options.url}"

    @property
    def cost(self) -> str:
        """Requests and tokens so far, with their price if prices are given, and answers that are no whole ones."""
        prompt, answer = self.options.prices
        price = (self.prompt_tokens * prompt + self.answer_tokens * answer) / 1e6
        parts = [
            f"{self.requests} requests, {self.prompt_tokens} prompt tokens, {self.answer_tokens} answer tokens",
            *(["counted here, because the server does not"] if self.estimated else []),
            *([f"cost {price:.4f}"] if price else []),
            *(f"{count} answers {fault}" for fault, count in self.faults.items()),
        ]
        return ", ".join(parts)


class _HttpClient(openai.DefaultAsyncHttpxClient):
    """Counts what the engine sends, retries included, and limits the time of each reply as a whole."""

    def __init__(self, engine: ServerEngine):
        super().__init__()
        self.engine = engine

    async def send(self, *args: Any, **kwargs: Any) -> Any:
        engine, worker = self.engine, asyncio.current_task()
        if engine.failure:
            raise _Stopped
        if engine.requests >= engine.options.max_requests:
            raise _LimitReached(f"server_max_requests: {engine.options.max_requests}")
        engine.requests += 1
        engine.sending.add(worker)
        try:
            async with asyncio.timeout(engine.options.timeout):
                response = await super().send(*args, **kwargs)
        except TimeoutError:
            raise _TooSlow from None
        finally:
            engine.sending.discard(worker)
        if engine.failure and response.is_error:
            raise _Stopped  # the client would wait before it tries again
        return response


def _texts(reply: Any) -> Iterator[str]:
    """All text that a reply holds, what the model thinks included."""
    for choice in reply.choices or ():
        message = getattr(choice, "message", None)
        for text in (
            getattr(choice, "text", None),
            getattr(message, "content", None),
            getattr(message, "reasoning_content", None),
            getattr(message, "reasoning", None),
        ):
            if isinstance(text, str):
                yield text


def _pieces(logprobs: object) -> tuple[Piece, ...]:
    """The tokens of an answer, from the log probabilities of either API; empty if the server sends none."""
    if content := getattr(logprobs, "content", None):
        return tuple((entry.token, entry.logprob) for entry in content)
    tokens, values = (getattr(logprobs, name, None) or () for name in ("tokens", "token_logprobs"))
    return tuple(zip(tokens, values, strict=False))
