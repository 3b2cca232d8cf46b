"""Splitting labelled examples into a half to fit on and a half to test on."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from sae_lens_metrics.functional.logistic import ProbeInputError

__all__ = ["fit_half", "shuffled_within"]

_ATTEMPTS = 100
"""Orders of the groups to try."""


def fit_half(y: Bool[Tensor, "n"], groups: Sequence[int] | None, generator: torch.Generator) -> Bool[Tensor, "n"]:
    """Chooses the half of the examples to fit on; the others are held out.

    Without groups it is half of each class, rounded up, so that both halves are as balanced as the whole. With groups it is whole groups
    in random order until half of the examples are in; of many orders, one whose halves are balanced most alike.

    Args:
        y: The labels.
        groups: For each example the number of its group; a group is never on both sides.
        generator: Draws the halves.

    Returns:
        True for the examples to fit on.

    Raises:
        ProbeInputError: If both halves cannot have examples of both classes.
    """
    if groups is None:
        fit = _half_of_each_class(y, generator)
        if _both_classes(y, fit):
            return fit
    else:
        members = torch.tensor(groups).unique(return_inverse=True)[1]
        halves = [_half_of_groups(members, generator) for _ in range(_ATTEMPTS)]
        possible = [fit for fit in halves if _both_classes(y, fit)]
        if possible:
            return min(possible, key=lambda fit: abs(float(y[fit].double().mean() - y[~fit].double().mean())))
    what = "examples" if groups is None else "groups"
    raise ProbeInputError(f"its {what} cannot be split into halves that hold both classes each: it needs at least two {what} of each")


def _half_of_each_class(y: Bool[Tensor, "n"], generator: torch.Generator) -> Bool[Tensor, "n"]:
    fit = torch.zeros(len(y), dtype=torch.bool)
    for label in (False, True):
        members = (y == label).nonzero()[:, 0]
        fit[members[torch.randperm(len(members), generator=generator)[: (len(members) + 1) // 2]]] = True
    return fit


def _half_of_groups(members: Tensor, generator: torch.Generator) -> Bool[Tensor, "n"]:
    sizes = members.bincount()
    order = torch.randperm(len(sizes), generator=generator)
    before = sizes[order].cumsum(0) - sizes[order]
    return torch.isin(members, order[2 * before < len(members)])


def _both_classes(y: Bool[Tensor, "n"], fit: Bool[Tensor, "n"]) -> bool:
    return all(len(half.unique()) == 2 for half in (y[fit], y[~fit]))


def shuffled_within(y: Bool[Tensor, "n"], fit: Bool[Tensor, "n"], generator: torch.Generator) -> Bool[Tensor, "n"]:
    """The labels in random order within each half, so that a half's balance stays what it is."""
    shuffled = y.clone()
    for half in (fit, ~fit):
        shuffled[half] = y[half][torch.randperm(int(half.sum()), generator=generator)]
    return shuffled
