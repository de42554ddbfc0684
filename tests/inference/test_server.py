"""The server engine against a server of the OpenAI API that misbehaves."""

import errno
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import byte_level_tokenizer, run_command
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer

from ra_ner.errors import UserError
from ra_ner.inference.engine import Request, ServerOptions
from ra_ner.inference.server import ServerEngine
from ra_ner.prompting.answers import parse_answer
from ra_ner.prompting.chat_template import prompt_ids
from ra_ner.prompting.conversation import WORDINGS, query

RECIPE = "recipes/quickstart.yaml"


class FakeServer(ThreadingHTTPServer):
    """Answers each prompt by a list that holds a digest of it. `faults` are played first, one a request.

    Attributes:
        delay: seconds before each reply but a refusal of the key.
        refuses: parameters that end in status 400.
        counts: whether replies have the counts of tokens.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[object] = []
        self.delay, self.refuses, self.counts = 0.02, (), True
        self.asked, self.answered, self.at_once, self.most_at_once = Counter(), Counter(), 0, 0
        self.bodies: list[dict] = []
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = json.dumps(body.get("prompt") or body["messages"])
        with server.lock:
            server.bodies.append({**body, "path": self.path, "key": self.headers["Authorization"]})
            server.asked[prompt] += 1
            fault = server.faults.pop(0) if server.faults else None
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        time.sleep(0 if fault == 401 else server.delay)
        with server.lock:
            server.at_once -= 1
        if fault == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "never":
            self.rfile.read(1)  # until the client hangs up
        elif fault in ("drip", "drip header"):
            self.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n" + b"\r\n" * (fault == "drip"))
        elif refused := [name for name in server.refuses if name in body]:
            self.reply(400, {"error": {"message": f"Unsupported value: '{refused[0]}'", "param": refused[0]}})
        elif isinstance(fault, int):
            self.reply(fault, {"error": {"message": "on purpose"}}, {"Retry-After": "0.01", "Location": self.path})
        elif fault is not None:
            self.reply(200, fault)
        else:
            with server.lock:
                server.answered[prompt] += 1
            said = f'["{sum(prompt.encode())}"]'
            choice = {"text": said} if "prompt" in body else {"message": {"role": "assistant", "content": said}}
            usage = {"usage": {"prompt_tokens": 100, "completion_tokens": 3}} if server.counts else {}
            self.reply(200, {"choices": [choice], **usage})

    def drip(self, start):
        """A reply that comes byte by byte, without an end."""
        try:
            self.wfile.write(start)
            while True:
                self.wfile.write(b"x")
                time.sleep(0.02)
        except OSError:  # the client has hung up
            pass

    def reply(self, status, content, headers=()):
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    fake = FakeServer()
    yield fake
    fake.shutdown()
    fake.server_close()


def ask_for(types=("city", "river", "lake"), text="The Rhine flows past Basel.") -> list[Request]:
    """A request for each type."""
    return [Request(text, query(text, type_, [], WORDINGS["ra_it", "en"])) for type_ in types]


SEVERAL = [request for i in range(8) for request in ask_for(text=f"Text {i} of several.")]


def engine(server, models, max_new_tokens=256, with_pieces=False, copy_only=False, **options):
    options = ServerOptions(server.url, **options)
    return ServerEngine("served", options, max_new_tokens, models / "lm", with_pieces=with_pieces, copy_only=copy_only)


def test_prompts_are_the_token_ids_that_training_renders(server, models):
    asked = ask_for()
    made = engine(server, models, max_new_tokens=50)
    answers = list(made.answer(asked))
    assert {id(request) for request, _ in answers} == {id(request) for request in asked}
    sent = sorted(body["prompt"] for body in server.bodies)
    assert sent == sorted(prompt_ids(made.tokenizer, request.messages) for request in asked)
    body = server.bodies[0]
    assert (body["model"], body["path"], body["temperature"], body["max_tokens"]) == (
        "served",
        "/v1/completions",
        0,
        50,
    )
    assert body["stop_token_ids"] == [made.tokenizer.eos_token_id] and "structured_outputs" not in body


def test_a_vendor_gets_messages_and_the_key(server, models):
    asked = ask_for()
    assert len(list(engine(server, models, api="chat").answer(asked))) == 3
    assert server.bodies[0]["path"] == "/v1/chat/completions" and server.bodies[0]["key"] == "Bearer sk-secret"
    assert sorted(body["messages"][-1]["content"] for body in server.bodies) == sorted(
        request.messages[-1]["content"] for request in asked
    )


def test_lists_can_be_enforced(server, models):
    list(engine(server, models, json=True).answer(ask_for()))
    assert server.bodies[0]["structured_outputs"]["json"]["type"] == "array"


def test_copying_can_be_enforced_and_a_server_that_ignores_it_is_named(server, models):
    text = 'He met "Bo" in Basel.\n'
    server.faults = [{"choices": [{"text": '["Basel", "met \\"Bo"]'}]}]
    asked = ask_for(["city"], text)
    ((_, answer),) = engine(server, models, json=True, copy_only=True).answer(asked)
    assert parse_answer(answer.text).mentions == ("Basel", 'met "Bo')
    constraint = server.bodies[0]["structured_outputs"]
    assert list(constraint) == ["grammar"]
    state = LLMatcher(from_tokenizer(byte_level_tokenizer()), constraint["grammar"])
    assert state.consume_tokens(byte_level_tokenizer()(answer.text).input_ids) and state.is_stopped()
    with pytest.raises(UserError, match="ignores the grammar of `copy_only`, which needs vLLM"):
        list(engine(server, models, copy_only=True).answer(asked))


def test_a_conversation_carries_its_answers(server, models):
    answers = engine(server, models, api="chat").converse(ask_for())
    assert [len(body["messages"]) for body in server.bodies] == [3, 5, 7]
    assert [message["content"] for message in server.bodies[-1]["messages"][3::2]] == answers[:2]


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_conversation_goes_on_after_half_a_surrogate_pair(server, models, api):
    said = '["\ud83d"]'
    choice = {"text": said} if api == "completions" else {"message": {"role": "assistant", "content": said}}
    server.faults = [{"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}]
    answers = engine(server, models, api=api).converse(ask_for())
    assert answers[0] == '["?"]' and len(answers) == 3


def test_failures_on_the_way_are_retried_and_nothing_answered_is_asked_twice(server, models):
    server.faults = [429, 500, "cut", "never", {"nonsense": True}, {"choices": []}, 503]
    answers = list(engine(server, models, concurrency=4, timeout=2).answer(SEVERAL))
    assert len({id(request) for request, _ in answers}) == len(answers) == 24
    assert set(server.answered.values()) == {1} and sum(server.asked.values()) == 24 + 7
    assert 1 < server.most_at_once <= 4


def test_the_limits_are_kept_and_what_was_answered_is_given(server, models):
    made, answers = engine(server, models, max_requests=10, concurrency=3), []
    with pytest.raises(UserError, match=r"stopped at `server_max_requests: 10`: raise it and run this again"):
        for answer in made.answer(SEVERAL):
            answers.append(answer)
    assert sum(server.asked.values()) == sum(server.answered.values()) == len(answers) == 10


def test_tokens_are_limited_before_they_are_sent(server, models):
    made = engine(server, models, max_tokens=1500, concurrency=2)
    answers = []
    with pytest.raises(UserError, match="stopped at `server_max_tokens: 1500`"):
        for answer in made.answer(SEVERAL):
            answers.append(answer)
    assert len(answers) == sum(server.answered.values()) > 0
    assert made.prompt_tokens + made.answer_tokens == 103 * len(answers) <= 1500


def test_tokens_are_counted_here_if_the_server_does_not(server, models):
    server.counts = False
    made, answers = engine(server, models, max_tokens=3000, concurrency=1), []
    with pytest.raises(UserError, match="stopped at `server_max_tokens: 3000`"):
        for answer in made.answer(SEVERAL):
            answers.append(answer)
    prompts = sum(len(body["prompt"]) for body in server.bodies)
    assert made.prompt_tokens == prompts and 0 < len(answers) < 24
    assert made.answer_tokens == sum(len(made.tokenizer(answer.text).input_ids) for _, answer in answers)
    assert prompts + made.answer_tokens <= 3000 and "counted here, because the server does not" in made.cost
    vendor = engine(server, models, api="chat", max_tokens=3000, concurrency=1)
    with pytest.raises(UserError, match="stopped at `server_max_tokens: 3000`"):
        list(vendor.answer(SEVERAL))
    assert 0 < vendor.prompt_tokens + vendor.answer_tokens <= 3000, "an upper bound: bytes"


def test_the_cost(server, models):
    made = engine(server, models, prices=(2.0, 8.0))
    list(made.answer(ask_for()))
    assert made.cost == f"3 requests, 300 prompt tokens, 9 answer tokens, cost {(300 * 2 + 9 * 8) / 1e6:.4f}"


def test_a_server_that_refuses_or_is_not_there(server, models):
    server.faults = [401] * 3
    with pytest.raises(UserError, match=r"model served of http.* refused \(401\): .*on purpose") as error:
        list(engine(server, models).answer(ask_for()))
    assert "sk-secret" not in str(error.value)
    server.faults = [{"nonsense": True}] * 9
    with pytest.raises(UserError, match="does not answer like an OpenAI-compatible server: check server_url"):
        list(engine(server, models).answer(ask_for()))
    with pytest.raises(UserError, match="engine server needs `server_url`"):
        ServerEngine("served", ServerOptions(None))
    with pytest.raises(UserError, match="`server_prices` takes two"):
        engine(server, models, prices=(1.0,))


def reply(content: str | None, reason: str, **message) -> dict:
    message = {"role": "assistant", "content": content, **message}
    return {"choices": [{"index": 0, "finish_reason": reason, "message": message}]}


def test_a_reasoning_model_gets_room_to_think(server, models):
    list(engine(server, models, max_new_tokens=50, thinking_tokens=1000).answer(ask_for()))
    list(engine(server, models, max_new_tokens=50, thinking_tokens=1000, api="chat").answer(ask_for()))
    assert [body.get("max_tokens") or body["max_completion_tokens"] for body in server.bodies] == [1050] * 6


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_an_answer_without_content_is_named_and_is_no_failure(server, models, content, capsys):
    server.faults = [reply(content, "length", reasoning_content="The rivers are"), reply(content, "content_filter")]
    made = engine(server, models, api="chat", max_new_tokens=50, concurrency=1)
    answers = [answer.text.strip() for _, answer in made.answer(ask_for())]
    assert answers[:2] == ["", ""] and answers[2].startswith('["') and len(server.bodies) == 3
    said = capsys.readouterr().out
    assert "an answer is empty (finish_reason: length): it spent its 50 tokens before it answered" in said
    assert "raise `server_thinking_tokens`" in said and "an answer is empty (finish_reason: content_filter)" in said
    assert "1 answers empty (finish_reason: length)" in made.cost


def test_a_model_that_never_comes_to_an_answer_is_not_paid_for_long(server, models):
    server.faults = [reply(None, "length")] * 24
    made, answers = engine(server, models, api="chat", concurrency=3), []
    with pytest.raises(UserError, match=r"first 10 answers of model served .* empty \(finish_reason: length\)"):
        answers.extend(made.answer(SEVERAL))
    assert 10 <= len(answers) == len(server.bodies) <= 12


def test_an_answer_that_is_cut_off_is_counted(server, models):
    server.faults = [reply('["Rhi', "length")]
    made = engine(server, models, api="chat")
    list(made.answer(ask_for()))
    assert made.cost.endswith(", 1 answers cut off (finish_reason: length)")


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_parameters_that_a_server_refuses_are_left_out_and_named_once(server, models, api, capsys):
    server.refuses = ("temperature", "logprobs")
    made = engine(server, models, api=api, with_pieces=True, concurrency=2)
    assert len(list(made.answer(SEVERAL))) == 24
    said = capsys.readouterr().out
    assert said.count("refuses the parameter temperature; it is left out") == said.count("the parameter logprobs") == 1
    assert len(server.bodies) <= 24 + 2 * 2 and not {"temperature", "logprobs"} & server.bodies[-1].keys()
    server.refuses = ("model",)  # can't be left out
    with pytest.raises(UserError, match=r"refused \(400\): .*Unsupported value: 'model'"):
        list(made.answer(ask_for()))


@pytest.mark.parametrize("fault", ["drip", "drip header", "never"])
def test_no_answer_outlives_the_time_limit_by_coming_slowly(server, models, fault):
    server.faults, begun = [fault] * 99, time.monotonic()
    with pytest.raises(UserError, match="gave no whole answer within `server_timeout: 0.4` seconds, twice"):
        list(engine(server, models, timeout=0.4).answer(ask_for()))
    assert time.monotonic() - begun < 10 and len(server.bodies) <= 6


def test_after_a_failure_nothing_more_is_sent_and_what_is_under_way_arrives(server, models):
    server.faults = [401, None, None, 503]
    server.delay, answers = 0.5, []
    with pytest.raises(UserError, match=r"refused \(401\)"):
        answers.extend(engine(server, models, concurrency=4).answer(SEVERAL))
    sent = sum(server.asked.values())
    time.sleep(0.5)
    assert sum(server.asked.values()) == sent <= 8 and set(server.asked.values()) == {1}, "the 503 was not repeated"
    assert len(answers) == sum(server.answered.values()) == sent - 2


def test_a_consumer_that_fails_ends_the_sending(server, models):
    server.delay = 0.1
    answers = engine(server, models, concurrency=4).answer(SEVERAL)
    next(answers)
    answers.close()
    sent = len(server.bodies)
    time.sleep(0.5)
    assert len(server.bodies) == sent <= 8


def press_ctrl_c(server, asked: int, times: int = 1) -> None:
    """Press Ctrl-C as soon as the server was asked so often."""

    def press() -> None:
        while len(server.bodies) < asked:
            time.sleep(0.01)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)

    threading.Thread(target=press, daemon=True).start()


def by_server(server, folder, *more) -> list:
    args = [RECIPE, "--settings", "zero_shot", "--models", "base", "--output_dir", folder, "--engine", "server"]
    return [*args, "--server_url", server.url, "--server_concurrency", 4, *more]


def test_ctrl_c_keeps_the_answers_under_way_and_sends_no_more(here, tmp_path, server, capsys):
    args, before = by_server(server, tmp_path), signal.getsignal(signal.SIGINT)  # ignored by jobs in the background
    server.delay = 0.3
    press_ctrl_c(server, asked=6)
    with pytest.raises(KeyboardInterrupt):
        run_command("evaluate", *args)
    kept = (tmp_path / "answers.jsonl").read_text().splitlines()
    assert 6 <= len(kept) <= 8
    time.sleep(0.5)
    assert len(kept) == sum(server.answered.values()) == sum(server.asked.values())
    assert "answers are under way; press Ctrl-C again to drop them" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before
    server.delay = 0
    run_command("evaluate", *args)
    assert set(server.answered.values()) == {1}


def test_a_second_ctrl_c_ends_at_once(here, tmp_path, server):
    server.faults = ["drip"] * 99
    press_ctrl_c(server, asked=4, times=2)
    with pytest.raises(KeyboardInterrupt):
        run_command("evaluate", *by_server(server, tmp_path))
    assert sum(server.asked.values()) == 4


def test_a_full_disk_ends_the_sending(here, tmp_path, server, monkeypatch):
    def add(self, key, answer):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ra_ner.evaluation.journal.Journal.add", add)
    server.delay = 0.1
    with pytest.raises(OSError, match="No space left"):
        run_command("evaluate", *by_server(server, tmp_path))
    sent = len(server.bodies)
    time.sleep(0.5)
    assert len(server.bodies) == sent <= 8


def test_an_evaluation_by_a_server_is_resumed_where_it_stopped(here, tmp_path, server, capsys):
    args = [RECIPE, "--settings", "zero_shot", "--models", "base", "adapter", "--server_models", "smol", "ra"]
    args += ["--engine", "server", "--server_url", server.url, "--output_dir", tmp_path]
    with pytest.raises(UserError, match="server_max_requests: 7"):
        run_command("evaluate", *args, "--server_max_requests", "7")
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == sum(server.answered.values()) == 7
    run_command("evaluate", *args)
    assert set(server.answered.values()) == {2}, "each prompt once by either model"
    assert {body["model"] for body in server.bodies} == {"smol", "ra"}
    said = capsys.readouterr()
    assert "prompt tokens" in said.out and "sk-secret" not in said.out + said.err
    with pytest.raises(UserError, match="`server_models` needs one name for each of `models`"):
        run_command("evaluate", *args, "--server_models", "smol")


def test_what_was_reserved_for_an_answer_is_free_again_when_it_has_come(server, models):
    made = engine(server, models, max_new_tokens=50, max_tokens=103 * len(SEVERAL) + 1000, concurrency=1)
    assert len(list(made.answer(SEVERAL))) == len(SEVERAL) and made.reserved == 0


def test_redirects_without_end_are_one_line(server, models, monkeypatch):
    monkeypatch.setattr("ra_ner.inference.server.RETRIES", 1)
    server.faults, server.delay = [307] * 9999, 0
    with pytest.raises(UserError, match=r"model served of http"):
        list(engine(server, models).answer(ask_for()))
    assert len(server.bodies) < 500
