"""Putting things in another order, so that none keeps its place."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

__all__ = ["cyclic_permutation", "permuted_directions"]


def cyclic_permutation(n: int, generator: torch.Generator) -> Int[Tensor, "n"]:
    """A random permutation of a single cycle, each of the (n - 1)! equally likely: no element keeps its place, unless it is alone.

    Args:
        n: How many elements, at least 1.
        generator: Where the random numbers come from, on the CPU.

    Returns:
        For each place, which element comes there.
    """
    order = torch.randperm(n, generator=generator)
    permutation = torch.empty_like(order)
    permutation[order] = order.roll(1)
    return permutation


def permuted_directions(rows: Float[Tensor, "n d"], permutation: Int[Tensor, "n"]) -> Float[Tensor, "n d"]:
    """Gives each row the direction of another one; its length, which holds the unit of what it is multiplied with, it keeps.

    So to multiply a latent by c and to divide its row by c, which changes nothing, changes nothing here either.

    Args:
        rows: The rows; one of length 0 stays 0, and what would take its direction becomes 0.
        permutation: For each row, whose direction it takes.
    """
    return normalize(rows, dim=-1)[permutation] * rows.norm(dim=-1, keepdim=True)
