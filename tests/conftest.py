"""Tiny real parts (a random language model, a static encoder), a loopback Hub, and a folder to run the scripts in."""

import importlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from loopback_hub import LoopbackHub

# Constants of the Hugging Face libraries are frozen at import, so the Hub and the environment come first.
HUB = LoopbackHub()
REAL_HUB = {name: os.environ[name] for name in HUB.environment("") if name in os.environ}  # for `-m hub_live`
HF_HOME = tempfile.mkdtemp(prefix="ra_ner_tests_")
for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_DATASETS_CACHE"):
    os.environ.pop(name, None)
os.environ.update(HUB.environment(HF_HOME), TOKENIZERS_PARALLELISM="false", NO_PROXY="127.0.0.1", CI="true")
# The models are tiny: a second thread of torch only waits for the first, for minutes where the cores are shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

REPO = Path(__file__).parents[1]
from ra_ner.passage import Entity, Passage
from ra_ner.prompting.chat_template import TEMPLATES

SHARED = REPO.parent / "shared"
pytest_plugins = ["gpu_fixtures"]


@pytest.fixture(scope="session", autouse=True)
def _clean_up() -> Iterator[None]:
    yield
    shutil.rmtree(HF_HOME, ignore_errors=True)


class _Printer(logging.Handler):
    """Prints our messages, so that `capsys` holds them."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage())


def print_messages() -> None:
    """Have our messages printed. A test that runs the command line has them written to stderr."""
    logger = logging.getLogger("ra_ner")
    logger.handlers, logger.propagate = [_Printer()], True
    logger.setLevel(logging.INFO)


@pytest.fixture(autouse=True)
def _messages() -> None:
    print_messages()


@pytest.fixture
def write(tmp_path: Path):
    """Write a file, rows as JSON Lines, and return its path."""

    def write(content: str | bytes | list, name: str = "corpus.jsonl") -> str:
        if isinstance(content, list):
            content = "\n".join(json.dumps(row, ensure_ascii=False) for row in content)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(tmp_path / name)

    return write


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    """An empty loopback Hub, which the unmodified clients talk to."""
    HUB.clear()
    yield HUB
    HUB.clear()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real corpora, kept outside the project."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with real corpora is absent")
    return SHARED


@pytest.fixture(scope="session", params=["equivalents", "released"])
def golden(request, tmp_path_factory) -> Path:
    """A folder with released conversations and benchmarks, and one with equivalents of our own."""
    if request.param == "released":
        return request.getfixturevalue("shared")
    from golden import make_golden

    folder = tmp_path_factory.mktemp("golden")
    make_golden(folder)
    return folder


def passage(text: str, *pairs: tuple[str, str], id: str = "p") -> Passage:
    """A passage whose entities are the first occurrence of each mention."""
    return Passage(id, text, tuple(Entity(m, t, text.index(m), text.index(m) + len(m)) for m, t in pairs))


def byte_level_tokenizer():
    """256 bytes and the control tokens of ChatML; the template is SmolLM2's, without training marks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(special + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    twin = (TEMPLATES / "smollm2.jinja").read_text(encoding="utf-8")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        chat_template=re.sub(r"\{%- (end)?generation -%\}", "", twin),
    )


def save_tiny_model(architecture: str, tokenizer, folder: Path, **config: object) -> None:
    """A causal language model of two small layers with random weights, and its tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=16384,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **config,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """A folder with the models `lm` (Llama architecture, random weights) and `encoder` (static, random)."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    folder = tmp_path_factory.mktemp("models")
    tokenizer = byte_level_tokenizer()
    save_tiny_model("llama", tokenizer, folder / "lm")
    torch.manual_seed(0)
    words = StaticEmbedding(tokenizer.backend_tokenizer, embedding_dim=32)
    SentenceTransformer(modules=[words]).save(str(folder / "encoder"))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def put_folder(repo_type: str, repo_id: str, folder: Path) -> str:
    """Make a repo of the loopback Hub that holds a folder's files, and return its commit."""
    HUB.create(repo_type, repo_id)
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return HUB.put(repo_type, repo_id, files)


def write_recipe(path: Path, **content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return path


@pytest.fixture(scope="session")
def workplace(tmp_path_factory, models) -> Path:
    """A folder that looks like the repository, with the quickstarts' recipes shrunk to the tiny models."""
    folder = tmp_path_factory.mktemp("workplace")
    for name in ("ra_ner", "data", "accelerate_configs", "build_ra_dataset.py", "train_sft.py", "evaluate_ner.py"):
        (folder / name).symlink_to(REPO / name)
    for name in ("quickstart", "quickstart_zh"):
        write_recipe(
            folder / "recipes" / f"{name}.yaml",
            extends=str(REPO / "recipes" / f"{name}.yaml"),
            dataset={"encoder": str(models / "encoder"), "size": 12, "validation_fraction": 0.2, "max_length": 8192}
            | {"examples_probability": 1.0},  # as in the paper
            train={"model_name_or_path": str(models / "lm"), "max_length": 8192, "save_steps": 2}
            | {"chat_template_path": None, "eos_token": None},  # the tiny model has a template
            evaluate={"limit": 3, "max_new_tokens": 4},
        )
        twin = f"{name}_vanilla.yaml"
        (folder / "recipes" / twin).write_bytes((REPO / "recipes" / twin).read_bytes())
    return folder


def run_command(name: str, *args: object):
    """Run a command of `ra-ner` in this process, and return what its `run` returns."""
    command = importlib.import_module(f"ra_ner.commands.{name}")
    return command.run(*command.make_parser().parse_recipe([str(arg) for arg in args]))


def run_quickstart(workplace: Path, name: str) -> None:
    """The whole path of a quickstart: both datasets, both adapters, and the evaluation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        for recipe in (f"recipes/{name}_vanilla.yaml", f"recipes/{name}.yaml"):
            run_command("build", recipe)
            run_command("train", recipe)
        run_command("evaluate", f"recipes/{name}.yaml")


@pytest.fixture(scope="session")
def finished(workplace) -> Path:
    """The workplace after the whole path of the English quickstart."""
    run_quickstart(workplace, "quickstart")
    return workplace


@pytest.fixture
def here(finished, monkeypatch) -> Path:
    """The finished workplace, as the current folder."""
    monkeypatch.chdir(finished)
    return finished
