"""How noisy is a number, and what can it tell apart? Standard deviations over repetitions, and what follows from them.

The protocol is that of "Are Sparse Autoencoder Benchmarks Reliable?" (arXiv 2605.18229): one SAE, several seeds, s the standard deviation.
"""

import math
from itertools import combinations

from jaxtyping import Float
from scipy.special import chdtri, stdtrit
from torch import Tensor

__all__ = [
    "error_ratio_interval",
    "kendall_tau",
    "mean_rank_agreement",
    "pooled_deviation",
    "same_top",
    "signal_to_noise",
    "smallest_difference",
    "times_as_many",
]

_LEVEL = 0.05
"""One minus the level of intervals, and the level of tests."""


def smallest_difference(runs: int, df: int) -> float:
    """Smallest difference of two means that a t test calls one, in standard deviations s of a single run: t(.025, df) sqrt(2 / runs).

    With one run of each SAE, and s from five seeds, it is 3.93; with three runs of each, which give s themselves, 2.27.

    Args:
        runs: Seeds that each of the two means is over.
        df: Degrees of freedom of s.

    Returns:
        The factor of s, above 0.

    Raises:
        ValueError: If either is below 1: one repetition has no standard deviation.
    """
    if runs < 1 or df < 1:
        raise ValueError(f"{runs} runs with {df} degrees of freedom: expected at least one of each")
    return float(stdtrit(df, 1 - _LEVEL / 2)) * math.sqrt(2 / runs)


def error_ratio_interval(ratio: float, df: int) -> tuple[float, float]:
    """95 % interval for true standard deviation over reported error, given the ratio s over reported error.

    df s² / σ² follows chi² with df degrees of freedom where repetitions are normal and independent. The reported error is taken as exact.

    Args:
        ratio: s over the reported standard error, at least 0.
        df: Degrees of freedom of s, repetitions minus one.

    Returns:
        Lower and upper limit, [0, inf). An error that holds all that repetitions move has 1 between them in 95 % of cases.

    Raises:
        ValueError: If there is no degree of freedom.
    """
    if df < 1:
        raise ValueError(f"{df} degrees of freedom: expected at least one")
    upper, lower = (math.sqrt(df / float(chdtri(df, tail))) for tail in (1 - _LEVEL / 2, _LEVEL / 2))
    return ratio * lower, ratio * upper


def pooled_deviation(values: Float[Tensor, "repetitions saes"]) -> float:
    """Standard deviation over repetitions, pooled over SAEs: the root of the mean of their variances.

    Args:
        values: One number, [repetitions, saes]; at least two repetitions.
    """
    return float(values.double().var(dim=0).mean().sqrt())


def signal_to_noise(values: Float[Tensor, "repetitions saes"]) -> float | None:
    """Standard deviation over SAEs of their means, over the pooled one over repetitions; above 2 is comfortable, 1 is a coin flip.

    The means still hold noise of their own: SAEs that are all alike have some 1 / sqrt(repetitions).

    Args:
        values: One number, [repetitions, saes]; at least two of each.

    Returns:
        The ratio, [0, inf); ``None`` where nothing moves it over repetitions.
    """
    noise = pooled_deviation(values)
    return None if noise == 0 else float(values.double().mean(dim=0).std()) / noise


def kendall_tau(first: Float[Tensor, "n"], second: Float[Tensor, "n"]) -> float | None:
    """Rank correlation tau-b of two rankings of the same things (Kendall 1945), which takes ties into account.

    Args:
        first: Scores, [n].
        second: Other scores of the same, [n].

    Returns:
        From -1, the opposite order, to 1, the same; ``None`` where either knows no order.
    """
    signs = [(each.double()[:, None] - each.double()[None, :]).sign() for each in (first, second)]
    ordered = [float(sign.square().sum()) for sign in signs]
    return float((signs[0] * signs[1]).sum()) / math.sqrt(ordered[0] * ordered[1]) if all(ordered) else None


def mean_rank_agreement(values: Float[Tensor, "repetitions saes"]) -> float | None:
    """Mean of Kendall's tau over all pairs of repetitions.

    Args:
        values: One number, [repetitions, saes].

    Returns:
        Between -1 and 1; ``None`` where no two repetitions order the SAEs.
    """
    taus = [tau for one, other in combinations(values, 2) if (tau := kendall_tau(one, other)) is not None]
    return sum(taus) / len(taus) if taus else None


def same_top(worth: Float[Tensor, "repetitions saes"]) -> float:
    """Share of pairs of repetitions that have the same best SAE, the first of equals.

    Args:
        worth: How good each is, more is better, [repetitions, saes]; at least two repetitions.
    """
    pairs = list(combinations(worth.argmax(dim=1).tolist(), 2))
    return sum(one == other for one, other in pairs) / len(pairs)


def times_as_many(deviation: float, wanted: float) -> float:
    """How many times as many sampled units bring a standard deviation down to a wanted one: (s / wanted)², as s falls with their root.

    That root is no setting here: the exponent of a power law between n and 4 n units, from five seeds each, has a 95 % interval of ± 0.8.

    Args:
        deviation: s as it is.
        wanted: s as it should be, above 0.
    """
    return (deviation / wanted) ** 2
