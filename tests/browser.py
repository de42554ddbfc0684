"""A headless Chromium for the tests of pages, where one is installed: `make browser`."""

import shutil
from collections.abc import Iterator

import pytest
from conftest import REPO
from selenium import webdriver

AXE = REPO / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="session")
def chromium() -> Iterator[webdriver.Chrome]:
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("chromium or chromedriver is not installed: make browser")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def offline(chromium) -> Iterator[webdriver.Chrome]:
    """The browser without a network. A test fails if its page complains on the console."""
    chromium.set_network_conditions(offline=True, latency=0, throughput=0)
    for kind in ("browser", "performance"):
        chromium.get_log(kind)  # of the test before
    yield chromium
    assert chromium.get_log("browser") == []
    chromium.delete_network_conditions()


def serious_faults(browser: webdriver.Chrome) -> list[str]:
    """What axe-core calls a serious or critical fault of the page's accessibility."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: make browser")
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = browser.execute_async_script("axe.run().then(arguments[0])")
    return [
        f"{fault['id']}: {node['html']} {node['failureSummary']}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
