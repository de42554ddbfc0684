"""Texts to unit vectors, with sentence-transformers. Each text is encoded once for all recipes."""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..atomic_files import complete_file
from ..distributed import distributed_state
from ..errors import UserError, is_disk_full
from ..foreign_files import read_json
from ..terminal import hide_loading_bars

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from ..hub.repos import LocalModel

logger = logging.getLogger(__name__)

Role = Literal["query", "document"]
CACHE = Path("outputs/.embeddings")
BATCH = 32  # texts in a forward pass
ALL_GPUS_FROM = 10_000  # with fewer texts one GPU is done before the processes for the others have started
SPECIAL_TOKENS = 8  # at most, that a tokenizer puts around a text


class Encoder:
    """A sentence-transformers model that is loaded only when a text is new.

    Vectors are cached in a file by the model's revision and the text's digest. A text longer than the model reads is
    encoded in windows, whose vectors are averaged by their number of tokens.

    A single process uses all GPUs it sees. Under `accelerate launch` or `torchrun` every process makes the same calls:
    each encodes its share of the new texts and gets all vectors, and the main process alone reads and writes the cache.

    Args:
        model: the model's folder and revision.
        cache: folder of the cached vectors.
        cached_roles: texts in other roles are encoded each time, by each process its own, and leave nothing on the
            disk.

    Example:
        >>> encoder = Encoder(fetch_model("thenlper/gte-large"))
        >>> encoder.encode(["Ada lived in London."], "document").shape
        torch.Size([1, 1024])
    """

    def __init__(self, model: "LocalModel", cache: Path = CACHE, cached_roles: Sequence[Role] = ("query", "document")):
        self.model, self.cache, self.cached_roles = model, cache, cached_roles

    def encode(self, texts: Sequence[str], role: Role) -> "torch.Tensor":
        """Encode texts.

        Args:
            role: whether the texts are searched for or searched through; models with prompts for the two differ.

        Returns:
            float32 unit vectors of shape (texts, dimension), on the CPU.

        Raises:
            UserError: the model can't be loaded.
        """
        from accelerate.utils import broadcast_object_list

        is_cached = role in self.cached_roles
        role = role if self._has_prompts else "document"
        if not is_cached:
            return self._encode(list(texts), role)
        state, store, new, vectors = distributed_state(), None, [], None
        if state.is_main_process:
            store = _VectorStore(self.cache / f"{self.model.revision}-{role}.safetensors")
            new = [text for text in dict.fromkeys(texts) if text not in store]
        (new,) = broadcast_object_list([new])
        if new:
            encoded = self._encode_in_shares(new, role)
            if store:
                store.add(new, encoded)
        if store:
            vectors = store.vectors_of(texts)
        (vectors,) = broadcast_object_list([vectors])
        return vectors

    @cached_property
    def _has_prompts(self) -> bool:
        config = self.model.path / "config_sentence_transformers.json"
        prompts = read_json(config).get("prompts") if config.is_file() else None
        return isinstance(prompts, dict) and any(prompts.values())

    @cached_property
    def _devices(self) -> list[str]:
        """This process's device under a distributed launch, else all devices of the machine."""
        import torch

        state = distributed_state()
        if state.num_processes > 1 or state.device.type == "cpu":
            return [str(state.device)]
        return [f"{state.device.type}:{i}" for i in range(torch.accelerator.device_count())]

    @cached_property
    def _transformer(self) -> "SentenceTransformer":
        from sentence_transformers import SentenceTransformer

        hide_loading_bars()
        try:
            return SentenceTransformer(str(self.model.path), device=self._devices[0])
        except Exception as error:  # each kind of module has its own
            if is_disk_full(error):
                raise
            raise UserError(f"encoder {self.model.path} can't be loaded: {error}") from None

    def _encode_in_shares(self, texts: list[str], role: Role) -> "torch.Tensor":
        """Each process encodes every n-th text; all get the vectors of all."""
        import torch
        from accelerate.utils import gather_object

        state = distributed_state()
        n = state.num_processes
        shares = gather_object([self._encode(texts[state.process_index :: n], role)])
        gathered = torch.cat(shares)
        places = [place for rank in range(n) for place in range(rank, len(texts), n)]
        vectors = torch.empty_like(gathered)
        vectors[places] = gathered
        return vectors

    def _encode(self, texts: Sequence[str], role: Role) -> "torch.Tensor":
        import torch

        if not texts:
            return torch.empty(0)
        model, windows, owners, tokens = self._transformer, [], [], []
        for owner, text in enumerate(texts):
            for window, count in _windows(text, model, model.prompts.get(role) or ""):
                windows.append(window)
                owners.append(owner)
                tokens.append(count)
        if len(windows) > len(texts) and role in self.cached_roles:
            logger.info(f"{len(windows) - len(texts)} more windows than texts: long texts are encoded in windows")
        with _worker_pool(model, self._devices, len(texts)) as pool:
            vectors = (model.encode_query if role == "query" else model.encode_document)(
                windows,
                batch_size=BATCH,
                pool=pool,
                convert_to_tensor=True,
                normalize_embeddings=True,
                show_progress_bar=len(windows) > 1000,
            ).cpu()
        summed = torch.zeros(len(texts), vectors.shape[1])
        summed.index_add_(0, torch.tensor(owners), vectors.float() * torch.tensor(tokens)[:, None])
        return torch.nn.functional.normalize(summed)


