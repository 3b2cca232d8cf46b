"""Counts of sparse keys."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Tally", "best_of_groups", "find", "spread"]


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
        place = find(self.key, key)
        return torch.where(place >= 0, self.number[place], 0)

    def holds(self, key: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
        """Which keys come."""
        return self.at(key) > 0


def find(keys: Int[Tensor, "keys"], key: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
    """Where some keys are among ascending ones; -1 for those that are not.

    Args:
        keys: Ascending, each once.
        key: Those that are looked for.
    """
    if len(keys) == 0:
        return torch.full_like(key, -1)
    place = torch.searchsorted(keys, key).clamp_max(len(keys) - 1)
    return torch.where(keys[place] == key, place, -1)


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


def spread(first: Int[Tensor, "n"], count: Int[Tensor, "n"]) -> tuple[Int[Tensor, "entries"], Int[Tensor, "entries"]]:
    """The entries first, first + 1, … of each run: which of the runs, and the entry.

    Args:
        first: The first entry of each run.
        count: How many it has.
    """
    of = torch.arange(len(first), device=first.device).repeat_interleave(count)
    within = torch.arange(len(of), device=first.device) - (count.cumsum(0) - count)[of]
    return of, first[of] + within
