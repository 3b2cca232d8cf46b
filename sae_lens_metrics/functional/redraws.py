"""How far a number moves that is made of many draws of its own, from some of them that are replaced."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.statistics import ratio_with_error

__all__ = ["Redrawn", "redrawn_variance"]


class Redrawn(NamedTuple):
    """The variance of a number over its draws."""

    variance: float
    df: float
    """Degrees of freedom of this estimate."""


def redrawn_variance(
    differences: Float[Tensor, "units"], weights: Float[Tensor, "units"], group: Int[Tensor, "units"], *, share: float
) -> Redrawn | None:
    """Variance over draws of a mean over sampling units, from replacing some draws by others of the same distribution.

    Draws that are independent of each other and each move the number little move it by the sum of what each moves: its variance is half
    the mean square of what replacing all of them would move, and half the sum of squares over groups of them that are replaced one by one
    (Efron & Stein, The jackknife estimate of variance, Annals of Statistics 9, 1981, for functions that are not additive: an upper bound).
    A group's replacement is measured on units of its own, d_k = Σ differences / Σ weights over those, with the error s_k of that ratio.
    As E d_k² = δ_k² + s_k², what is summed is d_k² - s_k²: what units move is no part of it, and is in the error over units already.

        variance = Σ (d_k² - s_k²) / (2 share), 0 where that is negative

    Args:
        differences: What the replacement of the unit's group changes in the sum over each unit, [units].
        weights: What the number divides sums over units by, [units].
        group: Which draws are replaced in each unit; each of the draws that were chosen is in one group, [units].
        share: What share of all draws these are, chosen at random, above 0.

    Returns:
        The variance, and as its degrees of freedom K (Σ (d_k² - s_k²) / Σ d_k²)², at least 1, for K groups; ``None`` where a group has
        fewer than two units of some weight, so that its error is not known.
    """
    squares, ours, groups = 0.0, 0.0, group.unique()
    for each in groups:
        here = group == each
        if int((weights[here] != 0).sum()) < 2:
            return None
        moved, stderr = ratio_with_error(differences[here], weights[here])
        assert stderr is not None
        squares, ours = squares + moved**2, ours + moved**2 - stderr**2
    ours = max(0.0, ours)
    return Redrawn(ours / (2 * share), max(1.0, len(groups) * (ours / squares) ** 2 if squares else 1.0))