class _VectorStore:
    """Vectors by the digest of their text, in a safetensors file."""

    def __init__(self, file: Path) -> None:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self.file = file
        stored = {"keys": torch.empty(0), "vectors": torch.empty(0)}
        try:
            stored |= load_file(file) if file.exists() else {}
        except (OSError, SafetensorError) as error:
            logger.warning(f"{file} can't be read ({error}); its texts are encoded again")
        self.vectors = stored["vectors"]
        self.rows = {bytes(key): row for row, key in enumerate(stored["keys"].numpy())}

    def __contains__(self, text: str) -> bool:
        return _key(text) in self.rows

    def add(self, texts: Iterable[str], vectors: "torch.Tensor") -> None:
        """Add new texts, and write the file, completely or not at all."""
        import numpy as np
        import torch
        from safetensors.torch import save_file

        self.rows |= {_key(text): row for row, text in enumerate(texts, len(self.rows))}
        self.vectors = torch.cat([self.vectors, vectors])
        keys = np.frombuffer(bytearray(b"".join(self.rows)), dtype=np.uint8).reshape(len(self.rows), -1)
        with complete_file(self.file) as temporary:
            save_file({"keys": torch.from_numpy(keys), "vectors": self.vectors}, temporary)

    def vectors_of(self, texts: Sequence[str]) -> "torch.Tensor":
        return self.vectors[[self.rows[_key(text)] for text in texts]]


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


@contextmanager
def _worker_pool(model: "SentenceTransformer", devices: list[str], texts: int) -> Iterator[dict | None]:
    """One process for each device, where there are enough texts to keep them busy; else None."""
    pool = model.start_multi_process_pool(devices) if len(devices) > 1 and texts >= ALL_GPUS_FROM else None
    try:
        yield pool
    finally:
        if pool:
            model.stop_multi_process_pool(pool)


def _windows(text: str, model: "SentenceTransformer", prompt: str) -> list[tuple[str, int]]:
    """Pieces of a text that the model reads completely after the prompt, each with its number of tokens."""
    limit = model.max_seq_length
    # A token of ASCII text has at least one character. Other text can have more tokens than characters.
    if limit is None or limit > 10**6 or ((prompt + text).isascii() and len(prompt + text) + SPECIAL_TOKENS < limit):
        return [(text, 1)]
    room = limit - len(model.tokenizer(prompt).input_ids)
    offsets = model.tokenizer(
        text, return_offsets_mapping=True, add_special_tokens=False, truncation=False, verbose=False
    )["offset_mapping"]
    if len(offsets) <= room:
        return [(text, 1)]
    pieces = [offsets[start : start + room] for start in range(0, len(offsets), room)]
    return [(text[piece[0][0] : piece[-1][1]], len(piece)) for piece in pieces]
