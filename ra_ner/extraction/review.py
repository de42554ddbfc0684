"""A page to review results in a browser: one HTML file, which loads nothing from elsewhere.

Results are JSON inside the page. `review.js` draws the texts that are seen; `review.css` says how they look.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..atomic_files import write_text
from ..passage import Passage
from .texts import Row

_FOLDER = Path(__file__).parent
_FIELDS = ("id", "text", "entities", "examples_used", "windows", "unaligned", "copied", "unparsed", "error")


def write_review(rows: Iterable[Row], file: Path, examples: Iterable[Passage], facts: Mapping[str, object]) -> None:
    """Write the page.

    Args:
        rows: results, see `Extraction.to_dict`.
        examples: the pool that in-context examples were taken from. The page holds those that were shown.
        facts: what the reader should know about the run, such as the model's name.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    style, script = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("review.css", "review.js"))
    used: set[str] = set()
    page = environment.get_template("review.html.jinja").render(
        name=file.stem,
        facts=facts,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        rows=_rows(rows, used),
        examples=(_json(asdict(passage)) for passage in examples if passage.id in used),  # read after all rows
    )
    write_text(file, page.encode("utf-8", "replace").decode())  # UTF-8 has no half surrogate pairs


def _rows(rows: Iterable[Row], used: set[str]) -> Iterator[str]:
    """The fields of each row that the page shows. Collects the ids of the examples."""
    for row in rows:
        used.update(example["id"] for example in row["examples_used"])
        yield _json({key: row[key] for key in _FIELDS if key in row})


def _json(value: object) -> str:
    """JSON that can stand in a script element: no tags, and half surrogate pairs as escapes."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return re.sub("[<\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _hash(code: str) -> str:
    """The hash by which the page's policy admits its own style and script, and no others."""
    return "sha256-" + base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
