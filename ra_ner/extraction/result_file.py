"""The file that the results of a long job are appended to, so that a job that was stopped continues."""

import json
import os
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from ..atomic_files import write_text
from ..errors import UserError
from .texts import Row


class ResultFile:
    """JSON Lines, one for each text, in order. Beside it a hidden file says which settings the results have.

    Args:
        path: the file; its folder is made.
        settings: what the results depend on.
        batch_size: number of results that are appended at once.

    Raises:
        UserError: there is a file that was not made by this class, or one with results of other settings.
    """

    def __init__(self, path: Path, settings: dict, batch_size: int):
        self.path, self.batch_size = path, batch_size
        self._settings = path.with_name(f".{path.name}.settings.json")
        # Empty if a run failed before its first result, for example because an option was wrong.
        if not path.exists() or (self._settings.exists() and not path.stat().st_size):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._settings, json.dumps(settings, indent=2) + "\n")
            path.touch()
            return
        try:
            before = json.loads(self._settings.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise UserError(f"{path} exists and is no output that can be continued; name another one") from None
        if changed := [key for key in settings if before.get(key) != json.loads(json.dumps(settings[key]))]:
            raise UserError(
                f"{path} was begun with another setting of {', '.join(changed)}; name another output, or delete it"
            )

    def skip_done(self, rows: Iterator[Row]) -> tuple[int, Iterator[Row]]:
        """Drop what a kill has torn, and return the number of complete results and the rows that have none.

        The rows begin with a whole batch, so that they are asked about together with the same others as they would have
        been: a model's probabilities depend on that in their last digits.

        Raises:
            UserError: the results are those of other texts.
        """
        done = whole = size = whole_size = 0
        last_batch: list[Row] = []  # a smaller one
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                row = next(rows, None)
                if row is None or row.get("text", "") != json.loads(line)["text"]:
                    raise UserError(f"{self.path} holds results of other texts; name another output")
                done, size = done + 1, size + len(line)
                last_batch.append(row)
                if done % self.batch_size == 0:
                    whole, whole_size, last_batch = done, size, []
        further = list(islice(rows, 1))
        os.truncate(self.path, whole_size if further else size)
        return (whole, chain(last_batch, further, rows)) if further else (done, iter(()))

    def append(self, lines: list[str]) -> None:
        """Add the results of a batch."""
        with self.path.open("ab") as file:  # buffered: a raw file may write a part alone, and raises nothing
            file.write("".join(f"{line}\n" for line in lines).encode())

    def __iter__(self) -> Iterator[Row]:
        with self.path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)
