"""Random unit directions, as many as wanted, of which only a few are in memory at a time."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["BLOCK", "RandomDirections"]

BLOCK = 1024
"""Directions that one generator draws."""


class RandomDirections:
    """Directions of independent Gaussian components, scaled to length 1: uniform on the sphere.

    Every 1024 directions have a generator of their own. So the i-th direction depends on the seed, on i and on the dimension; not on
    how many are asked for at once, nor on how many there are, nor on the device.

    Args:
        d_in: The dimension.
        seed: Of the generators.
        device: Where the directions are wanted.
        keep_bytes: Memory for directions that need not be drawn again when they are asked for again.
    """

    def __init__(self, d_in: int, seed: int, device: torch.device, keep_bytes: int = 0) -> None:
        self._d_in, self._seed, self._device = d_in, seed, device
        self._most_kept = keep_bytes // (4 * BLOCK * d_in)
        self._kept: dict[int, Tensor] = {}

    @property
    def kept(self) -> list[int]:
        """The numbers of the blocks of directions that are in memory."""
        return sorted(self._kept)

    def columns(self, wanted: slice) -> Float[Tensor, "d_in wanted"]:
        """Some of the directions, each a column of length 1; start and stop of the slice must be given, its step must not."""
        first, last = wanted.start // BLOCK, (wanted.stop - 1) // BLOCK
        parts = [
            self._block(block)[:, max(0, wanted.start - block * BLOCK) : wanted.stop - block * BLOCK] for block in range(first, last + 1)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def _block(self, number: int) -> Float[Tensor, "d_in block"]:
        if number in self._kept:
            return self._kept[number]
        generator = torch.Generator().manual_seed((self._seed * 1_000_003 + number) % 2**63)
        directions = torch.randn(self._d_in, BLOCK, generator=generator)
        directions = directions.div_(directions.norm(dim=0)).to(self._device)
        if len(self._kept) < self._most_kept:
            self._kept[number] = directions
        return directions
