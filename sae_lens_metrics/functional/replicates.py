"""What repeating something moves a number by, beyond what is known of the number's own error."""

import math
from collections.abc import Sequence

__all__ = ["added_variance"]


def added_variance(replicates: Sequence[Sequence[float]], errors: Sequence[float]) -> tuple[float, int]:
    """Variance between replicates that their own errors do not explain, pooled over groups.

    With s_g² the unbiased variance within group g of r_g replicates, and v_g the part of it that their own errors make,

        σ² = max(0, Σ (r_g - 1) (s_g² - v_g) / Σ (r_g - 1)),

    the estimate of a variance component by the method of moments (Searle, Casella and McCulloch, Variance Components, 1992, chapter 3).

    Args:
        replicates: The values of each group, of which those with fewer than two tell nothing.
        errors: v_g of each group, at least 0, in the square of the values' unit.

    Returns:
        σ², and its degrees of freedom Σ (r_g - 1), which are 0 where no group has replicates.
    """
    found, df = [], 0
    for values, error in zip(replicates, errors, strict=True):
        if len(values) > 1:
            mean = math.fsum(values) / len(values)
            found.append(math.fsum((value - mean) ** 2 for value in values) - (len(values) - 1) * error)
            df += len(values) - 1
    return (max(0.0, math.fsum(found) / df), df) if df else (0.0, 0)
