"""The best of very many 1d probes, whose values are never all in memory (Gao et al. 2024, arXiv 2406.04093, section 4.2)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.functional.example_influence import auc_influence, cross_entropies, mean_influence
from sae_lens_metrics.functional.probing import accuracy, auc, fit_logistic_1d, logistic_loss
from sae_lens_metrics.functional.statistics import widest_float

__all__ = ["BestProbe", "HeldOutInfluences", "HeldOutScores", "best_probes", "held_out", "held_out_influences", "held_out_scores"]


@dataclass(frozen=True)
class BestProbe:
    """The candidate of least loss, and its probe: the log-odds are ``weight * z + bias``."""

    loss: float
    """Mean cross-entropy in nats on the examples fitted on."""
    index: int
    """Which candidate; of several with the same loss the first."""
    weight: float
    """Log-odds per unit of z."""
    bias: float
    """Log-odds at z = 0."""
    z: Float[Tensor, "n"] = field(repr=False, compare=False)
    """The candidate's values on the examples fitted on."""

    def log_odds(self, z: Float[Tensor, "m"]) -> Float[Tensor, "m"]:
        """What the probe says of examples.

        Args:
            z: The candidate's values on them.
        """
        return z.to(widest_float(z.device)) * self.weight + self.bias

    def influence(self, y: Bool[Tensor, "n"], units: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """How far each example fitted on moves the loss, in nats; nothing where a threshold separates the classes.

        Args:
            y: Their labels.
            units: The number of what each belongs to, as in ``mean_influence``.
        """
        return mean_influence(cross_entropies(self.log_odds(self.z), y), y, units)


class HeldOutScores(NamedTuple):
    """How a probe does on examples that it was not fitted on."""

    loss: float
    """Mean cross-entropy in nats, with limited log-odds."""
    accuracy: float
    """Share of correct predictions."""
    auc: float
    """Area under the ROC curve."""


class HeldOutInfluences(NamedTuple):
    """How far each example moves the scores, given the probe."""

    loss: Float[Tensor, "n"]
    """In nats."""
    accuracy: Float[Tensor, "n"]
    """In shares of correct predictions."""
    auc: Float[Tensor, "n"]
    """In areas."""


def best_probes(
    columns: Callable[[slice], Float[Tensor, "n candidates"]], count: int, labels: Sequence[Bool[Tensor, "n"]], *, at_once: int
) -> list[BestProbe]:
    """Fits a probe on every candidate, and returns the best for each labelling of the examples.

    The loss of the best is min over i, w, b of the mean of ``-[y log σ(w z_i + b) + (1 - y) log(1 - σ(w z_i + b))]`` (equation 4).

    Args:
        columns: Gives the values of some candidates; called once for each chunk of them, with start and stop.
        count: How many candidates there are, at least one.
        labels: Labellings, which share the values.
        at_once: Candidates in a chunk. The results do not depend on it, but for rounding.

    Raises:
        ProbeInputError: A value is not finite, or a labelling has one class only.
    """
    best: list[BestProbe | None] = [None] * len(labels)
    for start in range(0, count, at_once):
        z = columns(slice(start, min(start + at_once, count)))
        best = [_better(known, _best_of(z, y, start)) for known, y in zip(best, labels, strict=True)]
        del z  # before the next chunk is made
    return [probe for probe in best if probe is not None]


def _best_of(z: Float[Tensor, "n candidates"], y: Bool[Tensor, "n"], first: int) -> BestProbe:
    fits = fit_logistic_1d(z, y)
    i = int(fits.loss.argmin())
    return BestProbe(float(fits.loss[i]), first + i, float(fits.weight[i]), float(fits.bias[i]), z[:, i].clone())


def _better(known: BestProbe | None, new: BestProbe) -> BestProbe:
    return new if known is None or new.loss < known.loss else known


def held_out(best: BestProbe, z: Float[Tensor, "n"], y: Bool[Tensor, "n"], fitted_on: int) -> HeldOutScores:
    """Tests the probe of one candidate on other examples, as ``held_out_scores`` does.

    Args:
        best: The probe.
        z: The values of the candidate that it reads.
        y: The labels, of both classes.
        fitted_on: The number of examples that the probe was fitted on.

    Raises:
        ProbeInputError: A value is not finite, or all labels are equal.
    """
    return held_out_scores(best.log_odds(z), y, fitted_on)


def held_out_scores(log_odds: Float[Tensor, "n"], y: Bool[Tensor, "n"], fitted_on: int) -> HeldOutScores:
    """Tests log-odds that a probe gives to other examples than it was fitted on.

    For the loss they are limited to ±log(m + 1) with m examples fitted on, the rule of succession: m examples without exception give odds
    of m + 1. Where those are separable the best probe is infinitely steep, and one mistake elsewhere would be infinitely bad.

    Args:
        log_odds: Of the label 1.
        y: The labels, of both classes.
        fitted_on: m, the number of examples that the probe was fitted on.

    Raises:
        ProbeInputError: A value is not finite, or all labels are equal.
    """
    limited = _limited(log_odds, fitted_on)[:, None]
    one, zero = limited.new_ones(1), limited.new_zeros(1)
    return HeldOutScores(float(logistic_loss(limited, y, one, zero)), float(accuracy(limited, y, one, zero)), float(auc(log_odds, y)))


def held_out_influences(log_odds: Float[Tensor, "n"], y: Bool[Tensor, "n"], fitted_on: int, units: Int[Tensor, "n"]) -> HeldOutInfluences:
    """How far each example moves what ``held_out_scores`` gives of the same.

    Args:
        log_odds: As there.
        y: Likewise.
        fitted_on: Likewise.
        units: The number of what each example belongs to, as in ``mean_influence``.
    """
    limited, y = _limited(log_odds, fitted_on), y.to(log_odds.device)
    loss, correct = cross_entropies(limited, y), ((limited > 0) == y).to(limited.dtype)
    return HeldOutInfluences(mean_influence(loss, y, units), mean_influence(correct, y, units), auc_influence(log_odds, y, units))


def _limited(log_odds: Float[Tensor, "n"], fitted_on: int) -> Float[Tensor, "n"]:
    most_certain = math.log(fitted_on + 1)
    return log_odds.clamp(-most_certain, most_certain)
