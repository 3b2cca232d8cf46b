"""Which of some disjoint candidates say best where latents fire: by F1, which a threshold on their precision makes largest."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.functional.statistics import widest_float

__all__ = ["Chosen", "best_by_f1", "bits_above", "entropies", "shrunken", "surprise"]

_WEIGHT = 1.0
"""Places that what is expected beforehand counts as."""
_UNIT = 2**20
"""Parts of a place in which expected hits are counted."""


class Chosen(NamedTuple):
    """A choice of candidates for each group."""

    which: Bool[Tensor, "candidates"]
    f1: Float[Tensor, "groups"]
    """The F1 that is expected of it; a candidate gains exactly where its precision is above half of that."""


def surprise(hits: Tensor, count: Tensor) -> Float[Tensor, "n"]:
    """Bits that it takes to say which ``hits`` of ``count`` there are at their own rate: count H(hits / count).

    Args:
        hits: [n].
        count: [n], none below its hits.
    """
    h, n = (each.to(widest_float(count.device)) for each in (hits, count))
    misses = n - h
    return (torch.special.xlogy(n, n) - torch.special.xlogy(h, h) - torch.special.xlogy(misses, misses)) * _PER_NAT


def bits_above(hits: Tensor, count: Tensor, rate: Tensor) -> Float[Tensor, "n"]:
    """Bits that are saved where ``hits`` of ``count`` are told at their own rate instead of at another one; 0 where theirs is lower.

    Args:
        hits: [n].
        count: [n].
        rate: The other rate, above 0 and below 1, [n].
    """
    h, n = (each.to(widest_float(count.device)) for each in (hits, count))
    saved = -(h * rate.log() + (n - h) * torch.log1p(-rate)) * _PER_NAT - surprise(hits, count)
    return saved.where(h > rate * n, 0)


def entropies(values: Int[Tensor, "n"], group: Int[Tensor, "n"], groups: int) -> Float[Tensor, "groups"]:
    """Entropy of the values of each group, in bits, from their shares: log2 n - Σ c log2(c) / n; 0 for a group without any.

    Args:
        values: None negative.
        group: The group of each.
        groups: How many groups there are.
    """
    precise = widest_float(values.device)
    n = torch.bincount(group, minlength=groups).to(precise)
    if len(values) == 0:
        return n
    key, count = (group * (int(values.max()) + 1) + values).unique(return_counts=True)
    told = torch.special.xlogy(count.to(precise), count.to(precise))
    told = torch.zeros_like(n).index_add_(0, key // (int(values.max()) + 1), told)
    return ((torch.special.xlogy(n, n) - told) / n.clamp_min(1) * _PER_NAT).clamp_min(0)


def shrunken(hits: Tensor, count: Tensor, rate: Tensor) -> Float[Tensor, "n"]:
    """A rate as it is to be expected on other text: drawn towards what it would be without the candidate.

    Args:
        hits: [n].
        count: [n].
        rate: What is expected without it, [n].
    """
    return (hits + _WEIGHT * rate) / (count + _WEIGHT)


def best_by_f1(
    precision: Float[Tensor, "candidates"], count: Int[Tensor, "candidates"], group: Int[Tensor, "candidates"], fired: Int[Tensor, "groups"]
) -> Chosen:
    """The set of disjoint candidates with the largest F1, for each group: those of the highest precision, as many as are best.

    F1 = 2 Σ hits / (Σ count + fired). Of two sets with as many places in all the one with more hits is better; so the best set is one of
    those that a threshold on precision gives, and it holds just the candidates with a precision above half of its F1.

    Args:
        precision: Share of a candidate's places where its group fires.
        count: Its places.
        group: Its group.
        fired: How often each group fires in all.
    """
    precise = widest_float(count.device)
    order = precision.argsort(descending=True, stable=True)
    order = order[group[order].argsort(stable=True)]
    of = group[order]
    hits = (count[order] * precision[order] * _UNIT).round().long()
    hits, places = (_within(each, of, len(fired)) for each in (hits, count[order]))
    f1 = 2 * (hits.to(precise) / _UNIT) / (places + fired[of]).clamp_min(1)
    best = torch.zeros(len(fired), dtype=precise, device=f1.device).scatter_reduce_(0, of, f1, "amax")
    index = torch.arange(len(of), device=of.device)
    candidates = torch.where(f1 == best[of], index, len(of))
    last = torch.full((len(fired),), -1, device=of.device).scatter_reduce_(0, of, candidates, "amin", include_self=False)
    which = torch.zeros_like(of, dtype=torch.bool)
    which[order] = (index <= last[of]) & (best[of] > 0)
    return Chosen(which, best)


def _within(values: Int[Tensor, "n"], group: Int[Tensor, "n"], groups: int) -> Int[Tensor, "n"]:
    """Cumulative sums within groups, which come one after the other; of whole numbers, as no group must move another one's by rounding."""
    total = torch.zeros(groups, dtype=values.dtype, device=values.device).index_add_(0, group, values)
    return values.cumsum(0) - (total.cumsum(0) - total)[group]


_PER_NAT = 1.4426950408889634
