"""Texts to vectors, with sentence-transformers. Each text is encoded once for all recipes."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..distributed import distributed_state
from ..errors import UserError

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState
    from sentence_transformers import SentenceTransformer

    from ..hub.repos import LocalModel

logger = logging.getLogger(__name__)

Role = Literal["query", "document"]
CACHE = Path("outputs/.embeddings")
BATCH = 32  # texts a forward pass
ALL_GPUS_FROM = 10_000  # texts; below, one GPU is done before the processes for the others have started


def encode(
    texts: Mapping[Role, Sequence[str]], encoder: "LocalModel", cache: Path = CACHE
) -> dict[Role, "torch.Tensor"]:
    """Return unit vectors of the texts of each role, float32 of shape (texts, dimension), on the CPU.

    Vectors are kept in `cache` by the encoder's revision and the text, so only texts that are new are encoded. A text
    longer than the encoder reads is encoded in windows, which are averaged by their number of tokens.

    One process uses all GPUs it sees. Under a distributed launch (`accelerate launch`, `torchrun`) every process calls
    this with the same texts, encodes its share of what is new, and gets all vectors; the main process alone reads and
    writes the cache.

    Args:
        texts: by whether they are looked for or looked through; it matters to encoders with prompts for the two.

    Raises:
        UserError: the encoder can't be loaded.
    """
    from accelerate.utils import broadcast_object_list

    state, has_prompts = distributed_state(), _has_prompts(encoder)
    kinds: dict[Role, Role] = {role: role if has_prompts else "document" for role in texts}
    stores, missing, vectors = {}, {}, {}
    if state.is_main_process:
        stores = {kind: _Store(cache / f"{encoder.revision}-{kind}.safetensors") for kind in kinds.values()}
        for kind, store in stores.items():
            wanted = dict.fromkeys(text for role in texts if kinds[role] == kind for text in texts[role])
            missing[kind] = [text for text in wanted if text not in store]
    (missing,) = broadcast_object_list([missing])
    if any(missing.values()):
        new = _encode_in_shares(missing, encoder, state)
        for kind, store in stores.items():
            store.add(missing[kind], new[kind])
    if state.is_main_process:
        vectors = {role: stores[kind].vectors_of(texts[role]) for role, kind in kinds.items()}
    (vectors,) = broadcast_object_list([vectors])
    return vectors


class _Store:
    """Vectors by the digest of their text, in a safetensors file."""

    def __init__(self, file: Path) -> None:
        import torch
        from safetensors.torch import load_file

        self.file = file
        stored = load_file(file) if file.exists() else {"keys": torch.empty(0), "vectors": torch.empty(0)}
        self.vectors = stored["vectors"]
        self.rows = {bytes(key): row for row, key in enumerate(stored["keys"].numpy())}

    def __contains__(self, text: str) -> bool:
        return _key(text) in self.rows

    def add(self, texts: Iterable[str], vectors: "torch.Tensor") -> None:
        """Add texts that are new, and write the file, whole or not at all."""
        import numpy as np
        import torch
        from safetensors.torch import save_file

        if not len(vectors):
            return
        self.rows |= {_key(text): row for row, text in enumerate(texts, len(self.rows))}
        self.vectors = torch.cat([self.vectors, vectors])
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_suffix(f".{os.getpid()}.tmp")
        keys = np.frombuffer(bytearray(b"".join(self.rows)), dtype=np.uint8).reshape(len(self.rows), -1)
        try:
            save_file({"keys": torch.from_numpy(keys), "vectors": self.vectors}, temporary)
            os.replace(temporary, self.file)
        finally:
            temporary.unlink(missing_ok=True)

    def vectors_of(self, texts: Sequence[str]) -> "torch.Tensor":
        return self.vectors[[self.rows[_key(text)] for text in texts]]


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


def _has_prompts(encoder: "LocalModel") -> bool:
    config = encoder.path / "config_sentence_transformers.json"
    return config.is_file() and any(json.loads(config.read_text(encoding="utf-8")).get("prompts", {}).values())


def _encode_in_shares(
    texts: Mapping[Role, Sequence[str]], encoder: "LocalModel", state: "PartialState"
) -> dict[Role, "torch.Tensor"]:
    """Each process encodes every n-th text, and gets the vectors of all."""
    import torch
    from accelerate.utils import gather_object

    n = state.num_processes
    share = {role: its_texts[state.process_index :: n] for role, its_texts in texts.items()}
    shares = gather_object([_encode(share, encoder, _devices(state))])
    vectors = {}
    for role, its_texts in texts.items():
        gathered = torch.cat([one[role] for one in shares])
        places = [place for rank in range(n) for place in range(rank, len(its_texts), n)]
        vectors[role] = torch.empty_like(gathered)
        vectors[role][places] = gathered
    return vectors


def _devices(state: "PartialState") -> list[str]:
    """The process's own device under a distributed launch, else all of the machine's."""
    import torch

    if state.num_processes > 1 or state.device.type == "cpu":
        return [str(state.device)]
    return [f"{state.device.type}:{i}" for i in range(torch.accelerator.device_count())]


def _encode(
    texts: Mapping[Role, Sequence[str]], encoder: "LocalModel", devices: list[str]
) -> dict[Role, "torch.Tensor"]:
    import torch
    from sentence_transformers import SentenceTransformer

    if not any(texts.values()):
        return {role: torch.empty(0) for role in texts}
    try:
        model = SentenceTransformer(str(encoder.path), device=devices[0])
    except (OSError, ValueError) as error:
        raise UserError(f"encoder {encoder.path} can't be loaded: {error}") from None
    share_out = len(devices) > 1 and sum(map(len, texts.values())) >= ALL_GPUS_FROM
    pool = model.start_multi_process_pool(devices) if share_out else None
    try:
        return {role: _encode_role(role, its_texts, model, pool) for role, its_texts in texts.items()}
    finally:
        if pool:
            model.stop_multi_process_pool(pool)


def _encode_role(role: Role, texts: Sequence[str], model: "SentenceTransformer", pool: dict | None) -> "torch.Tensor":
    import torch

    windows, owners, weights = [], [], []
    for owner, text in enumerate(texts):
        for window, tokens in _windows(text, model, model.prompts.get(role) or ""):
            windows.append(window)
            owners.append(owner)
            weights.append(tokens)
    if not windows:
        return torch.empty(0)
    encode_role = model.encode_query if role == "query" else model.encode_document
    vectors = encode_role(
        windows,
        batch_size=BATCH,
        pool=pool,
        convert_to_tensor=True,
        normalize_embeddings=True,
        show_progress_bar=len(windows) > 1000,
    ).cpu()
    if len(windows) > len(texts):
        logger.info(
            f"{len(windows) - len(texts)} more windows than texts: those longer than the encoder reads are averaged"
        )
    summed = torch.zeros(len(texts), vectors.shape[1])
    summed.index_add_(0, torch.tensor(owners), vectors.float() * torch.tensor(weights)[:, None])
    return torch.nn.functional.normalize(summed)


def _windows(text: str, model: "SentenceTransformer", prompt: str) -> list[tuple[str, int]]:
    """A text cut into pieces that the encoder reads whole after the prompt, each with its number of tokens."""
    limit = model.max_seq_length
    if limit is None or limit > 10**6 or len(prompt + text) < limit:  # a token is one character or more
        return [(text, 1)]
    room = limit - len(model.tokenizer(prompt).input_ids)
    offsets = model.tokenizer(
        text, return_offsets_mapping=True, add_special_tokens=False, truncation=False, verbose=False
    )["offset_mapping"]
    if len(offsets) <= room:
        return [(text, 1)]
    pieces = [offsets[start : start + room] for start in range(0, len(offsets), room)]
    return [(text[piece[0][0] : piece[-1][1]], len(piece)) for piece in pieces]
