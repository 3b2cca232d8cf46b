"""Means over probe tasks, with errors over the families of tasks."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.functional.intraclass_correlation import intraclass_correlation
from sae_lens_metrics.functional.statistics import degrees_of_freedom, ratio_influence, ratio_with_error
from sae_lens_metrics.results import Estimate

__all__ = ["SampledTasks"]


class SampledTasks:
    """Tasks as a sample of all that might have been asked.

    Tasks of one family, such as nine languages told from each other, are alike and say less than as many unrelated ones: the sampling
    units are families, and a mean over tasks is a ratio of the families' sums to their numbers of tasks. Where all tasks are of one
    family nothing can be said about others, and the units are the tasks.

    Args:
        families: The family of each task.

    Attributes:
        of: What the sampling units are called.
        alone: Whether the tasks themselves are the units, as they are of one family.
    """

    def __init__(self, families: Sequence[str]) -> None:
        names = list(dict.fromkeys(families))
        self._families = torch.tensor([names.index(family) for family in families])
        self.alone = len(names) == 1
        self.of = "tasks" if self.alone else "families"
        self._units = torch.arange(len(families)) if self.alone else self._families

    def mean(self, values: Float[Tensor, "tasks"]) -> Estimate:
        """The mean over tasks, with its error over the sampling units.

        Args:
            values: A number for each task.
        """
        counts = self._units.bincount().double()
        sums = torch.zeros_like(counts).index_add(0, self._units, values.double())
        found = ratio_with_error(sums, counts)
        if found.stderr is None:
            return Estimate(found.value, None, 1, self.of, "one task has no standard error")
        influence = ratio_influence(sums, counts).tolist()
        return Estimate(found.value, found.stderr, len(counts), self.of, influence=influence, df=degrees_of_freedom(counts))

    def correlation(self, values: Float[Tensor, "tasks"]) -> Estimate:
        """The correlation of two tasks of one family; its error is that of the jackknife, which leaves out one family at a time.

        Args:
            values: A number for each task.
        """
        n = len(self._families.unique())
        found = intraclass_correlation(values, self._families)
        if found is None:
            return Estimate.absent("it takes two families, one of them with two tasks that differ", of="families", n=n)
        kept = [self._families != family for family in range(n)]
        without = [intraclass_correlation(values[others], self._families[others]) for others in kept]
        left = torch.tensor([each for each in without if each is not None], dtype=torch.float64)
        if len(left) < n:
            return Estimate(found, None, n, "families", "its error takes three families, two of them with two tasks that differ")
        influence = (n - 1) / n * (left.mean() - left)
        stderr = (n / (n - 1) * influence.square().sum()).sqrt()
        return Estimate(found, float(stderr), n, "families", influence=influence.tolist())
