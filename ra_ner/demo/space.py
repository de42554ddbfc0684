"""The demo as a Space of the Hub: its files, and the push."""

import json
import tempfile
from importlib.metadata import requires
from pathlib import Path

from ..corpora.label_words import LABELS_FILE
from ..corpora.sources import TAG_NAMES
from ..hub import repos
from ..hub.card import new_card
from ..paths import PACKAGE, resource

GRADIO = "6.31.0"  # the version that the test suite runs

APP = '''"""Serves the demo of RA-NER. Made by `ra-ner push_demo`."""

import json
from pathlib import Path

try:
    import spaces  # of ZeroGPU; it must come before torch
except ImportError:
    spaces = None

from ra_ner import Extractor
from ra_ner.demo.answers import Demo
from ra_ner.demo.page import SERVED, make_page

demo = Demo(Extractor.from_pretrained(**json.loads(Path("settings.json").read_text(encoding="utf-8"))))
if spaces:
    demo.extract = spaces.GPU(demo.extract)
make_page(demo).launch(**SERVED)
'''


def push_space(repo_id: str, settings: dict, examples: Path | None, private: bool) -> None:
    """Push a Space that serves the demo. The package is part of it; the model stays where it is on the Hub.

    Args:
        settings: arguments of `Extractor.from_pretrained`.
        examples: a file with the examples, which is put into the Space.
        private: of a Space that is made; one that exists stays as it is.

    Raises:
        UserError: the Hub refuses.
    """
    repos.prepare_push("space", repo_id, private, "repo")
    with tempfile.TemporaryDirectory() as folder:
        files = _package()
        if examples:
            settings = {**settings, "examples": f"examples/{examples.name}"}
            beside = [examples.with_name(name) for name in (LABELS_FILE, TAG_NAMES)]
            files |= {f"examples/{file.name}": file for file in (examples, *beside) if file.is_file()}
        for name, content in {
            "app.py": APP,
            "settings.json": json.dumps(settings, indent=2),
            "requirements.txt": "\n".join(line for line in requires("ra-ner") if "extra ==" not in line) + "\n",
        }.items():
            files[name] = Path(folder) / name
            files[name].write_text(content, encoding="utf-8")
        repos.push(
            "space",
            repo_id,
            files,
            card(settings["name"].partition("@")[0]),
            "Demo by ra-ner push_demo",
            "nothing was pushed; run this again",
            "ra_ner",
            "examples",
        )


def card(model: str) -> str:
    """README.md of the Space. Its metadata says how the Hub runs it."""
    metadata = {
        "title": "RA-NER",
        "sdk": "gradio",
        "sdk_version": GRADIO,
        "python_version": "3.12",
        "app_file": "app.py",
        "models": [model],
        "suggested_hardware": "zero-a10g",
        "tags": ["named-entity-recognition"],
    }
    body = "Finds entities of any type in a text, zero-shot and with in-context examples."
    return new_card(metadata, "Open named entity recognition", "demo", body)


def _package() -> dict[str, Path]:
    """Path in the Space -> file, of the package with the corpora that ship with it."""
    folders = {"ra_ner": PACKAGE, "ra_ner/resources/data/sample": resource("data/sample")}
    files = {
        f"{place}/{file.relative_to(folder).as_posix()}": file
        for place, folder in folders.items()
        for file in folder.rglob("*")
        if file.is_file()
    }
    return {path: file for path, file in files.items() if "__pycache__" not in path}
