"""The journal of an evaluation: each answer is written as it comes, so that a killed run resumes."""

import json
import os
from pathlib import Path

from ..atomic_files import complete_lines


class Journal:
    """Answers by key, in JSON Lines files that are only appended to. A line torn by a kill is dropped.

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
            for line in whole.splitlines():
                entry = json.loads(line)
                self.answers[entry["key"]] = entry["answer"]

    def add(self, key: str, answer: str) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps({"key": key, "answer": answer}).encode() + b"\n")
        self.answers[key] = answer
