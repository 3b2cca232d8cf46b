"""Standard errors by leaving groups of sampling units out."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["GROUPS", "jackknife_stderr", "jackknife_variance", "jackknife_variance_of_mean", "random_groups"]

GROUPS = 20
"""Groups that units are put into: enough for an error that is itself known to some 16 %."""


def random_groups(units: Int[Tensor, "n"], groups: int, *, seed: int) -> Int[Tensor, "n"]:
    """Puts sampling units into groups of nearly equal numbers of units, at random.

    Args:
        units: The unit of each member, counted from 0 without gaps.
        groups: How many groups; fewer where there are fewer units.
        seed: Chooses them.

    Returns:
        The group of each member's unit.
    """
    n = int(units.max()) + 1
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return (order % min(groups, n))[units]


def jackknife_stderr(without: Sequence[float]) -> float | None:
    """The delete-a-group jackknife: sqrt((G - 1) / G Σ (θ_g - mean θ)²) (Kott, Journal of Official Statistics 17, 2001).

    Args:
        without: θ_g, the statistic without each of G groups of sampling units that share nothing.

    Returns:
        The standard error of the statistic on all units; ``None`` for fewer than two groups.
    """
    n = len(without)
    if n < 2:
        return None
    mean = math.fsum(without) / n
    return math.sqrt((n - 1) / n * math.fsum((value - mean) ** 2 for value in without))


def jackknife_variance(without: Float[Tensor, "groups *n"]) -> Float[Tensor, "*n"]:
    """The square of ``jackknife_stderr``, of many statistics at once.

    Args:
        without: θ_g of each of them, the first dimension being that of two groups at least.
    """
    n = len(without)
    return (n - 1) / n * (without - without.mean(0)).square().sum(0)


def jackknife_variance_of_mean(without: Float[Tensor, "groups some"], members: int) -> float:
    """The jackknife variance of a mean over members of which only some, drawn at random, were computed without each group of units.

    What groups move in all members alike stays, whatever their number; what they move in each by itself is divided by it.

    Args:
        without: Of each of those members, the statistic without each of two groups at least.
        members: How many members the mean is over; as many as there are here or more.
    """
    some = without.shape[1]
    own, together = float(jackknife_variance(without).mean()), float(jackknife_variance(without.mean(1)))
    shared = together if some == 1 else max(0.0, (together - own / some) / (1 - 1 / some))
    return own / members + (1 - 1 / members) * shared
