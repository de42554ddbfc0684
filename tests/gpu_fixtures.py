"""What the tests in tests/gpu share, which need a CUDA device (`make gpu-test`) and are skipped without one.

Models are the quickstart's, and random weights in the shapes of the paper's and today's bases, made on the spot.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

REPO = Path(__file__).parents[1]
GPU_TESTS = Path(__file__).parent / "gpu"


def is_gpu_test(item: pytest.Item) -> bool:
    return GPU_TESTS in item.path.parents


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in filter(is_gpu_test, items):
        item.add_marker(pytest.mark.gpu)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if is_gpu_test(item) and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


# As the config.json files on the Hub say, with fewer layers.
SHAPES = {
    "llama-3-8b": {
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "qwen3-8b": {
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
}


def save_random_model(shape: str, layers: int, folder: Path) -> Path:
    """A model of that shape with random weights in bfloat16, and a tokenizer of bytes."""
    from conftest import byte_level_tokenizer
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = byte_level_tokenizer()
    tokens = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = AutoConfig.for_model(
        **SHAPES[shape], num_hidden_layers=layers, max_position_embeddings=8192, tie_word_embeddings=False, **tokens
    )
    torch.manual_seed(0)
    with torch.device("cuda"):
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    torch.cuda.empty_cache()
    return folder


@pytest.fixture(scope="module", params=SHAPES)
def random_model(request, tmp_path_factory) -> Iterator[Path]:
    folder = save_random_model(request.param, 8, tmp_path_factory.mktemp(request.param))
    yield folder
    shutil.rmtree(folder)


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
