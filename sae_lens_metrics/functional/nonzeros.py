"""Where a large mask is true, in parts of bounded size."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = ["AT_ONCE", "nonzeros"]

AT_ONCE = 2**21
"""About how many entries make a part."""


def nonzeros(mask: Bool[Tensor, "rows columns"], at_once: int | None = None) -> Iterator[tuple[Int[Tensor, "n"], Int[Tensor, "n"]]]:
    """The rows and columns of true entries, in parts of a few million at most.

    Args:
        mask: [rows, columns].
        at_once: About how many entries a part may have, by default ``AT_ONCE``.
    """
    parts = math.ceil(int(mask.sum()) / (at_once or AT_ONCE)) or 1
    for rows in torch.arange(len(mask), device=mask.device).chunk(parts):
        row, column = mask[rows].nonzero(as_tuple=True)
        yield rows[row], column
