"""Random weights in the shape of a real model, made on the spot: nothing is downloaded."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from accelerate.utils.memory import clear_device_cache
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PretrainedConfig, Qwen3Config

TOKENIZER = "models/smollm2-135m-instruct"
SHARED_MEMORY = Path("/dev/shm")
SHARD = "4GB"

# The configs of meta-llama/Meta-Llama-3-8B and Qwen/Qwen3-8B, without the ids of control tokens.
SHAPES = {
    "llama-3-8b": (
        LlamaConfig,
        {
            "vocab_size": 128256,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        },
    ),
    "qwen3-8b": (
        Qwen3Config,
        {
            "vocab_size": 151936,
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 40960,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
        },
    ),
}


def random_config(shape: str, layers: int | None = None, tokenizer: str = TOKENIZER) -> PretrainedConfig:
    """The config of a shape, with the control tokens of a tokenizer.

    Args:
        shape: one of SHAPES.
        layers: how many; all if not given.
        tokenizer: folder of a tokenizer with a smaller vocabulary.
    """
    make, settings = SHAPES[shape]
    ids = AutoTokenizer.from_pretrained(tokenizer)
    return make(
        **settings | {"num_hidden_layers": layers or settings["num_hidden_layers"]},
        bos_token_id=ids.bos_token_id,
        eos_token_id=ids.eos_token_id,
        pad_token_id=ids.pad_token_id,
        tie_word_embeddings=False,
    )


@contextmanager
def random_model(
    shape: str, layers: int | None = None, tokenizer: str = TOKENIZER, place: Path | None = None
) -> Iterator[Path]:
    """A folder with random bfloat16 weights and a tokenizer, which is removed at the end.

    Args:
        shape: one of SHAPES.
        layers: how many; all if not given.
        tokenizer: folder of a tokenizer with a smaller vocabulary.
        place: where to make the folder; if not given, in shared memory (Linux), which is faster than a disk, or where
            that is too small, among the temporary files.
    """
    config = random_config(shape, layers, tokenizer)
    # check_available: without it a CUDA build of torch names a device on machines without a GPU.
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    torch.manual_seed(0)
    with device:
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    if place is None:
        size = sum(weight.nbytes for weight in model.parameters())
        is_roomy = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > 1.2 * size
        place = SHARED_MEMORY if is_roomy else None
    with TemporaryDirectory(prefix=f"{shape}-", dir=place) as folder:
        model.save_pretrained(folder, max_shard_size=SHARD)
        AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
        del model
        clear_device_cache(garbage_collection=True)
        yield Path(folder)
