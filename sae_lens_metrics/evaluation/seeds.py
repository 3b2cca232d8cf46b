"""Where random numbers of an evaluation come from: a generator for each purpose, from the seed and the purpose's name alone."""

import zlib

import torch

__all__ = ["generator_of"]

_BITS = 2**32
"""PyTorch's generators on the CPU start from the lower 32 bits of a seed, and take no notice of the rest."""
_SPREAD = 0x9E3779B1
"""Odd, so that no two seeds meet."""


def generator_of(seed: int, purpose: str) -> torch.Generator:
    """A generator whose numbers differ between seeds, and between purposes.

    Args:
        seed: The evaluation's, 0 to 2³¹ - 1.
        purpose: What is drawn, such as a metric's name.
    """
    return torch.Generator().manual_seed((seed * _SPREAD % _BITS) ^ zlib.crc32(purpose.encode()))
