"""Where a large mask is true, in parts of bounded size."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = ["nonzeros"]

_AT_ONCE = 2**21


def nonzeros(mask: Bool[Tensor, "rows columns"]) -> Iterator[tuple[Int[Tensor, "n"], Int[Tensor, "n"]]]:
    """The rows and columns of true entries, about two million of them at once.

    Args:
        mask: [rows, columns].
    """
    parts = math.ceil(int(mask.sum()) / _AT_ONCE) or 1
    for rows in torch.arange(len(mask), device=mask.device).chunk(parts):
        row, column = mask[rows].nonzero(as_tuple=True)
        yield rows[row], column
