"""Texts to vectors, with sentence-transformers."""

from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    import torch


def encode(texts: list[str], model_name_or_path: str) -> "torch.Tensor":
    """Return unit vectors, float32 of shape (len(texts), dimension), on the encoder's device.

    Raises:
        UserError: the encoder can't be loaded.
    """
    from sentence_transformers import SentenceTransformer

    try:
        encoder = SentenceTransformer(model_name_or_path)
    except (OSError, ValueError) as error:
        raise UserError(f"encoder {model_name_or_path!r} can't be loaded: {error}") from None
    return encoder.encode(
        texts, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=len(texts) > 1000
    ).float()
