"""How far each example moves the scores of a probe, to first order.

A mean loss that a probe was fitted to is a minimum over its weight and bias: by the envelope theorem an example moves it as if the probe
stayed as it is, and what the fit adds is of second order. So does a score on other examples than those of the fit, given the probe.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from sae_lens_metrics.functional.statistics import widest_float

__all__ = ["auc_influence", "cross_entropies", "mean_influence", "summed_by_group"]


def cross_entropies(log_odds: Float[Tensor, "n"], y: Bool[Tensor, "n"]) -> Float[Tensor, "n"]:
    """The loss of each example in nats, -log of the probability that a probe gives to its label.

    Args:
        log_odds: Of the label 1.
        y: The labels.
    """
    log_odds = log_odds.to(widest_float(log_odds.device))
    return softplus(torch.where(y.to(log_odds.device), -log_odds, log_odds))


def mean_influence(values: Float[Tensor, "n"], y: Bool[Tensor, "n"], units: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """How far each example moves a mean over examples, whose classes keep their shares: (v_i - mean of its class) / n, a bit widened.

    Sums over units, which are examples that belong together, have squares that add up to the squared standard error of the stratified
    mean (Cochran, Sampling Techniques, sections 5.4 and 6.3), without a bias: with w the share of a class that is of a unit, and S = Σ w²,
    deviations are widened by 1 / sqrt(1 - 2 w + S), as those of ``statistics.ratio_with_error``. Where examples each stand alone, m of a
    class, that is sqrt(m / (m - 1)). A class that is all of one unit has no spread, and influences 0.

    Args:
        values: A number for each example.
        y: The labels, which are the classes.
        units: The number of each example's unit, from 0.
    """
    values, y = values.to(widest_float(values.device)), y.to(values.device)
    share = y.to(values.dtype).mean()
    return _of_class_means(values, y, units, (float(share), float(1 - share)))


def auc_influence(scores: Float[Tensor, "n"], y: Bool[Tensor, "n"], units: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """How far each example moves the area under the ROC curve: DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44), equation 4.

    The structural component of a positive example is the share of negative ones below it, ties counted half, and of a negative one that of
    positive ones above: the area is the mean of either. Deviations are widened as those of ``mean_influence``.

    Args:
        scores: Higher for the label 1.
        y: The labels, of both classes.
        units: The number of each example's unit, from 0.
    """
    scores, y = scores.to(widest_float(scores.device)), y.to(scores.device)
    components = torch.zeros_like(scores)
    for members, sign in ((y, 1), (~y, -1)):
        own, others = (scores[members] * sign).contiguous(), (scores[~members] * sign).sort().values
        below = torch.searchsorted(others, own) + torch.searchsorted(others, own, right=True)
        components[members] = below.to(scores.dtype) / (2 * len(others))
    return _of_class_means(components, y, units, (1.0, 1.0))


def _of_class_means(
    values: Float[Tensor, "n"], y: Bool[Tensor, "n"], units: Int[Tensor, "n"], weights: tuple[float, float]
) -> Float[Tensor, "n"]:
    """How far each example moves a weighted sum of the means of the positive and the negative class."""
    found, units = torch.zeros_like(values), units.to(values.device)
    for members, weight in zip((y, ~y), weights, strict=True):
        own = values[members]
        share = units[members].bincount().to(values.dtype) / len(own)
        variance = (1 - 2 * share + share.square().sum())[units[members]]
        alone = variance < 1e-9  # the class is all of one unit
        found[members] = (weight * (own - own.mean()) / len(own) / variance.sqrt()).masked_fill(alone, 0)
    return found


def summed_by_group(values: Float[Tensor, "n"], groups: Int[Tensor, "n"], count: int) -> Float[Tensor, "groups"]:
    """Sums over the examples of each group, in float64.

    Args:
        values: A number for each example.
        groups: The number of each example's group, from 0.
        count: How many groups there are.
    """
    return torch.zeros(count, dtype=torch.float64).index_add(0, groups, values.cpu().double())
