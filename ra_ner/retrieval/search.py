"""Exact nearest neighbours of vectors, computed block by block."""

from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    import torch

BLOCK_SCORES = 2**26  # scores in memory at a time: 256 MB in float32


def nearest(queries: "torch.Tensor", pool: "torch.Tensor", count: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Rank the pool for each query by inner product. Equal scores rank by position in the pool.

    Runs on the GPU if there is one. Beyond its inputs and results it needs memory for `BLOCK_SCORES` scores.

    Args:
        queries: unit vectors, shape (n, dimension).
        pool: unit vectors, shape (m, dimension), m > 0.
        count: how many of the pool to return for each query.

    Returns:
        Scores (float32) and positions in the pool (int64), each of shape (n, min(count, m)), on the CPU, best first.
    """
    import torch

    # check_available: without it a CUDA build of torch names a device on machines without a GPU.
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    pool, queries = pool.to(device), queries.to(device)
    count = min(count, len(pool))
    rows = max(1, BLOCK_SCORES // len(pool))  # of queries in a block
    buffer = torch.empty(min(rows, len(queries)), len(pool), device=device)  # one for all blocks: allocating is slow
    scores = torch.empty(len(queries), count)
    positions = torch.empty(len(queries), count, dtype=torch.int64)
    starts = range(0, len(queries), rows)
    for start in tqdm(starts, desc="Searching", disable=len(starts) < 10, unit="block"):
        block = queries[start : start + rows]
        block_scores = torch.mm(block, pool.T, out=buffer[: len(block)])
        scores[start : start + rows], positions[start : start + rows] = _rank(block_scores, count)
    return scores, positions


def _rank(scores: "torch.Tensor", count: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """The `count` highest scores of each row and their positions, equal scores by position.

    torch.topk picks any of equal scores, in any order. Both are corrected here.
    """
    import torch

    best, positions = torch.topk(scores, min(count + 1, scores.shape[1]), dim=1)
    if best.shape[1] > count:  # rows whose last place is tied with the next one: topk may have picked the wrong ones
        for row in (best[:, -1] == best[:, -2]).nonzero()[:, 0].tolist():
            positions[row, :count] = torch.sort(scores[row], descending=True, stable=True).indices[:count]
    positions = positions[:, :count].sort(dim=1).values
    best, order = torch.sort(scores.gather(1, positions), dim=1, descending=True, stable=True)
    return best, positions.gather(1, order)
