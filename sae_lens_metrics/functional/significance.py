"""Is a difference more than noise? Student's t test, and Holm's correction for testing several differences at once."""

import math
from collections.abc import Sequence

from scipy.special import stdtr, stdtrit

__all__ = ["holm", "student_p", "student_quantile", "welch_degrees_of_freedom"]


def student_p(t: float, df: float) -> float:
    """Two-sided p-value P(|T| > |t|) of Student's t distribution, in [0, 1].

    Args:
        t: The statistic.
        df: Degrees of freedom, above 0, not necessarily whole.

    Raises:
        ValueError: If there are no degrees of freedom.
    """
    if not df > 0:
        raise ValueError(f"{df} degrees of freedom: expected more than 0")
    return min(1.0, 2 * float(stdtr(df, -abs(t))))


def student_quantile(level: float, df: float) -> float:
    """The t for which P(|T| <= t) is a level, of Student's t distribution: 1.96 for 0.95 and many degrees of freedom.

    Args:
        level: A probability, above 0 and below 1.
        df: Degrees of freedom, above 0, not necessarily whole.

    Raises:
        ValueError: If there are no degrees of freedom, or the level is no such probability.
    """
    if not df > 0:
        raise ValueError(f"{df} degrees of freedom: expected more than 0")
    if not 0 < level < 1:
        raise ValueError(f"a level of {level}: expected a probability above 0 and below 1, such as 0.95")
    return float(stdtrit(df, (1 + level) / 2))


def welch_degrees_of_freedom(*parts: tuple[float, float]) -> float:
    """Degrees of freedom of a sum or difference of independent estimates: (Σ s²)² / Σ (s⁴ / df) (Welch 1947).

    Args:
        *parts: Standard error s of each, and its degrees of freedom, such as units minus one; one s at least is above 0.
    """
    whole = math.hypot(*(stderr for stderr, _ in parts))
    return 1 / math.fsum((stderr / whole) ** 4 / df for stderr, df in parts if stderr)  # s⁴ itself might underflow


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number: those of at most α are differences, and α bounds the chance of any false one (Holm 1979).

    Of m p-values in increasing order the i-th becomes the largest of (m - j + 1) p_j for j up to i, at most 1. Nothing is assumed about
    how the tests depend on each other.

    Args:
        p_values: Of all tests that were made.

    Returns:
        The corrected p-values, in the same order.
    """
    # statsmodels has it too, at 1.7 s for its import and up to 70 ms a call, which collects garbage
    corrected, largest = [1.0] * len(p_values), 0.0
    for done, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - done) * p_values[i]))
        corrected[i] = largest
    return corrected
