"""Correlations of many pairs of variables, from sums over parts of the observations."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.functional.statistics import widest_float

__all__ = ["PairCorrelation"]

_CONSTANT = 1e-6
"""Variance over mean square up to which a variable is the same everywhere: no more can be told from squares in float32."""


class PairCorrelation:
    """Collects what the correlation of each of n pairs takes: six sums a pair, however many observations there are.

    Args:
        n: Number of pairs.
        device: Where the observations are.
    """

    def __init__(self, n: int, device: torch.device) -> None:
        self._sums = torch.zeros(5, n, dtype=widest_float(device), device=device)
        self._count = 0

    @classmethod
    def joined(cls, parts: "Sequence[PairCorrelation]") -> "PairCorrelation":
        """What was collected from several parts of the observations.

        Args:
            parts: One at least, of the same pairs.
        """
        whole = cls(parts[0]._sums.shape[1], parts[0]._sums.device)
        for part in parts:
            whole._sums += part._sums
            whole._count += part._count
        return whole

    def add(self, a: Float[Tensor, "observations n"], b: Float[Tensor, "observations n"]) -> None:
        """Adds observations of both variables of each pair."""
        for place, each in enumerate((a, b, a * a, b * b, a * b)):
            self._sums[place] += each.sum(0, dtype=self._sums.dtype)
        self._count += len(a)

    def value(self) -> Float[Tensor, "n"]:
        """Pearson's correlation of each pair, from -1 to 1; NaN where one of the variables is the same in all observations."""
        n = max(1, self._count)
        a, b, aa, bb, ab = self._sums / n
        spread_a, spread_b = aa - a * a, bb - b * b
        constant = (spread_a <= _CONSTANT * aa) | (spread_b <= _CONSTANT * bb)
        return ((ab - a * b) / (spread_a * spread_b).sqrt()).clamp(-1, 1).masked_fill(constant, torch.nan)
