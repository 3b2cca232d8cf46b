"""Splitting labelled examples into halves and folds, to fit on some and test on others."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sae_lens_metrics.functional.logistic import ProbeInputError

__all__ = ["fit_half", "fold_numbers", "shuffled_within"]

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
        members = _in_random_order((y == label).nonzero()[:, 0], generator)
        fit[members[: (len(members) + 1) // 2]] = True
    return fit


def _half_of_groups(members: Tensor, generator: torch.Generator) -> Bool[Tensor, "n"]:
    sizes = members.bincount()
    order = torch.randperm(len(sizes), generator=generator)
    before = sizes[order].cumsum(0) - sizes[order]
    return torch.isin(members, order[2 * before < len(members)])


def _both_classes(y: Bool[Tensor, "n"], fit: Bool[Tensor, "n"]) -> bool:
    return all(len(half.unique()) == 2 for half in (y[fit], y[~fit]))


def fold_numbers(y: Bool[Tensor, "n"], groups: Sequence[int] | None, generator: torch.Generator, *, folds: int = 5) -> Int[Tensor, "n"]:
    """Splits examples into folds of like sizes, each to be left out once when something is chosen by cross-validation.

    Without groups each fold has its share of each class. With groups it has whole groups, as long as all other folds together then hold
    both classes; with so few groups that they do not, groups are split.

    Args:
        y: The labels.
        groups: For each example the number of its group.
        generator: Draws the folds.
        folds: How many; fewer where there are fewer groups.

    Returns:
        For each example the number of its fold.
    """
    if groups is not None:
        members = torch.tensor(groups).unique(return_inverse=True)[1]
        found = _folds_of_groups(members, generator, folds)
        if all(len(y[found != fold].unique()) == 2 for fold in found.unique()):
            return found
    found = torch.empty(len(y), dtype=torch.long)
    by_class = torch.cat([_in_random_order((y == label).nonzero()[:, 0], generator) for label in (False, True)])
    found[by_class] = torch.arange(len(y)) % folds
    return found


def _folds_of_groups(members: Int[Tensor, "n"], generator: torch.Generator, folds: int) -> Int[Tensor, "n"]:
    """Each group goes to the fold that is smallest so far, the largest groups first."""
    sizes = members.bincount()
    order = _in_random_order(torch.arange(len(sizes)), generator)
    order = order[sizes[order].argsort(descending=True, stable=True)]
    of_groups, filled = torch.empty_like(sizes), torch.zeros(folds, dtype=torch.long)
    for group in order:
        of_groups[group] = filled.argmin()
        filled[of_groups[group]] += sizes[group]
    return of_groups[members]


def _in_random_order(values: Tensor, generator: torch.Generator) -> Tensor:
    return values[torch.randperm(len(values), generator=generator)]


def shuffled_within(
    y: Bool[Tensor, "n"], fit: Bool[Tensor, "n"], groups: Sequence[int] | None, generator: torch.Generator
) -> Bool[Tensor, "n"]:
    """The labels in random order within each half, so that nothing can be known about them.

    What luck finds depends on how many labels are independent. Where all examples of a group have one label, as texts of one document
    may, there are only as many as groups: whole groups then change their labels. Where groups are of several sizes it is, of many orders,
    one in which a half is balanced most nearly as it was; elsewhere a half's balance stays exactly what it is.

    Args:
        y: The labels.
        fit: True for the examples of the one half.
        groups: For each example the number of its group; no group is in both halves.
        generator: Draws the orders.
    """
    singly = torch.arange(len(y))
    members = singly if groups is None else torch.tensor(groups)
    members = members if _constant_within(y, members) else singly
    shuffled = y.clone()
    for half in (fit, ~fit):
        shuffled[half] = _shuffled_groups(y[half], members[half].unique(return_inverse=True)[1], generator)
    return shuffled


def _constant_within(y: Bool[Tensor, "n"], members: Int[Tensor, "n"]) -> bool:
    """Whether the examples of each group have one label."""
    labelled_groups = torch.stack([members, y.to(members.dtype)]).unique(dim=1)
    return labelled_groups.shape[1] == len(members.unique())


def _shuffled_groups(y: Bool[Tensor, "n"], members: Int[Tensor, "n"], generator: torch.Generator) -> Bool[Tensor, "n"]:
    """Labels that are constant in groups, in random order over the groups; the balance over examples is kept as well as sizes allow."""
    sizes = members.bincount()
    of_groups = torch.zeros(len(sizes), dtype=torch.bool).index_put((members,), y)
    attempts = 1 if len(sizes.unique()) == 1 else _ATTEMPTS
    orders = (_in_random_order(of_groups, generator) for _ in range(attempts))
    return min(orders, key=lambda labels: abs(int(sizes[labels].sum() - y.sum())))[members]
