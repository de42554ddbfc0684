"""Markdown from data. Text of passages and models is escaped, so it never becomes markup."""

import re
from collections.abc import Iterable, Sequence


def cell(value: object) -> str:
    """Escape text for a table cell or a sentence."""
    text = " ".join(str(value).split())
    # An underscore between letters is not markup, so it stays readable.
    return re.sub(r"([\\`*{}\[\]<>#|~$!&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table, the first column left-aligned and the others right-aligned."""
    lines = [" | ".join(cell(name) for name in header), " | ".join(["---"] + ["---:"] * (len(header) - 1))]
    lines += [" | ".join(cell(value) for value in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def fence(text: str, language: str = "") -> str:
    """A code block that no run of backticks inside the text can close."""
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{ticks}{language}\n{text}\n{ticks}"
