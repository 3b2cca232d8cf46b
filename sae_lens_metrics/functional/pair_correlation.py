"""Correlations of many pairs of variables, from sums over parts of the observations."""

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.functional.statistics import widest_float

__all__ = ["PairCorrelation"]


class PairCorrelation:
    """Collects what the correlation of each of n pairs takes: six sums a pair, however many observations there are.

    Args:
        n: Number of pairs.
        device: Where the observations are.
    """

    def __init__(self, n: int, device: torch.device) -> None:
        self._sums = torch.zeros(5, n, dtype=widest_float(device), device=device)
        self._count = 0

    def add(self, a: Float[Tensor, "observations n"], b: Float[Tensor, "observations n"]) -> None:
        """Adds observations of both variables of each pair."""
        for place, each in enumerate((a, b, a * a, b * b, a * b)):
            self._sums[place] += each.sum(0, dtype=self._sums.dtype)
        self._count += len(a)

    def value(self) -> Float[Tensor, "n"]:
        """Pearson's correlation of each pair, from -1 to 1; NaN where one of the variables is the same in all observations."""
        n = max(1, self._count)
        a, b, aa, bb, ab = self._sums / n
        spread = ((aa - a * a).clamp_min(0) * (bb - b * b).clamp_min(0)).sqrt()
        scale = (aa * bb).sqrt()
        constant = spread <= 1e-9 * scale  # as far as differences of sums can tell
        return ((ab - a * b) / spread).clamp(-1, 1).masked_fill(constant | (scale == 0), torch.nan)
