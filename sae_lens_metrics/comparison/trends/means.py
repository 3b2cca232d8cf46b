"""Kinds of SAEs of a grid, with their numbers: what sums over them are made from."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from sae_lens_metrics.comparison.trends.grid import Cell
from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.metrics.sanity.spec import L0

__all__ = ["Means"]


@dataclass(frozen=True)
class Means:
    """What sums are made from: the kinds of SAEs, and their numbers."""

    d_in: int
    cells: tuple[Cell, ...]
    """Those that there are results of."""
    mean: Callable[[Cell, str], float]
    """A number of a kind of SAE, mean over its training seeds."""

    @property
    def topk(self) -> list[Cell]:
        """TopK SAEs."""
        return [cell for cell in self.cells if cell.architecture == "TopK"]

    @property
    def widths(self) -> list[int]:
        """Numbers of latents of TopK SAEs."""
        return sorted({cell.n for cell in self.topk})

    def actives(self, low: float = 0.0, high: float = math.inf) -> list[int]:
        """The k that every width has, from one share of the activation's dimension to another."""
        of_width = [{int(cell.dial) for cell in self.topk if cell.n == n} for n in self.widths]
        found = sorted(k for k in set.intersection(*of_width) if low <= k / self.d_in <= high) if of_width else []
        if not found:
            raise ResultError(f"the grid has no k between {low:.3g} and {high:.3g} of the activation's dimension, of every width")
        return found

    @property
    def relu(self) -> list[Cell]:
        """ReLU SAEs."""
        return [cell for cell in self.cells if cell.architecture == "ReLU"]

    def pairs(self) -> list[tuple[Cell, dict[Cell, float]]]:
        """ReLU SAEs, each with the two TopK SAEs of its width whose L0 are around its own, weighted as on a straight line over log L0."""
        found = [(cell, near) for cell in self.relu if (near := self._near(cell))]
        if not found:
            raise ResultError("no ReLU SAE of the grid has an L0 among those of the TopK SAEs of its width")
        return found

    def _near(self, cell: Cell) -> dict[Cell, float]:
        l0 = self.mean(cell, L0)
        others = sorted((self.mean(other, L0), other) for other in self.topk if other.n == cell.n)
        for (low, below), (high, above) in pairwise(others):
            if 0 < low <= l0 <= high and low < high:
                share = math.log(l0 / low) / math.log(high / low)
                return {below: 1 - share, above: share}
        return {}
