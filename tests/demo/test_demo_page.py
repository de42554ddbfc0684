"""The demo as it is served: its page in a browser, its API, and what happens when many ask at once."""

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

pytest.importorskip("gradio", reason="Gradio is not installed: pip install '.[demo]'")

from browser import chromium, serious_faults  # noqa: F401 - one is a fixture
from conftest import REPO
from gradio_client import Client
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from test_extractor import make  # noqa: F401 - a fixture

from ra_ner import cli
from ra_ner.demo.answers import Demo
from ra_ner.demo.page import SERVED, WAITING, make_page

DOCS = (REPO / "docs" / "demo.md").read_text(encoding="utf-8")
ADA = "Ada met Bob in Rome."


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def served(make):  # noqa: F811
    """The demo of a scripted engine: its address, and its extractor."""
    extractor = make({"person": ["Ada", "Bob"], "city": ["Rome"]}, fails_on="bad")
    page = make_page(Demo(extractor))
    page.launch(server_name="127.0.0.1", server_port=free_port(), quiet=True, prevent_thread_lock=True, **SERVED)
    yield page.local_url.rstrip("/"), extractor
    page.close()


def ask(url: str, **request: object) -> tuple[str, object]:
    """Ask the API as `curl` does. Returns the kind of the last event, and its data."""
    body = {"types": ["person"], **request}
    sent = httpx.post(f"{url}/gradio_api/call/v2/extract", json=body, timeout=60)
    if sent.status_code != 200:
        return "refused", sent.json()
    stream = httpx.get(f"{url}/gradio_api/call/extract/{sent.json()['event_id']}", timeout=60).text
    kind, data = re.findall(r"event: (\w+)\ndata: (.*)", stream)[-1]
    return kind, json.loads(data)


def test_the_lines_of_the_docs_run(served):
    url, _ = served
    names: dict = {}
    (python,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    exec(python.replace("http://127.0.0.1:7860", url), names)
    assert names["people"] == ["Ada", "Bob"]
    assert names["found"]["in_context"] is None
    if shutil.which("curl"):
        (lines,) = re.findall(r"```bash\n(.*?)```", DOCS, re.DOTALL)
        done = subprocess.run(lines.replace("http://127.0.0.1:7860", url), shell=True, capture_output=True, text=True)
        (found,) = json.loads(done.stdout.split("data: ")[1])
        assert [entity["text"] for entity in found["zero_shot"]["entities"]] == ["Ada", "Bob", "Rome"]


def test_the_api_says_what_it_takes(served):
    url, _ = served
    (endpoint,) = Client(url, verbose=False).view_api(return_format="dict")["named_endpoints"].items()
    assert endpoint[0] == "/extract"
    assert [each["parameter_name"] for each in endpoint[1]["parameters"]] == ["text", "types", "examples", "threshold"]


def test_a_bad_request_fails_alone(served):
    url, _ = served
    requests = [{"text": ADA}, {"text": "bad"}, {"text": ""}, {"text": ADA, "types": 7}, {"text": ADA}]
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda request: ask(url, **request), requests))
    assert [kind for kind, _ in answers] == ["complete", "error", "error", "error", "complete"]
    assert [data["error"].split(";")[0] for _, data in answers[1:3]] == ["does not fit", "give a text"]


def test_many_at_once_lose_nothing_and_one_too_many_is_told(served):
    url, extractor = served
    gate, answer, asking, most = threading.Event(), extractor.engine.answer, [], []

    def wait(requests):
        asking.append(requests)
        assert gate.wait(60)
        most.append(len(asking))
        asking.remove(requests)
        return answer(requests)

    extractor.engine.answer = wait
    texts = [f"Ada is number {i}." for i in range(1 + WAITING)]
    with ThreadPoolExecutor(len(texts)) as pool:
        first = pool.submit(ask, url, text=texts[0])
        time.sleep(1)  # until it has left the queue
        others = [pool.submit(ask, url, text=text) for text in texts[1:]]
        time.sleep(3)
        one_too_many = ask(url, text=ADA)
        gate.set()
        answers = [future.result() for future in (first, *others)]
    assert [(kind, data[0]["zero_shot"]["text"]) for kind, data in answers] == [("complete", text) for text in texts]
    assert max(most) == 1, "one at a time"
    assert one_too_many[0] == "refused" and "Queue is full. Max size is 64" in str(one_too_many[1])


def test_the_page(served, chromium):  # noqa: F811
    url, _ = served
    chromium.get(url)
    wait = WebDriverWait(chromium, 20)

    def box(placeholder):
        return wait.until(lambda b: b.find_element(By.CSS_SELECTOR, f"textarea[placeholder^='{placeholder}']"))

    def click():
        (button,) = [b for b in chromium.find_elements(By.TAG_NAME, "button") if b.text == "Find entities"]
        button.click()

    box("Ada").send_keys("Ada met Bob in Rome <img src=x onerror=alert(1)>.")
    box("person").send_keys(":<img src=x onerror=alert(1)>")
    click()
    wait.until(lambda b: "names no type" in b.find_element(By.TAG_NAME, "body").text)
    box("person").clear()
    box("person").send_keys("person: someone")
    box("{").send_keys('{"id": "1", "text": "Carl left.", "entities": [{"text": "Carl", "type": "person"}]}')
    click()
    wait.until(lambda b: b.find_element(By.TAG_NAME, "body").text.count("Bob") == 2)
    assert "<img src=x onerror=alert(1)>" in chromium.find_element(By.TAG_NAME, "body").text
    assert not chromium.find_elements(By.CSS_SELECTOR, "img[src=x]")
    sent = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert not [u for u in urls if not u.startswith((url, "data:", "blob:", "file:"))], "nothing from elsewhere"


def test_the_page_has_no_serious_fault_of_accessibility(served, chromium):  # noqa: F811
    url, _ = served
    chromium.get(url)
    WebDriverWait(chromium, 30).until(lambda browser: browser.find_elements(By.TAG_NAME, "textarea"))
    # An empty HighlightedText of Gradio 6.31 has a label that no screen reader reads; nothing is lost by it.
    assert [fault for fault in serious_faults(chromium) if 'aria-label="Empty value"' not in fault] == []


def test_the_command_says_what_is_missing(monkeypatch, models, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit):
            cli.run("demo", ["--model", str(models / "lm"), "--port", port])
    assert f"port {port} can't be used" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.run("demo", ["--model", str(models / "lm"), "--port", "99999"])
    assert "port 99999 can't be used" in capsys.readouterr().err
    for module in [name for name in sys.modules if name.startswith("ra_ner.demo.page")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SystemExit):
        cli.run("demo", ["--model", str(models / "lm")])
    assert "pip install '.[demo]'" in capsys.readouterr().err
