"""Broken corpora of every form end in passages whose offsets slice, in counted rows, or in one line.

More lines by hand: `python tests/corpora/test_mutated_corpora.py 100000`.
"""

import logging
import random
import sys
import tempfile
from pathlib import Path

import pytest
from corpus_forms import SAMPLES, Sample

from ra_ner.corpora.sources import SKIPPED, load_corpus
from ra_ner.errors import UserError

NASTY = [
    "\ud83d",
    "\ude00",
    "\U0001f600",
    "\u2028",
    "\u00a0",
    "\u3000",
    "\ufeff",
    "\x00",
    "\r",
    "\n",
    "\t",
    " ",
    "\\ud83d",
]
PIECES = [
    *NASTY,
    '"',
    "'",
    "\\",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "|",
    ";",
    "#",
    "-",
    "0",
    "-1",
    "999",
    "1e999",
    "null",
    "true",
    "O",
    "B-",
    "I-x",
]


def mutate(content: str, rng: random.Random) -> str:
    """The content with one to three small faults."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice([0, 0, 1, 1, 2, 5, 20]))
        piece = (
            rng.choice(PIECES)
            if rng.random() < 0.7
            else content[slice(*sorted(rng.choices(range(len(content) + 1), k=2)))][:40]
        )
        content = content[:start] + rng.choice(["", piece]) + content[end:]
    return content


def mutated_file(sample: Sample, rng: random.Random) -> tuple[dict[str, bytes], int]:
    """The files of a sample, repeated and mutated, and how many lines they have."""
    name, *_ = sample.files
    is_lines = "\n{" in sample.files[name] or not sample.files[name].lstrip().startswith(("[", "{"))
    files = {}
    for other, content in sample.files.items():
        copies = [content] * (rng.randint(1, 8) if is_lines and len(sample.files) == 1 else 1)
        mutated = [mutate(copy, rng) if copy and rng.random() < 0.6 else copy for copy in copies]
        files[other] = ("\n" if is_lines else "").join(mutated).encode("utf-8", "surrogatepass")
    return files, sum(content.count(b"\n") + 1 for content in files.values())


def check(folder: Path, files: dict[str, bytes], language: str) -> str:
    """Read a mutated corpus, and say how it ended."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        corpus = load_corpus(str(folder / next(iter(files))), language)
    except UserError as error:
        assert len(str(error).splitlines()) == 1, str(error)
        return "refused"
    for passage in corpus.passages:
        assert passage.text.strip()
        for entity in passage.entities:
            assert entity.text == entity.text.strip() != "" and entity.type.strip()
            if entity.start is not None:
                assert passage.text[entity.start : entity.end] == entity.text
    assert all(type(count) is int and count > 0 for count in corpus.counts.values())
    return "skipped" if corpus.counts.get(SKIPPED) else "read"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.form)
def test_broken_rows_are_skipped_or_refused_in_one_line(sample, tmp_path):
    rng = random.Random(sample.form)
    for _ in range(60):
        files, _ = mutated_file(sample, rng)
        check(tmp_path, files, sample.language)


def main(lines: int) -> None:
    logging.disable(logging.CRITICAL)
    for sample in SAMPLES:
        rng, done, ends = random.Random(), 0, {}
        with tempfile.TemporaryDirectory() as folder:
            while done < lines:
                files, count = mutated_file(sample, rng)
                try:
                    end = check(Path(folder), files, sample.language)
                except Exception:
                    print(files)
                    raise
                ends[end] = ends.get(end, 0) + 1
                done += count
        print(f"{sample.form}: {done} lines, files {ends}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
