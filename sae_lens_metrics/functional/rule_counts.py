"""Counts of sparse keys."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Tally", "best_of_groups"]


class Tally(NamedTuple):
    """How often each key comes."""

    key: Int[Tensor, "keys"]
    """Ascending, each once."""
    number: Int[Tensor, "keys"]

    @classmethod
    def of(cls, key: Int[Tensor, "n"]) -> "Tally":
        """Counts keys."""
        return cls(*torch.unique_consecutive(key.sort().values, return_counts=True))

    def at(self, key: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        """How often some keys come; 0 for others."""
        if len(self.key) == 0:
            return torch.zeros_like(key)
        place = torch.searchsorted(self.key, key).clamp_max(len(self.key) - 1)
        return torch.where(self.key[place] == key, self.number[place], 0)

    def holds(self, key: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
        """Which keys come."""
        return self.at(key) > 0


def best_of_groups(score: Float[Tensor, "n"], group: Int[Tensor, "n"], groups: int) -> Bool[Tensor, "n"]:
    """Marks the largest score of each group, the first of equal ones.

    Args:
        score: Finite.
        group: The group of each.
        groups: How many groups there are.
    """
    largest = torch.full((groups,), -torch.inf, dtype=score.dtype, device=score.device).scatter_reduce_(0, group, score, "amax")
    index = torch.arange(len(score), device=score.device)
    candidates = torch.where(score == largest[group], index, len(score))
    first = torch.full((groups,), len(score), device=score.device).scatter_reduce_(0, group, candidates, "amin")
    return first[group] == index
