"""Which directions are nearest to which, by cosine, with a bounded part of all cosines at once."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from sae_lens_metrics.functional.block_topk import largest_by_blocks

__all__ = ["Nearest", "nearest_directions"]


class Nearest(NamedTuple):
    """The directions nearest to each of some."""

    cosine: Float[Tensor, "n k"]
    """Cosines in falling order, from -1 to 1; 0 where either direction has length 0."""
    which: Int[Tensor, "n k"]
    """Which directions these are; of equally near ones any."""


@torch.no_grad()
def nearest_directions(
    rows: Float[Tensor, "n d"], others: Float[Tensor, "m d"], *, first: int | None = None, k: int = 1, at_once: int = 2**25
) -> Nearest:
    """The k directions with the largest cosine to each row.

    A cosine does not depend on a direction's length, and so not on the unit of the latent that it belongs to.

    Args:
        rows: Directions of any length.
        others: Directions to look among.
        first: Where the rows begin among the others, if they are some of these: none is its own neighbour then.
        k: How many; fewer come back where there are fewer to look among.
        at_once: Cosines that are held at once, but for one row of them at least; there are n · m in all.
    """
    k = min(k, len(others) - (first is not None))
    if k < 1 or not len(rows):
        return Nearest(rows.new_zeros(len(rows), max(0, k)), torch.zeros(len(rows), max(0, k), dtype=torch.long, device=rows.device))
    among = normalize(others, dim=-1)
    found = [largest_by_blocks(cosines, k) for cosines in _cosines(rows, among, first, max(1, at_once // len(among)))]
    cosine, which = (torch.cat(column) for column in zip(*found, strict=True))
    return Nearest(cosine.clamp(-1, 1), which)


def _cosines(rows: Tensor, among: Tensor, first: int | None, step: int) -> Iterator[Float[Tensor, "part m"]]:
    """Cosines of some rows at a time with all others; those of rows with themselves are below all that there can be."""
    for start in range(0, len(rows), step):
        cosines = normalize(rows[start : start + step], dim=-1) @ among.T
        if first is not None:
            cosines.diagonal(first + start).fill_(-2.0)
        yield cosines
