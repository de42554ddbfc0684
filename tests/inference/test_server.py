"""The server engine against a server of the OpenAI API that misbehaves."""

import json
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import run_command

from ra_ner.errors import UserError
from ra_ner.inference.engine import Request, ServerOptions
from ra_ner.inference.server import ServerEngine
from ra_ner.prompting.chat_template import prompt_ids
from ra_ner.prompting.conversation import WORDINGS, query

RECIPE = "recipes/quickstart.yaml"


class FakeServer(ThreadingHTTPServer):
    """Answers each prompt by a list that holds a digest of it. `faults` are played first, one a request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[object] = []
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
        time.sleep(0.02)
        with server.lock:
            server.at_once -= 1
        if fault == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "never":
            self.rfile.read(1)  # until the client hangs up
        elif isinstance(fault, int):
            self.reply(fault, {"error": {"message": "on purpose"}}, {"Retry-After": "0.01"})
        elif fault is not None:
            self.reply(200, fault)
        else:
            with server.lock:
                server.answered[prompt] += 1
            said = f'["{sum(prompt.encode())}"]'
            choice = {"text": said} if "prompt" in body else {"message": {"role": "assistant", "content": said}}
            self.reply(200, {"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 3}})

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


def engine(server, models, max_new_tokens=256, with_pieces=False, **options):
    options = ServerOptions(server.url, **options)
    return ServerEngine("served", options, max_new_tokens, models / "lm", with_pieces=with_pieces)


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


def test_a_conversation_carries_its_answers(server, models):
    answers = engine(server, models, api="chat").converse(ask_for())
    assert [len(body["messages"]) for body in server.bodies] == [3, 5, 7]
    assert [message["content"] for message in server.bodies[-1]["messages"][3::2]] == answers[:2]


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
