"""Which rows of integers are alike, by hashes."""

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["distinct", "ends", "hash_rows", "hash_weights"]


def hash_weights(tokens: Int[Tensor, "rows columns"]) -> Int[Tensor, "2 columns"]:
    """Odd 64-bit numbers, the same each time."""
    generator = torch.Generator().manual_seed(0)
    return (torch.randint(-(2**62), 2**62, (2, tokens.shape[1]), generator=generator) * 2 + 1).to(tokens.device)


def hash_rows(tokens: Int[Tensor, "rows columns"], weights: Int[Tensor, "columns"]) -> Int[Tensor, "rows"]:
    """Weighted sums that wrap around."""
    total = weights.new_zeros(len(tokens))
    for column, weight in zip(tokens.unbind(1), weights, strict=True):  # one after the other, to hold no matrix of 64-bit numbers
        total += column.long() * weight
    return total


def distinct(hashes: Int[Tensor, "2 rows"]) -> tuple[Int[Tensor, "distinct"], Int[Tensor, "rows"]]:
    """The first of each kind of row, and which kind each row is; two independent hashes decide what is alike."""
    kinds, kind = hashes[0].unique(return_inverse=True)
    first = ends(kind, len(kinds), "amin")
    if bool((hashes[1][first][kind] != hashes[1]).any()):  # the first hash alone took two different rows for one
        kinds, kind = hashes.unique(dim=1, return_inverse=True)
        first = ends(kind, kinds.shape[1], "amin")
    return first, kind


def ends(kind: Int[Tensor, "rows"], kinds: int, which: str) -> Int[Tensor, "kinds"]:
    """The first ("amin") or the last ("amax") row of each kind."""
    index = torch.arange(len(kind), device=kind.device)
    return index.new_zeros(kinds).scatter_reduce(0, kind, index, which, include_self=False)
