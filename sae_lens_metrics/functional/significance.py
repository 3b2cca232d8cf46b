"""Is a difference more than noise? Student's t test, and Holm's correction for testing several differences at once."""

import math
from collections.abc import Sequence
from itertools import count

__all__ = ["holm", "student_p", "welch_degrees_of_freedom"]

_PRECISION = 1e-15
_MOST_TERMS = 1_000
"""Some dozens are needed, for 10⁸ degrees of freedom too."""


def student_p(t: float, df: float) -> float:
    """Two-sided p-value P(|T| > |t|) of Student's t distribution, in [0, 1].

    It is I_x(df / 2, 1 / 2) with x = df / (df + t²), I the regularised incomplete beta function (Abramowitz and Stegun, 26.7.1).

    Args:
        t: The statistic.
        df: Degrees of freedom, above 0, not necessarily whole.

    Raises:
        ValueError: If there are no degrees of freedom.
    """
    if not df > 0:
        raise ValueError(f"{df} degrees of freedom: expected more than 0")
    x, y = df / (df + t * t), 1 / (df / t / t + 1) if t else 0.0  # y = 1 - x, without the rounding of 1
    if x == 0 or y == 0:
        return float(y == 0)
    a, b = df / 2, 0.5
    # the fraction converges fast on one side of the mean only; on the other, I_x(a, b) = 1 - I_y(b, a)
    below = x < (a + 1) / (a + b + 2)
    tail = _incomplete_beta(a, b, x, y) if below else 1 - _incomplete_beta(b, a, y, x)
    return min(1.0, max(0.0, tail))


def _incomplete_beta(a: float, b: float, x: float, y: float) -> float:
    """I_x(a, b), with y = 1 - x, by its continued fraction (DLMF 8.17.22), for x below the mean."""
    log_x, log_y = (math.log1p(-other) if value > 0.5 else math.log(value) for value, other in ((x, y), (y, x)))
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return math.exp(a * log_x + b * log_y - log_beta) / (a * _fraction(a, b, x))


def _fraction(a: float, b: float, x: float) -> float:
    """1 + d_1 / (1 + d_2 / (1 + ...)), from the front: Lentz's method (Thompson and Barnett 1986)."""
    value, numerator, denominator = 1.0, 1.0, 0.0
    for k in count(1):
        d = _coefficient(k, a, b, x)
        denominator = 1 / (1 + d * denominator)
        numerator = 1 + d / numerator
        step = numerator * denominator
        value *= step
        if abs(step - 1) < _PRECISION or k == _MOST_TERMS:
            break
    return value


def _coefficient(k: int, a: float, b: float, x: float) -> float:
    m = k // 2
    if k % 2:
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))


def welch_degrees_of_freedom(first: float, first_df: float, second: float, second_df: float) -> float:
    """Degrees of freedom of the difference of two independent estimates: (s² + t²)² / (s⁴ / df_s + t⁴ / df_t) (Welch 1947).

    Args:
        first: Standard error s of the one.
        first_df: Its degrees of freedom, such as units minus one.
        second: Standard error t of the other; they must not both be 0.
        second_df: Its degrees of freedom.
    """
    share = (first / math.hypot(first, second)) ** 2  # of the variance; s⁴ itself might underflow
    return 1 / (share**2 / first_df + (1 - share) ** 2 / second_df)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number: those of at most α are differences, and α bounds the chance of any false one (Holm 1979).

    Of m p-values in increasing order the i-th becomes the largest of (m - j + 1) p_j for j up to i, at most 1. Nothing is assumed about
    how the tests depend on each other.

    Args:
        p_values: Of all tests that were made.

    Returns:
        The corrected p-values, in the same order.
    """
    corrected, largest = [1.0] * len(p_values), 0.0
    for done, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - done) * p_values[i]))
        corrected[i] = largest
    return corrected
