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
    buffer = torch.empty(len(blocks[0]), len(pool), device=device)  # fresh pages for each block would cost time
    scores = torch.empty(len(queries), count)
    positions = torch.empty(len(queries), count, dtype=torch.int64)
    done = 0
    for block in tqdm(blocks, desc="Searching", disable=len(blocks) < 10, unit="block"):
        rows = slice(done, done := done + len(block))
        scores[rows], positions[rows] = _rank(torch.mm(block, pool.T, out=buffer[: len(block)]), count)
    return scores, positions


def _rank(scores: "torch.Tensor", count: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """The `count` best of each row; torch.topk chooses and orders among equal scores as it likes, so that is mended."""
    import torch

    # One more than asked for: where it equals the last place, more deserve a place than there are places.
    best, positions = torch.topk(scores, min(count + 1, scores.shape[1]), dim=1)
    if best.shape[1] > count:
        for row in (best[:, -1] == best[:, -2]).nonzero()[:, 0].tolist():
            positions[row, :count] = torch.sort(scores[row], descending=True, stable=True).indices[:count]
    positions = positions[:, :count].sort(dim=1).values
    best, order = torch.sort(scores.gather(1, positions), dim=1, descending=True, stable=True)
    return best, positions.gather(1, order)
