"""Exact nearest neighbours."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BLOCK = 1024  # queries a matrix product: bounds memory to BLOCK x pool scores


def nearest(queries: "torch.Tensor", pool: "torch.Tensor", count: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Rank the pool for each query by inner product, ties broken by position in the pool.

    Args:
        queries: unit vectors, (n, dimension).
        pool: unit vectors, (m, dimension).
        count: how many to return; at most m are.

    Returns:
        scores and positions, each (n, min(count, m)), best first.
    """
    import torch

    scores, positions = [], []
    for block in queries.split(BLOCK):
        # A stable sort keeps equal scores in pool order, which torch.topk does not promise.
        block_scores, block_positions = torch.sort(block @ pool.T, dim=1, descending=True, stable=True)
        scores.append(block_scores[:, :count].cpu())
        positions.append(block_positions[:, :count].cpu())
    return torch.cat(scores), torch.cat(positions)
