"""The journal of an evaluation: each answer is written as it comes, so that a killed run resumes."""

import json
import logging
import os
from pathlib import Path

from ..atomic_files import complete_lines

logger = logging.getLogger(__name__)


class Journal:
    """Answers by key, in JSON Lines files that are only appended to.

    A line torn by a kill is dropped. Other lines that can't be read are left, and cost their own answer alone.

    Each process writes a file of its own, and reads the files of all.

    Example:
        >>> journal = Journal(Path("outputs/my/evaluation"))
        >>> journal.add(query.key, answer)
        >>> journal.answers[query.key]
    """

    def __init__(self, folder: Path, process: int = 0):
        self.folder, self.answers = folder, {}
        self.path = folder / (f"answers-{process}.jsonl" if process else "answers.jsonl")
        folder.mkdir(parents=True, exist_ok=True)
        self.read()

    def read(self) -> None:
        for path in sorted(self.folder.glob("answers*.jsonl")):
            whole = complete_lines(path)
            if path == self.path:
                os.truncate(path, len(whole))
            entries = [_entry(line) for line in whole.split(b"\n")[:-1]]
            self.answers |= dict(filter(None, entries))
            if unreadable := entries.count(None):
                logger.warning("%s: %d lines can't be read; what they held is asked again", path, unreadable)

    def add(self, key: str, answer: str) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps({"key": key, "answer": answer}).encode() + b"\n")
        self.answers[key] = answer


def _entry(line: bytes) -> tuple[str, str] | None:
    """The key and the answer in a line, None if it holds none."""
    try:
        entry = json.loads(line)
        key, answer = entry["key"], entry["answer"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return None
    return (key, answer) if isinstance(key, str) and isinstance(answer, str) else None
