"""How alike the members of a group are: the intraclass correlation, by the analysis of variance."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["intraclass_correlation"]


def intraclass_correlation(values: Float[Tensor, "n"], groups: Int[Tensor, "n"]) -> float | None:
    """The correlation of two members of one group, by the analysis of variance of groups of any sizes.

    With k groups of sizes n_i, N members, B the mean square between groups, W the one within groups and
    n_0 = (N - Σ n_i² / N) / (k - 1), it is (B - W) / (B + (n_0 - 1) W) (Donner 1986, International Statistical Review 54, section 2), at
    most 1; below 0 where members of one group differ more than those of several.

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
    return (of_groups - of_members) / total


def _mean_squares(values: Float[Tensor, "n"], groups: Int[Tensor, "n"]) -> tuple[float, float]:
    """B and W of the analysis of variance."""
    sizes = groups.bincount().double()
    means = torch.zeros_like(sizes).index_add(0, groups, values) / sizes.clamp_min(1)
    there = int((sizes > 0).sum())
    between = (sizes * (means - values.mean()).square()).sum() / (there - 1)
    return float(between), float((values - means[groups]).square().sum() / (len(values) - there))
