"""Consecutive rows of a table that have few different keys between them."""

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["runs_of_rows"]


def runs_of_rows(keys: Int[Tensor, "rows columns"], most: int) -> list[slice]:
    """Cuts rows into runs, as long as possible, of which each has at most so many different keys.

    Args:
        keys: [rows, columns].
        most: Different keys of a run, at most; a single row may have more.

    Returns:
        Slices of rows, in order, that hold each row once.
    """
    before = _row_before(keys)
    runs, first, held = [], 0, 0
    for row in range(len(keys)):
        held += int((before[row] < first).sum())  # those that the run has not seen yet
        if held > most and row > first:
            runs.append(slice(first, row))
            first, held = row, int((before[row] < row).sum())
    return [*runs, slice(first, len(keys))] if len(keys) else []


def _row_before(keys: Int[Tensor, "rows columns"]) -> Int[Tensor, "rows columns"]:
    """The row in which each key came last before, or its own where it came there already; -1 where it never did."""
    ordered, order = keys.flatten().sort(stable=True)
    row = order // keys.shape[1]
    repeats = ordered[1:] == ordered[:-1]
    earlier = torch.full_like(row, -1)
    earlier[1:] = torch.where(repeats, row[:-1], -1)
    return torch.empty_like(earlier).index_copy_(0, order, earlier).view_as(keys)
