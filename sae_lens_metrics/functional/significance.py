"""Is a difference more than noise? Student's t test, and Holm's correction for testing several differences at once."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import stdtr, stdtrit

__all__ = ["holm", "student_p", "student_p_values", "student_quantile", "welch_degrees_of_freedom"]


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
    return float(student_p_values(np.array(t), np.array(df)))


def student_p_values(t: Float[np.ndarray, "..."], df: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The same for many statistics at once.

    Args:
        t: The statistics, which may be infinite.
        df: Degrees of freedom of each, above 0.
    """
    return np.minimum(1.0, 2 * stdtr(df, -np.abs(t)))


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

    Returns:
        The degrees of freedom; 0 where one s above 0 has none, as then the whole is not known either.
    """
    if any(stderr and not df for stderr, df in parts):
        return 0.0
    whole = math.hypot(*(stderr for stderr, _ in parts))
    return 1 / math.fsum((stderr / whole) ** 4 / df for stderr, df in parts if stderr)  # s⁴ itself might underflow


def holm(p_values: Sequence[float] | Float[np.ndarray, "tests"]) -> list[float]:
    """P-values corrected for their number: those of at most α are differences, and α bounds the chance of any false one (Holm 1979).

    Of m p-values in increasing order the i-th becomes the largest of (m - j + 1) p_j for j up to i, at most 1. Nothing is assumed about
    how the tests depend on each other.

    Args:
        p_values: Of all tests that were made.

    Returns:
        The corrected p-values, in the same order.
    """
    # statsmodels has it too, at 1.7 s for its import and up to 70 ms a call, which collects garbage
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order]))
    return corrected.tolist()
