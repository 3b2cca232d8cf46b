"""Every pair of many estimates tested at once: errors of all differences, and which are more than noise.

What a float64 does not hold, as the square of 1e200, becomes infinite or no number at all, and tells nothing apart.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from sae_lens_metrics.functional.significance import holm, student_p_values

__all__ = ["PairErrors", "independent_errors", "paired_errors", "told_apart"]


class PairErrors(NamedTuple):
    """How far the difference of each pair of k estimates may be off."""

    stderr: Float[np.ndarray, "k k"]
    """Its standard error."""
    df: Float[np.ndarray, "k k"]
    """Degrees of freedom of that; 0 where the error itself is not known, infinite where there is none."""


@np.errstate(all="ignore")
def independent_errors(stderr: Float[np.ndarray, "k"], df: Float[np.ndarray, "k"]) -> PairErrors:
    """Errors of differences of independent estimates: sqrt(s_i² + s_j²), with the degrees of freedom of Welch (1947).

    Args:
        stderr: Standard errors s, [k].
        df: Their degrees of freedom, [k].
    """
    return _joined([(stderr[:, None], df[:, None]), (stderr[None], df[None])])


@np.errstate(all="ignore")
def paired_errors(
    influences: Float[np.ndarray, "k units"],
    n: Float[np.ndarray, "k"],
    df: Float[np.ndarray, "k"],
    drawn: Float[np.ndarray, "k"],
    drawn_df: Float[np.ndarray, "k"],
) -> PairErrors:
    """Errors of differences of estimates over the same units: sqrt(m / (m - 1) Σ (e_j - e_i)² + d_i² + d_j²), m the smaller n.

    What units have in common cancels; what was drawn for each estimate alone does not. The degrees of freedom over units are the smaller
    ones; where something was drawn they are joined with its own as Welch (1947) does.

    Args:
        influences: How far each unit moves each estimate, e, [k, units].
        n: Units of weight of each, above 1, [k].
        df: Degrees of freedom over units, [k].
        drawn: Standard errors of what was drawn for each alone, d; 0 for none, [k].
        drawn_df: Degrees of freedom of these, [k].
    """
    about = influences - influences.mean(axis=0)  # what all have in common would cost digits: it cancels here rather than below
    products = about @ about.T
    squares = np.diagonal(products)
    distance = np.sqrt(np.maximum(0.0, squares[:, None] + squares[None] - 2 * products))
    fewer = np.minimum(n[:, None], n[None])
    over_units = np.sqrt(fewer / (fewer - 1)) * distance, np.minimum(df[:, None], df[None])
    joined = _joined([over_units, (drawn[:, None], drawn_df[:, None]), (drawn[None], drawn_df[None])])
    alone = (drawn[:, None] == 0) & (drawn[None] == 0)
    return PairErrors(joined.stderr, np.where(alone, over_units[1], joined.df))


@np.errstate(all="ignore")
def told_apart(
    values: Float[np.ndarray, "k"],
    errors: PairErrors,
    tested: Bool[np.ndarray, "k k"],
    smallest: Float[np.ndarray, "k k"],
    alpha: float,
) -> Bool[np.ndarray, "k k"]:
    """Which pairs differ by more than noise: two-sided t tests, corrected for their number (Holm 1979).

    The chance of telling any pair apart that does not differ is at most ``alpha``, over all pairs together.

    Args:
        values: The estimates, [k].
        errors: Those of their differences.
        tested: Which pairs count, symmetric; the others are not told apart, and the diagonal is not looked at.
        smallest: Differences up to this one are none, whatever their error: what the numbers do not resolve.
        alpha: The level, above 0 and below 1.
    """
    first, second = np.nonzero(np.triu(tested, 1))
    difference, stderr, df = (each[first, second] for each in (np.abs(values[:, None] - values[None]), *errors))
    unknown, exact = df == 0, stderr == 0  # of which the one tells nothing apart, the other everything
    p = student_p_values(difference / np.where(exact, 1.0, stderr), np.where(unknown | exact, 1.0, df))
    p = np.where(np.isnan(p) | unknown | (difference <= smallest[first, second]), 1.0, np.where(exact, 0.0, p))
    apart = np.zeros(tested.shape, dtype=bool)
    apart[first, second] = np.array(holm(p)) <= alpha
    return apart | apart.T


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> PairErrors:
    """Independent errors together: (Σ s²)² / Σ (s⁴ / df) degrees of freedom, over the parts that there are."""
    whole = np.sqrt(sum(stderr**2 for stderr, _ in parts))
    shares = [np.where(stderr > 0, (stderr / whole) ** 4 / df, 0.0) for stderr, df in parts]
    return PairErrors(np.asarray(whole), np.where(whole > 0, 1 / np.sum(shares, axis=0), np.inf))
