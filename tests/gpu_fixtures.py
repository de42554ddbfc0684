"""What the tests in tests/gpu share, which need a CUDA device (`make gpu-test`) and are skipped without one.

Models are the quickstart's, and random weights in the shapes of the paper's and today's bases, made on the spot.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

REPO = Path(__file__).parents[1]
GPU_TESTS = Path(__file__).parent / "gpu"
LAYERS = 8


def is_gpu_test(item: pytest.Item) -> bool:
    return GPU_TESTS in item.path.parents


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in filter(is_gpu_test, items):
        item.add_marker(pytest.mark.gpu)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if is_gpu_test(item) and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


@pytest.fixture(scope="session")
def byte_tokenizer(tmp_path_factory) -> str:
    """The folder of a tokenizer whose tokens are bytes."""
    from conftest import byte_level_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    byte_level_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module", params=["llama-3-8b", "qwen3-8b"])
def some_layers(request, byte_tokenizer) -> Iterator[Path]:
    """The folder of a model with eight layers of that shape."""
    from perf.random_model import random_model

    with random_model(request.param, LAYERS, byte_tokenizer) as folder:
        yield folder


@pytest.fixture(scope="session")
def embedded() -> Path:
    """The folder of the quickstart's models."""
    if not (REPO / "models" / "smollm2-135m-instruct").is_dir():
        pytest.skip("the quickstart's models are not unpacked; run `make quickstart`, or `ra-ner models`")
    return REPO / "models"


@pytest.fixture(scope="session")
def trained(embedded, tmp_path_factory) -> Path:
    """A folder in which the quickstart's adapter was trained, as the README does it."""
    from conftest import run_command

    folder = tmp_path_factory.mktemp("quickstart")
    for name in ("ra_ner", "data", "models", "recipes", "accelerate_configs", "train_sft.py"):
        (folder / name).symlink_to(REPO / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_command("build", "recipes/quickstart.yaml")
        run_command("train", "recipes/quickstart.yaml", "--merge")
    return folder


@pytest.fixture
def free_memory() -> Iterator[None]:
    """Start with an empty card, and allow all of its memory again afterwards."""
    torch.cuda.empty_cache()
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()
