"""Sums per sequence, from which every mean and ratio over text follows with its standard error."""

from collections import defaultdict

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.functional.statistics import ratio_with_error
from sae_lens_metrics.results import Estimate

__all__ = ["SequenceSums"]


class SequenceSums:
    """Collects one number (or vector) per sequence and name; memory grows with sequences, not with tokens."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Tensor]] = defaultdict(list)

    def add(self, **sums: Float[Tensor, "batch ..."]) -> None:
        """Adds a batch of sequences; every call must give the same names."""
        for name, values in sums.items():
            self._parts[name].append(values.double().cpu())

    def __getitem__(self, name: str) -> Float[Tensor, "sequences ..."]:
        return torch.cat(self._parts[name])

    def ratio(self, numerator: str, denominator: str) -> Estimate:
        """Σ numerator / Σ denominator over sequences."""
        return ratio_estimate(self[numerator], self[denominator], of="sequences")


def ratio_estimate(numerators: Float[Tensor, "units"], denominators: Float[Tensor, "units"], *, of: str) -> Estimate:
    """A ratio of sums as an estimate, absent where the denominators sum to zero."""
    n = int((denominators != 0).sum())
    if n == 0 or float(denominators.sum()) == 0:
        return Estimate.absent("there is nothing to average over", of=of)
    value, stderr = ratio_with_error(numerators, denominators)
    return Estimate(value, stderr, n=n, of=of, reason=None if stderr is not None else f"one of {of} has no standard error")
