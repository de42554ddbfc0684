"""Texts to vectors, with sentence-transformers. Each text is encoded once for all recipes."""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import UserError

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from ..hub import LocalModel

Role = Literal["query", "document"]
CACHE = Path("outputs/.embeddings")


def encode(texts: list[str], role: Role, encoder: "LocalModel", cache: Path = CACHE) -> "torch.Tensor":
    """Return unit vectors, float32 of shape (len(texts), dimension), on the CPU.

    Vectors are kept in `cache` by the encoder's revision and the text, so only texts that are new are encoded. A text
    longer than the encoder reads is encoded in windows, which are averaged by their number of tokens.

    Args:
        role: whether the texts are looked for or looked through; it matters to encoders with prompts for the two.

    Raises:
        UserError: the encoder can't be loaded.
    """
    import torch
    from safetensors.torch import load_file, save_file

    if not _has_prompts(encoder):
        role = "document"
    file = cache / f"{encoder.revision}-{role}.safetensors"
    keys = [hashlib.sha256(text.encode()).digest()[:16] for text in texts]
    known, vectors = {}, None
    if file.exists():
        stored = load_file(file)
        vectors = stored["vectors"]
        known = {bytes(key): row for row, key in enumerate(stored["keys"].numpy())}
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if missing:
        new = _encode(list(missing.values()), role, encoder)
        vectors = new if vectors is None else torch.cat([vectors, new])
        known |= {key: len(known) + row for row, key in enumerate(missing)}
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        rows = torch.tensor([list(key) for key in known], dtype=torch.uint8)
        save_file({"keys": rows, "vectors": vectors}, temporary)
        os.replace(temporary, file)
    return vectors[[known[key] for key in keys]]


def _has_prompts(encoder: "LocalModel") -> bool:
    config = encoder.path / "config_sentence_transformers.json"
    return config.is_file() and any(json.loads(config.read_text(encoding="utf-8")).get("prompts", {}).values())


def _encode(texts: list[str], role: Role, encoder: "LocalModel") -> "torch.Tensor":
    import torch
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(str(encoder.path))
    except (OSError, ValueError) as error:
        raise UserError(f"encoder {encoder.path} can't be loaded: {error}") from None
    windows, owners, weights = [], [], []
    for owner, text in enumerate(texts):
        for window, tokens in _windows(text, model):
            windows.append(window)
            owners.append(owner)
            weights.append(tokens)
    encode_role = model.encode_query if role == "query" else model.encode_document
    vectors = encode_role(
        windows, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=len(windows) > 1000
    ).cpu()
    if len(windows) > len(texts):
        print(f"{len(windows) - len(texts)} more windows than texts: those longer than the encoder reads are averaged")
    summed = torch.zeros(len(texts), vectors.shape[1])
    summed.index_add_(0, torch.tensor(owners), vectors.float() * torch.tensor(weights)[:, None])
    return torch.nn.functional.normalize(summed)


def _windows(text: str, model: "SentenceTransformer") -> list[tuple[str, int]]:
    """A text cut into pieces that the encoder reads whole, each with its number of tokens."""
    limit = model.max_seq_length
    if limit is None or limit > 10**6 or len(text) < limit:  # a token is one character or more
        return [(text, 1)]
    room = limit - model.tokenizer.num_special_tokens_to_add()
    offsets = model.tokenizer(
        text, return_offsets_mapping=True, add_special_tokens=False, truncation=False, verbose=False
    )["offset_mapping"]
    if len(offsets) <= room:
        return [(text, 1)]
    pieces = [offsets[start : start + room] for start in range(0, len(offsets), room)]
    return [(text[piece[0][0] : piece[-1][1]], len(piece)) for piece in pieces]
