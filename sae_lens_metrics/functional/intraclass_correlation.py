"""How alike the members of a group are: the intraclass correlation, by the analysis of variance."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["IntraclassCorrelation", "intraclass_correlation"]


class IntraclassCorrelation(NamedTuple):
    """A correlation of the members of a group, and its standard error."""

    value: float
    """At most 1; 0 where members of one group are no more alike than those of several."""
    stderr: float
    """For many groups; with few of them it is rough."""


def intraclass_correlation(values: Float[Tensor, "n"], groups: Int[Tensor, "n"]) -> IntraclassCorrelation | None:
    """The correlation of two members of one group, by the analysis of variance of groups of any sizes, and its standard error.

    With k groups of sizes n_i, N members, B the mean square between groups, W the one within groups and
    n_0 = (N - Σ n_i² / N) / (k - 1), it is (B - W) / (B + (n_0 - 1) W) (Donner 1986, International Statistical Review 54, section 2), at
    most 1; below 0 where members of one group differ more than those of several. The error is Smith's, for normal values and many groups
    (Smith 1956, Annals of Human Genetics 21).

    Args:
        values: A number for each member.
        groups: Its group, a number from 0.

    Returns:
        ``None`` where nothing can be known: fewer than two groups, no group of two, or no value that differs from another.
    """
    sizes = groups.bincount()
    sizes = sizes[groups.unique()].double()
    between, within = len(sizes) - 1, len(values) - len(sizes)
    if between < 1 or within < 1:
        return None
    of_groups, of_members = _mean_squares(values.double(), groups)
    typical = float((len(values) - sizes.square().sum() / len(values)) / between)
    total = of_groups + (typical - 1) * of_members
    if total <= 0:
        return None
    correlation = (of_groups - of_members) / total
    return IntraclassCorrelation(correlation, _error(correlation, typical, sizes))


def _mean_squares(values: Float[Tensor, "n"], groups: Int[Tensor, "n"]) -> tuple[float, float]:
    """B and W of the analysis of variance."""
    sizes = groups.bincount().double()
    means = torch.zeros_like(sizes).index_add(0, groups, values) / sizes.clamp_min(1)
    there = int((sizes > 0).sum())
    between = (sizes * (means - values.mean()).square()).sum() / (there - 1)
    return float(between), float((values - means[groups]).square().sum() / (len(values) - there))


def _error(rho: float, typical: float, sizes: Float[Tensor, "k"]) -> float:
    n, k, squares = float(sizes.sum()), len(sizes), float(sizes.square().sum())
    unequal = squares - 2 * float(sizes.pow(3).sum()) / n + (squares / n) ** 2
    within = (1 + rho * (typical - 1)) ** 2 / (n - k)
    between = ((k - 1) * (1 - rho) * (1 + rho * (2 * typical - 1)) + rho**2 * unequal) / (k - 1) ** 2
    return (1 - rho) / typical * (2 * max(0.0, within + between)) ** 0.5
