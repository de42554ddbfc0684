"""Make the README's pictures from the quickstart's outputs: the review page and the demo.

make quickstart browser pictures
"""

import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

sys.path.insert(0, str(Path(__file__).parents[1]))

from ra_ner import Extractor, cli
from ra_ner.demo.answers import Demo
from ra_ner.demo.page import SERVED, make_page

ROOT = Path(__file__).parents[1]
ADAPTER = "outputs/quickstart/adapter"
TEXT = "The museum in Basel opened a show about the painter Paul Klee on 3 May 2019."
PICTURES = ROOT / "docs" / "pictures"


def show_review(browser: webdriver.Chrome, folder: Path) -> None:
    """The review page of the first texts of the sample benchmark."""
    rows = (ROOT / "data" / "sample" / "en_test.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    texts, page = folder / "sample.jsonl", folder / "review.html"
    texts.write_text("".join(rows[1:5]), encoding="utf-8")
    flags = ["--types", "person,city,organization,date", "--examples", "sample_en", "--strategy", "nn"]
    cli.run("extract", [str(texts), "--model", ADAPTER, *flags, "--format", "html", "--output", str(page)])
    browser.get(page.as_uri())


def show_demo(browser: webdriver.Chrome) -> None:
    """The demo with an answer."""
    page = make_page(Demo(Extractor.from_pretrained(ADAPTER, examples="sample_en", strategy="nn")))
    page.launch(server_name="127.0.0.1", quiet=True, prevent_thread_lock=True, **SERVED)
    browser.get(page.local_url)
    wait = WebDriverWait(browser, 300)
    for placeholder, words in (("Ada", TEXT), ("person", "person\ncity: a town, not a country\ndate")):
        selector = f"textarea[placeholder^='{placeholder}']"
        wait.until(lambda b, selector=selector: b.find_element(By.CSS_SELECTOR, selector)).send_keys(words)
    browser.find_element(By.XPATH, "//button[text()='Find entities']").click()
    wait.until(lambda b: b.find_element(By.TAG_NAME, "body").text.count("Paul Klee") > 1)


def main() -> None:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1280,860"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        show_review(browser, Path(folder))
        browser.save_screenshot(str(PICTURES / "review.png"))
    show_demo(browser)
    browser.save_screenshot(str(PICTURES / "demo.png"))
    browser.quit()


if __name__ == "__main__":
    main()
