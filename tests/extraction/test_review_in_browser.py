"""The review page in a real browser: offline, by its controls and keys, printed, with hostile and with many texts."""

import base64
import io
import random
import time

import pytest
from browser import chromium, offline, serious_faults  # noqa: F401 - two are fixtures
from conftest import passage
from pypdf import PdfReader
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait
from test_outputs import result
from test_review import OTHERS

from ra_ner.extraction.review import write_review

USED = [{"id": "near", "score": 0.8312, "window": 0}]
LONG = "The train stops in Basel. " * 40


def row(text: str, *entities: tuple[str, str], **further: object) -> dict:
    return result(text, *entities, **{**OTHERS, "windows": [[0, len(text)]], **further})


ROWS = [
    row("The New York Times left Rome.", ("New York Times", "paper"), ("New York", "city"), ("Rome", "city"), id="a"),
    row("Go 🙂🙂 to alpha beta gamma.", ("alpha beta", "one"), ("beta gamma", "two"), examples_used=USED),
    row("Ada.", unaligned=[{"text": "Zurich", "type": "city"}], copied=[{"text": "Bob", "type": "person"}]),
    row(LONG, ("Basel", "city"), windows=[[0, 500], [450, 900], [800, len(LONG)]]),
    row("", error="no text in field `text`"),
    *(row(f"Text {i} about Rome.", ("Rome", "city")) for i in range(6, 46)),
]
ROWS[0]["entities"][0]["score"] = 0.3
POOL = [passage("Bob left Bern.", ("Bob", "person"), ("Bern", "city"), id="near")]


class ReviewPage:
    """The page as its reader uses it."""

    def __init__(self, browser, file):
        self.browser = browser
        browser.get(file.as_uri())

    def find(self, selector: str) -> list:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def wait_for(self, selector: str):
        return WebDriverWait(self.browser, 5).until(lambda _: self.one(selector), selector)

    def texts(self, selector: str) -> list[str]:
        """What elements hold, seen or not."""
        return [element.get_property("textContent") for element in self.find(selector)]

    def press(self, keys: str) -> None:
        self.one("body").send_keys(keys)

    def slide(self, score: float) -> None:
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
        self.browser.execute_script(script, self.one("#score"), score)

    @property
    def current(self) -> str:
        (name,) = self.texts("[aria-current] h2 bdi")
        return name

    @property
    def count(self) -> str:
        return self.one("#count").text


@pytest.fixture
def open_page(offline, tmp_path):  # noqa: F811
    def open_page(rows, pool=(), facts=(), name="review") -> ReviewPage:
        write_review(rows, tmp_path / f"{name}.html", pool, dict(facts))
        return ReviewPage(offline, tmp_path / f"{name}.html")

    return open_page


@pytest.fixture
def page(open_page) -> ReviewPage:
    return open_page(ROWS, POOL, {"model": "mine"})


def test_nothing_but_the_page_is_loaded(page):
    sent = [
        entry["message"] for entry in page.browser.get_log("performance") if 'requestWillBeSent"' in entry["message"]
    ]
    assert len(sent) == 1 and "review.html" in sent[0]


def test_mentions_are_highlighted_nested_and_crossing(page):
    nested, crossing = page.find(".passage")[:2]
    outer, inner, _ = nested.find_elements(By.TAG_NAME, "mark")
    assert inner in outer.find_elements(By.TAG_NAME, "mark")
    assert outer.get_attribute("title") == "paper, score 0.30, characters 4 to 18"
    assert outer.value_of_css_property("background-color") != inner.value_of_css_property("background-color")
    marks = [mark.get_property("textContent") for mark in crossing.find_elements(By.TAG_NAME, "mark")]
    assert marks == ["alpha betaone", "beta", " gammatwo"], "behind two characters that JavaScript counts double"


