"""Links between the documents: each leads to a file, and to a heading if it names one."""

import re
from pathlib import Path

import pytest
from conftest import REPO

FOLDERS = (REPO, REPO / "docs", REPO / "perf", REPO / "data" / "sample", REPO / "metrics" / "entity_f1")
PAGES = sorted(page for folder in FOLDERS for page in folder.glob("*.md"))


def text(page: Path) -> str:
    """The text of a page without its code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The names under which GitHub links to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_lead_to_a_file_and_a_heading(page):
    for target in re.findall(r"\]\(([^)]+)\)", text(page)):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), target


def test_every_page_is_reached_from_the_readme():
    linked = {(REPO / path).resolve() for path in re.findall(r"\]\(([^)#]+)", text(REPO / "README.md"))}
    assert not [page for page in (REPO / "docs").glob("*.md") if page not in linked]
