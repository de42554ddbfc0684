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
        if not path.exists():
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
        done, whole, whole_size, last = self._count()
        rows = islice(rows, whole, None) if not last else self._compare(rows, whole, last)
        again = list(islice(rows, done - whole + 1))
        if len(again) <= done - whole:  # the last batch is smaller
            return done, iter(())
        os.truncate(self.path, whole_size)
        return whole, chain(again, rows)

    def _count(self) -> tuple[int, int, int, dict]:
        """The number of results, of those in whole batches, the size of these in bytes, and the last of these."""
        done = whole = size = whole_size = 0
        last = b"{}"
        with self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    done, size = done + 1, size + len(line)
                    if done % self.batch_size == 0:
                        whole, whole_size, last = done, size, line
        os.truncate(self.path, size)
        return done, whole, whole_size, json.loads(last)

    def _compare(self, rows: Iterator[Row], whole: int, last: dict) -> Iterator[Row]:
        """The rows from `whole` on. The one before must be that of the last result."""
        before = next(islice(rows, whole - 1, None), None)
        if before is None or before.get("text", "") != last["text"]:
            raise UserError(f"{self.path} holds results of other texts; name another output")
        return rows

    def append(self, lines: list[str]) -> None:
        """Add the results of a batch."""
        with self.path.open("ab", buffering=0) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())

    def __iter__(self) -> Iterator[Row]:
        with self.path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)