def test_a_label_is_shown_instead_of_the_type_that_filters(open_page):
    rows = [row("Ada left Rome.", ("Ada", "found"), ("Rome", "missed"))]
    rows[0]["entities"][1] |= {"label": "city: missed", "score": None}
    page = open_page(rows)
    page.slide(0.95)
    assert page.texts("mark") == ["Romecity: missed"], "without a score it is always shown"
    assert page.texts("#types bdi") == ["found", "missed"]


def test_any_mentions_leave_the_text_whole(open_page):
    chance = random.Random(0)
    rows = []
    for i in range(20):
        text = "".join(chance.choices("ab 🙂中\u202e", k=30))
        rows.append({**row(text), "windows": [[0, 12], [9, 20], [15, 30]]})
        for _ in range(i):
            start, end = sorted(chance.sample(range(31), 2))
            rows[-1]["entities"].append(
                {"text": text[start:end], "type": "T", "start": start, "end": end, "score": 0.5}
            )
    page = open_page(rows)
    for searched in ("", "a", "b "):
        page.one("#search").clear()
        page.one("#search").send_keys(searched)
        page.browser.execute_script("document.querySelectorAll('.type, .border').forEach((e) => e.remove())")
        assert len(page.find(".card")) == 20 or searched
        shown = {int(c.get_attribute("data-row")): c for c in page.find(".card")}
        for i, card in shown.items():
            passage = card.find_element(By.CSS_SELECTOR, ".passage").get_property("textContent")
            assert passage == rows[i]["text"].replace("\u202e", "")
            hits = [hit.get_property("textContent") for hit in card.find_elements(By.CSS_SELECTOR, ".hit")]
            assert "".join(hits) == searched * rows[i]["text"].count(searched) or not searched


def test_types_and_scores_filter(page):
    assert page.texts("#types bdi")[0] == "city" and page.texts("#types small")[0] == "43"
    page.slide(0.5)
    assert page.one("#least").text == "0.50" and page.texts("mark")[:2] == ["New Yorkcity", "Romecity"]
    page.find("#types input")[0].click()
    Select(page.one("#which")).select_by_value("found")
    assert page.count == "of 1 (45 in all)" and page.current == "text 2"
    page.one("#no_types").click()
    assert page.count == "No text fits (45 in all)" and page.find(".card") == []
    page.one("#all_types").click()
    assert page.count == "of 43 (45 in all)"
    selected = {}
    for which in ("all", "empty", "apart", "failed", "long"):
        Select(page.one("#which")).select_by_value(which)
        selected[which] = page.texts("h2 bdi")[:1], page.count
    assert selected == {
        "all": (["a"], "of 45"),
        "empty": (["text 3"], "of 1 (45 in all)"),
        "apart": (["text 3"], "of 1 (45 in all)"),
        "failed": (["text 5"], "of 1 (45 in all)"),
        "long": (["text 4"], "of 1 (45 in all)"),
    }


def test_next_previous_and_search_by_keys(page):
    page.press("jjk")
    assert page.current == "text 2" and page.one("#at").get_property("value") == "2"
    page.press("/")
    page.browser.switch_to.active_element.send_keys("ABOUT rome")
    assert page.count == "of 40 (45 in all)" and page.texts(".hit")[:2] == ["about ", "Rome"], "across a border"
    page.one("#at").send_keys(Keys.BACKSPACE, "39", Keys.ENTER)
    assert page.current == "text 44"
    page.one("#next").click()
    assert page.current == "text 45" and not page.one("#next").is_enabled()
    page.one("#previous").click()
    page.one("#search").clear()
    page.one("#search").send_keys("(")
    assert page.count == "No text fits (45 in all)"


def test_every_control_is_reached_by_the_tab_key(page):
    reached = set()
    for _ in range(30):
        page.browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(page.browser.switch_to.active_element.get_attribute("id"))
    assert {"search", "which", "score", "all_types", "no_types", "theme", "at", "next"} <= reached


