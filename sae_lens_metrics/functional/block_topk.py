"""The few largest of many long rows, by way of the largest of each block."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["largest_by_blocks"]

_BLOCK = 256


def largest_by_blocks(values: Float[Tensor, "rows n"], k: int) -> tuple[Float[Tensor, "rows k"], Int[Tensor, "rows k"]]:
    """The k largest of each row, in falling order, and where they are; as `torch.topk`, which reads every value many times on a GPU.

    The k largest are in the k blocks with the largest maxima: one read for these, and all else is on a few blocks.

    Args:
        values: Finite numbers.
        k: At most n. Of equal numbers any may be taken.
    """
    rows, n = values.shape
    blocks = -(-n // _BLOCK)
    if blocks <= 2 * k:
        return values.topk(k)
    parts = torch.nn.functional.pad(values, (0, blocks * _BLOCK - n), value=-torch.inf).view(rows, blocks, _BLOCK)
    chosen = parts.amax(-1).topk(k).indices
    among = parts.gather(1, chosen[..., None].expand(-1, -1, _BLOCK)).flatten(1).topk(k)
    return among.values, chosen.gather(1, among.indices // _BLOCK) * _BLOCK + among.indices % _BLOCK
