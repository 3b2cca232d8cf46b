"""Whether numbers rank SAEs as the truth does: Spearman's correlation, signed by which way each number is better."""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from sae_lens_metrics import metric_spec

__all__ = ["Agreement", "agreement", "directed", "judged_numbers"]

RESAMPLES, LEAST = 2_000, 5


class Agreement(NamedTuple):
    """Spearman's rho over SAEs; 1 where a better number always means a better SAE."""

    rho: float
    low: float
    """Lower end of the 95 % bootstrap interval, SAEs resampled."""
    high: float
    n: int
    """SAEs that have the number."""


def judged_numbers(names):
    """Every number of some metrics that says which way it is better, by full name, and whether it is its metric's headline."""
    specs = [metric_spec(name) for name in names]
    return {
        spec.full(name): name == spec.headline
        for spec in specs
        for name, number in spec.numbers.items()
        if number.better is not None and number.baseline_of is None and not number.same_as
    }


def directed(full_name, value):
    """A value turned so that more of it is better; of one that should be one, minus the distance."""
    metric, name = full_name.split("/", 1)
    better = metric_spec(metric).number(name).better
    return {"higher": value, "lower": -value, "one": -abs(value - 1)}[better]


def agreement(scores, truth, seed=0):
    """Agreement of scores with the truth, both by SAE; ``None`` where fewer than five SAEs have both, or all scores are the same."""
    both = [name for name in scores if scores[name] is not None and truth.get(name) is not None]
    values = np.array([[scores[name], truth[name]] for name in both], dtype=float)
    if len(both) < LEAST or (np.ptp(values, axis=0) == 0).any():
        return None
    drawn = np.random.default_rng(seed).integers(len(both), size=(RESAMPLES, len(both)))
    low, high = np.nanpercentile(_spearman(values[drawn]), [2.5, 97.5])
    return Agreement(float(_spearman(values)), float(low), float(high), len(both))


def _spearman(values):
    """Pearson's correlation of the ranks of [..., n, 2]; NaN where all are the same, as in a resample of one SAE only."""
    ranks = rankdata(values, axis=-2)
    a, b = np.moveaxis(ranks - ranks.mean(axis=-2, keepdims=True), -1, 0)
    with np.errstate(invalid="ignore"):
        return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