def test_examples_windows_and_mentions_that_are_not_in_the_text(page):
    page.one("[data-row='1'] details:last-of-type summary").click()
    example = page.wait_for("[data-row='1'] .example")
    assert "near score 0.8312" in example.text and len(example.find_elements(By.TAG_NAME, "mark")) == 2
    assert page.texts(".apart") == ["Not in the text: Zurich (city)", "Copied from an example: Bob (person)"]
    assert page.texts("[data-row='3'] .border") == [
        "window 2 starts",
        "window 1 ends",
        "window 3 starts",
        "window 2 ends",
    ]
    page.one("[data-row='0'] summary").click()
    assert "paper New York Times 0.30 4 18" in page.wait_for("[data-row='0'] table").text


def test_dark_light_and_accessible(page):
    for theme, is_dark in (("light", False), ("dark", True)):
        Select(page.one("#theme")).select_by_visible_text(theme)
        color = page.browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, color[4:-1].split(","))) < 200) == is_dark
        page.browser.execute_script("document.querySelectorAll('details').forEach((part) => (part.open = true))")
        assert serious_faults(page.browser) == []


def test_the_printed_page_has_all_texts_open(page):
    Select(page.one("#theme")).select_by_visible_text("dark")
    printed = base64.b64decode(page.browser.print_page())
    text = "\n".join(sheet.extract_text() for sheet in PdfReader(io.BytesIO(printed)).pages)
    assert "Text 45 about Rome" in text and "Bob" in text and "Search" not in text
    assert len(page.find(".card")) == 20, "as before"


def test_hostile_texts_stay_text(open_page):
    hostile = [
        "</script><script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "<!--<script>",
        "a\u202eb\u2066c",
    ]
    rows = [row(f"{text} end", (text, text), id=text, unaligned=[{"text": text, "type": text}]) for text in hostile]
    for each in rows:
        each["examples_used"] = [{"id": each["id"], "score": 1.0, "window": 0}]
        each["error"] = each["id"]
    pool = [passage(text, (text, text), id=text) for text in hostile]
    page = open_page(rows, pool, {"model": "".join(hostile)}, name='"><img onerror=alert(1) src=x>\u202e')
    page.browser.execute_script("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    assert page.texts("h2 bdi") == hostile
    assert page.texts("#types bdi") == hostile and page.texts("#facts bdi") == ["".join(hostile)]
    assert page.find("img") == [] and len(page.find("script")) == 3
    visible = "aU+202EbU+2066c"
    assert page.texts(".passage")[0] == f"{hostile[0]}{hostile[0]} end" and visible in page.texts(".passage")[-1]
    isolated = (
        "return [...document.querySelectorAll('bdi')].every((e) => getComputedStyle(e).unicodeBidi === 'isolate')"
    )
    assert page.browser.execute_script(isolated)


def test_five_thousand_texts(open_page):
    words = "Ada met Bob in Rome and told him about the long way from Basel to the sea. "
    mentions = [("Ada", "person"), ("Bob", "person"), ("Rome", "city"), ("Basel", "city")]
    rows = [row(f"{i} {words * 10}", *mentions, id=f"id{i}", examples_used=USED) for i in range(5000)]
    start = time.monotonic()
    page = open_page(rows, POOL)
    assert page.count == "of 5,000" and time.monotonic() - start < 3
    took = """
        const [id, value, kind] = arguments, start = performance.now();
        document.getElementById(id).value = value;
        document.getElementById(id).dispatchEvent(new Event(kind));
        document.body.offsetHeight;  // lay it out
        return performance.now() - start;"""
    for change in (
        ["search", "4321 ada", "input"],
        ["search", "sea", "input"],
        ["score", 0.95, "input"],
        ["which", "empty", "change"],
    ):
        assert page.browser.execute_script(took, *change) < 200
    page.browser.execute_script(took, "search", "4999", "input")
    assert page.texts("h2 bdi") == ["id4999"]
