"""Which directions are nearest to which, by cosine, with a bounded part of all cosines at once."""

from functools import partial, reduce
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from sae_lens_metrics.functional.block_topk import largest_by_blocks

__all__ = ["Nearest", "nearest_directions"]

_ROWS = 2**10
"""Rows at once at least, where there are so many others that all of their cosines would be too many."""
_SHORTEST = 1e-12
"""Length below which a direction is none."""


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
        at_once: Cosines that are held at once; there are n · m in all.
    """
    k = min(k, len(others) - (first is not None))
    if k < 1 or not len(rows):
        return Nearest(rows.new_zeros(len(rows), max(0, k)), torch.zeros(len(rows), max(0, k), dtype=torch.long, device=rows.device))
    tile = max(1, min(len(others), at_once // _ROWS))  # of the others: with few rows at once each would be read many times
    step = max(1, at_once // tile)
    lengths = others.norm(dim=-1).clamp_min(_SHORTEST)  # products are divided by these: there may be no room for rows of length 1
    found = []
    for start in range(0, len(rows), step):
        part = normalize(rows[start : start + step], dim=-1, eps=_SHORTEST)
        itself = None if first is None else first + start
        tiles = (_in_tile(part, others[at : at + tile], lengths[at : at + tile], at, itself, k) for at in range(0, len(others), tile))
        found.append(reduce(partial(_better, k), tiles))
    cosine, which = (torch.cat(column) for column in zip(*found, strict=True))
    return Nearest(cosine.clamp(-1, 1), which)


def _in_tile(part: Tensor, others: Tensor, lengths: Tensor, at: int, itself: int | None, k: int) -> Nearest:
    """The nearest among some of the others, which begin at a place; a row itself is below all that there can be."""
    cosines = (part @ others.T).div_(lengths)
    if itself is not None and -len(part) < itself - at < len(others):
        cosines.diagonal(itself - at).fill_(-2.0)
    cosine, which = largest_by_blocks(cosines, min(k, len(others)))
    return Nearest(cosine, which + at)


def _better(k: int, one: Nearest, other: Nearest) -> Nearest:
    """The k nearest of two tiles."""
    cosine, which = torch.cat([one.cosine, other.cosine], 1), torch.cat([one.which, other.which], 1)
    best = cosine.topk(min(k, cosine.shape[1]), dim=1)
    return Nearest(best.values, which.gather(1, best.indices))
