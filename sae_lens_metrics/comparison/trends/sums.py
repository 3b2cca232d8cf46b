"""Sums over kinds of SAEs: how a number goes with their width and sparsity, and how TopK compares with ReLU at the same L0."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sae_lens_metrics.comparison.trends.contrasts import Contrast
from sae_lens_metrics.comparison.trends.grid import Cell
from sae_lens_metrics.comparison.trends.means import Means
from sae_lens_metrics.errors import ResultError

__all__ = [
    "DENSE",
    "NEAR",
    "Line",
    "average",
    "best_than",
    "falls_to_best",
    "last_step",
    "moved_more",
    "relu_alone",
    "relu_minus_topk",
    "rises_from_best",
    "topk_over_relu",
    "with_k",
    "with_n",
]

DENSE = 1 / 5
"""Of the activation's dimension: k beyond which latents are dense, which n-grams explain trivially, as the paper notes; and k near which
probes are best there (64 and 128 of 768)."""
_BEST = 1 / 16
NEAR = 1 / 2
"""k from which it nears the dimension: 512 of 768 in the paper."""


@dataclass(frozen=True)
class Line:
    """A sum, or the ratio of two."""

    over: Contrast
    under: Contrast | None = None
    """Divides it; ``None`` for a sum alone."""


# --- sums over the grid of TopK SAEs -------------------------------------------------------------------------------------------


def _average(cells: Iterable[Cell], number: str, factor: float = 1.0) -> dict[tuple[Cell, str], float]:
    """The mean over kinds of SAEs."""
    cells = list(cells)
    if not cells:
        raise ResultError("the grid has no kinds of SAEs that tell it")
    return {(cell, number): factor / len(cells) for cell in cells}


def _plus(*parts: Mapping[tuple[Cell, str], float]) -> dict[tuple[Cell, str], float]:
    found: dict[tuple[Cell, str], float] = {}
    for part in parts:
        for key, weight in part.items():
            found[key] = found.get(key, 0.0) + weight
    return found


def _of(means: Means, actives: Iterable[int], widths: Iterable[int] | None = None) -> list[Cell]:
    return [Cell("TopK", n, k) for n in (widths or means.widths) for k in actives]


def _slope(x: Mapping[Cell, float], number: str, factor: float) -> dict[tuple[Cell, str], float]:
    """Slope of a straight line by least squares, over kinds of SAEs with equal weight."""
    centre = math.fsum(x.values()) / len(x)
    spread = math.fsum((each - centre) ** 2 for each in x.values())
    if not spread:
        raise ResultError("the grid has one value only of what the number is to rise or fall with")
    return {(cell, number): factor * (each - centre) / spread for cell, each in x.items()}


def with_k(number: str, factor: float, high: float = math.inf) -> Callable[[Means], Line]:
    """Change for each doubling of k, mean over widths."""
    return lambda means: Line(_slope({cell: math.log2(cell.dial) for cell in _of(means, means.actives(high=high))}, number, factor))


def with_n(number: str, factor: float, high: float = math.inf) -> Callable[[Means], Line]:
    """Change for each doubling of the number of latents, mean over k."""
    return lambda means: Line(_slope({cell: math.log2(cell.n) for cell in _of(means, means.actives(high=high))}, number, factor))


def falls_to_best(number: str) -> Callable[[Means], Line]:
    """A number at the smallest k, minus that at the k where the paper's probes are best."""

    def line(means: Means) -> Line:
        best = means.actives(_BEST, DENSE)
        if means.actives()[0] in best:
            raise ResultError("the grid has no k below those at which the paper's probes are best")
        return Line(_plus(_average(_of(means, means.actives()[:1]), number), _average(_of(means, best), number, -1.0)))

    return line


def rises_from_best(number: str) -> Callable[[Means], Line]:
    """A number at the largest k, which nears the activation's dimension, minus that at the k where the paper's probes are best."""
    return lambda means: Line(
        _plus(_average(_of(means, means.actives(NEAR)[-1:]), number), _average(_of(means, means.actives(_BEST, DENSE)), number, -1.0))
    )


def last_step(number: str) -> Callable[[Means], Line]:
    """A number at the largest k, which nears the activation's dimension, minus that at the k before."""

    def line(means: Means) -> Line:
        *smaller, last = (k for k in means.actives() if k <= means.actives(NEAR)[-1])
        if not smaller:
            raise ResultError("the grid has one k only, of every width")
        return Line(_plus(_average(_of(means, [last]), number), _average(_of(means, smaller[-1:]), number, -1.0)))

    return line


def average(number: str, factor: float) -> Callable[[Means], Line]:
    """A number times a factor, mean over all TopK SAEs."""
    return lambda means: Line(_average(means.topk, number, factor))


def best_than(baseline: str, number: str) -> Callable[[Means], Line]:
    """A baseline minus a number, of most latents and the two smallest k."""

    def line(means: Means) -> Line:
        cells = _of(means, means.actives()[:2], [means.widths[-1]])
        return Line(_plus(_average(cells, baseline), _average(cells, number, -1.0)))

    return line


# --- TopK beside ReLU ----------------------------------------------------------------------------------------------------------


def _relu(means: Means, number: str, factor: float = 1.0) -> dict[tuple[Cell, str], float]:
    return _average([cell for cell, _ in means.pairs()], number, factor)


def _near(means: Means, number: str, factor: float = 1.0) -> dict[tuple[Cell, str], float]:
    """The mean of TopK SAEs at the L0 of the ReLU ones."""
    pairs = means.pairs()
    return _plus(*({(cell, number): factor * share / len(pairs) for cell, share in near.items()} for _, near in pairs))


def relu_minus_topk(number: str, of_topk: str = "") -> Callable[[Means], Line]:
    """ReLU's number minus TopK's at the same L0, or minus another number of TopK."""
    return lambda means: Line(_plus(_relu(means, number), _near(means, of_topk or number, -1.0)))


def topk_over_relu(number: str) -> Callable[[Means], Line]:
    """TopK's number at the L0 of ReLU SAEs, over theirs."""
    return lambda means: Line(_near(means, number), _relu(means, number))


def moved_more(number: str, share: float = 1.0) -> Callable[[Means], Line]:
    """By how much a share of ReLU's number is above the size of TopK's, whatever its sign."""

    def line(means: Means) -> Line:
        near = _near(means, number)
        sign = 1.0 if math.fsum(weight * means.mean(*key) for key, weight in near.items()) >= 0 else -1.0
        return Line(_plus(_relu(means, number, share), _near(means, number, -sign)))

    return line


def relu_alone(number: str, minus: str = "") -> Callable[[Means], Line]:
    """A number of all ReLU SAEs, or what it is above another one."""
    return lambda means: Line(_plus(_average(means.relu, number), _average(means.relu, minus, -1.0) if minus else {}))
