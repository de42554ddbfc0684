"""Files of others with any content: each is read, or refused in one line, within seconds. `make chaos` tries many."""

import io
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from ra_ner.errors import clear_errors

SECONDS = 30  # for one file
KINDS = 17  # faults that do not depend on a file's keys
DEEP = 50_000
PIECES = [
    b"", b"\x00", b"\xff\xfe", b"\xed\xa0\xbd", b"\r\n", b"\n", b"---\n", b'"', b"{", b"}", b"[", b"]", b":", b",",
    b"&a", b"*a", b"!!python/object:os.system", b"null", b"-1", b"1e999", b"NaN", b"true", b"0" * 50, b"9" * 5000,
    b"{{", b"{%", b'"\\ud83d"', b"\x1b[2J", "\u2028".encode(), b"../../etc/passwd", b"<script>",
]  # fmt: skip
BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (letter, letter, b", ".join([b"*%c" % (letter - 1)] * 9)) for letter in range(98, 108)
)
VALUES = [None, True, -1, 9_999_999, 10**400, "", "x\ny: z", "../..", [], {}, [None], {"a\nb": [1]}, 1e999, "9" * 5000]


def whole(content: bytes) -> dict[str, bytes]:
    """Contents that each stand for a kind of fault."""
    contents = {
        "empty": b"",
        "blank": b"  \n",
        "not UTF-8": b"\xff\xfe\x00" + content,
        "binary": bytes(range(256)) * 40,
        "null": b"null",
        "a number": b"7",
        "a list": b"[1, [2], null]",
        "a text": b'"text"',
        "torn": content[: len(content) // 2],
        "deep lists": b"[" * DEEP,
        "deep mappings": b'{"a":' * DEEP,
        "deep YAML": b"\n".join(b" " * depth + b"a:" for depth in range(2000)),
        "5,000 digits": b'{"r": ' + b"9" * 5000 + b"}",
        "aliases": BOMB,
        "a card of aliases": b"---\n" + BOMB + b"license: mit\n---\n",
        "a card of foreign keys": b"---\n1: [2]\nlicense: {a: b}\nmodel-index: 3\nconfigs: x\n? [a]\n: b\n---\ntext\n",
        "itself": b"a: &a [*a]\n",
    }
    assert len(contents) == KINDS
    try:
        parsed = json.loads(content)
    except ValueError:
        return contents
    if isinstance(parsed, dict):
        contents |= {
            f"{key}: {str(value)[:10]!r}": json.dumps({**parsed, key: value}).encode()
            for key in parsed
            for value in VALUES
        }
    return contents


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content with one to three small faults."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(content) + 1)
        end = start + rng.choice([0, 0, 1, 2, 9, 99])
        piece = rng.choice(PIECES) if rng.random() < 0.7 else content[start : start + 40] * 3
        content = content[:start] + piece + content[end:]
    return content if rng.random() < 0.9 else content[: rng.randrange(len(content) + 1)]


def outcome(read: Callable[[], object]) -> str:
    """How reading ends, as a command would end: `read`, `refused`, or `unexpected` with its one line."""
    begun, shown = time.monotonic(), io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(shown), clear_errors():
            read()
        return "read"
    except SystemExit:
        *progress, line = shown.getvalue().splitlines()
        assert "Traceback" not in shown.getvalue() and not any("error: " in other for other in progress)
        assert line.startswith("ra-ner: error: ") and line.isprintable() and len(line) < 3000, line[:300]
        return line.removeprefix("ra-ner: error: ") if " error: unexpected" in line else "refused"
    finally:
        assert time.monotonic() - begun < SECONDS, "it takes too long"


class Targets:
    """The files of others that a command may meet, each with how it is read.

    Args:
        finished: a folder with the outputs of all commands, see conftest.
        models: the tiny models.
        folder: an empty folder.
    """

    def __init__(self, finished: Path, models: Path, folder: Path):
        from ra_ner.corpora.benchmarks import load_benchmark
        from ra_ner.corpora.label_words import read_words
        from ra_ner.corpora.sources import load_corpus
        from ra_ner.corpora.tags import read_tag_names
        from ra_ner.evaluation.journal import Journal
        from ra_ner.extraction.calibration import Calibration
        from ra_ner.extraction.texts import read_rows
        from ra_ner.hub import card, repos
        from ra_ner.inference.models import find_model
        from ra_ner.inference.weights import check_ranks
        from ra_ner.output_folder import check
        from ra_ner.prompting.chat_template import load_training_tokenizer
        from ra_ner.recipe import load_recipe
        from ra_ner.retrieval.encode import _VectorStore
        from ra_ner.study.grid import load_grid
        from ra_ner.training import checkpoints

        run = finished / "outputs" / "quickstart"
        self.folder = folder
        self.readers: dict[str, Callable[[], object]] = {}
        self.contents: dict[str, bytes] = {}
        lm = shutil.copytree(models / "lm", folder / "lm")
        shutil.copytree(models / "encoder", folder / "encoder")
        adapter = shutil.copytree(run / "adapter", folder / "adapter")
        last = run / "checkpoints" / (run / "checkpoints" / "last").read_text().strip()
        checkpoint = shutil.copytree(last, folder / "checkpoint-9")
        dataset = shutil.copytree(run / "dataset", folder / "dataset")
        shutil.copytree(run / "evaluation", folder / "evaluation")
        (folder / "benchmark").mkdir()
        row = {"text": "Ada left Rome.", "entities": [{"text": "Ada", "type": "person", "start": 0, "end": 3}]}
        rows = json.dumps(row).encode() + b"\n"
        words, tags = b'{"PER": "person", "LOC": "place"}', b'["O", "B-PER", "I-PER"]'
        calibration = {"slope": 1.0, "intercept": 0.5, "entities": 9, "benchmark": "b", "strategy": "nn", "k": 2}
        recipe = b"language: en\ndataset:\n  corpus: sample_en\n  k: 2\ntrain:\n  lora_r: 8\n  seed: 1\n"
        grid = b"recipes: [quickstart]\naxes:\n  k: [1, 2]\nseeds: [1]\n"
        facts = json.loads((checkpoint / "ra_it.json").read_text())

        def add(name: str, read: Callable[[Path], object], content: bytes | None = None) -> None:
            file = folder / name
            if content is not None:
                file.write_bytes(content)
            self.contents[name] = file.read_bytes()
            self.readers[name] = lambda: read(file)

        add("recipe.yaml", load_recipe, recipe)
        add("grid.yaml", load_grid, grid)
        add("corpus.jsonl", lambda file: load_corpus(str(file), "en"), rows * 9)
        add("corpus.conll", lambda file: load_corpus(str(file), "en"), b"Ada B-PER\nleft O\n\nRome B-LOC\n\n" * 9)
        add("benchmark/test.jsonl", lambda file: load_benchmark(f"x={file.parent}", "en"), rows * 9)
        add("words.json", read_words, words)
        add("tags.json", lambda file: read_tag_names(str(file)), tags)
        add("texts.jsonl", lambda file: list(read_rows(str(file))), rows * 3)
        add("calibration.json", Calibration.load, json.dumps(calibration).encode())
        add("evaluation/answers.jsonl", lambda file: Journal(file.parent))
        add("evaluation/.ra_ner.json", lambda file: check(file.parent, "evaluation"))
        add("vectors.safetensors", _VectorStore, (lm / "model.safetensors").read_bytes()[:5000])
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            add(f"lm/{name}", lambda file: load_training_tokenizer(str(file.parent)))
        add("lm/config.json", lambda file: find_model(str(file.parent)).positions)
        add("encoder/modules.json", lambda file: repos.fetch_model(str(file.parent)))
        index = {"metadata": {}, "weight_map": {"a": "model.safetensors"}}
        add(
            "lm/model.safetensors.index.json",
            lambda file: repos.fetch_model(str(file.parent)),
            json.dumps(index).encode(),
        )
        add("adapter/ra_it.json", lambda file: find_model(str(file.parent)).max_length)
        add("adapter/adapter_config.json", lambda file: (find_model(str(file.parent)), check_ranks(file.parent)))
        add("adapter/adapter_model.safetensors", lambda file: check_ranks(file.parent))
        add("adapter/README.md", lambda file: card.license_of(file.parent))
        new = card.new_card({"license": "mit", "configs": [{"config_name": "x"}], "tags": ["a"]}, "t", "part", "body")
        add(
            "README.md",
            lambda file: card.merge(file.read_text("utf-8", "replace"), new),
            (adapter / "README.md").read_bytes(),
        )
        named = "quickstart"
        add(f"dataset/{named}/ra_it.json", lambda _: repos.fetch_dataset_facts(str(dataset), named, None, ""))
        for name in ("ra_it.json", "trainer_state.json", "optimizer.pt", "adapter_model.safetensors"):
            add(f"checkpoint-9/{name}", lambda file: checkpoints._check(file.parent, facts))

    def attack(self, name: str, content: bytes) -> str:
        """How a command ends that meets this content in a file."""
        file = self.folder / name
        file.write_bytes(content)
        try:
            return outcome(self.readers[name])
        except BaseException as error:
            error.add_note(f"{name}: {content[:500]!r}")
            raise
        finally:
            file.write_bytes(self.contents[name])


def attack_often(targets: Targets, count: int, seed: int = 0) -> Mapping[str, Counter]:
    """How `count` attacks end, by file."""
    ends: dict[str, Counter] = {name: Counter() for name in targets.readers}
    rng = random.Random(seed)
    names = sorted(targets.readers)
    for number in range(count):
        name = names[number % len(names)]
        ends[name][targets.attack(name, mutated(targets.contents[name], rng))] += 1
    return ends
