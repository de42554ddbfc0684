"""Exact nearest neighbours, block by block."""

from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    import torch

BLOCK_SCORES = 2**26  # scores held at a time: 256 MB in float32


def nearest(queries: "torch.Tensor", pool: "torch.Tensor", count: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Rank the pool for each query by inner product, equal scores by position in the pool.

    Args:
        queries: unit vectors, (n, dimension).
        pool: unit vectors, (m, dimension).
        count: how many to return; at most m are.

    Returns:
        scores and positions on the CPU, each (n, min(count, m)), best first. Memory is that and one block.
    """
    import torch

    # Without the check a CUDA build of torch names a device on machines that have none.
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    pool, queries = pool.to(device), queries.to(device)
    count = min(count, len(pool))
    blocks = queries.split(max(1, BLOCK_SCORES // len(pool)))
    ranked = [
        _rank(block @ pool.T, count) for block in tqdm(blocks, desc="Searching", disable=len(blocks) < 10, unit="block")
    ]
    return torch.cat([scores for scores, _ in ranked]), torch.cat([positions for _, positions in ranked])


def _rank(scores: "torch.Tensor", count: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """The `count` best of each row; torch.topk chooses and orders among equal scores as it likes, so that is mended."""
    import torch

    best, positions = torch.topk(scores, count, dim=1)
    tied = (scores >= best[:, -1:]).sum(dim=1) > count  # more deserve a place than there are places
    for row in tied.nonzero()[:, 0].tolist():
        positions[row] = torch.sort(scores[row], descending=True, stable=True).indices[:count]
    positions = positions.sort(dim=1).values
    best, order = torch.sort(scores.gather(1, positions), dim=1, descending=True, stable=True)
    return best.cpu(), positions.gather(1, order).cpu()
