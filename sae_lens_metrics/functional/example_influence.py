"""How far each example moves the scores of a probe, to first order.

A mean loss that a probe was fitted to is a minimum over its weight and bias: by the envelope theorem an example moves it as if the probe
stayed as it is, and what the fit adds is of second order. So does a score on other examples than those of the fit, given the probe.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from sae_lens_metrics.functional.statistics import widest_float

__all__ = ["auc_influence", "cross_entropies", "influence_within_classes", "summed_by_group"]


def cross_entropies(log_odds: Float[Tensor, "n"], y: Bool[Tensor, "n"]) -> Float[Tensor, "n"]:
    """The loss of each example in nats, -log of the probability that a probe gives to its label.

    Args:
        log_odds: Of the label 1.
        y: The labels.
    """
    log_odds = log_odds.to(widest_float(log_odds.device))
    return softplus(torch.where(y.to(log_odds.device), -log_odds, log_odds))


def influence_within_classes(values: Float[Tensor, "n"], y: Bool[Tensor, "n"]) -> Float[Tensor, "n"]:
    """How far each example moves a mean over examples, (v_i - mean of its class) / n: the classes keep their shares.

    With m_c the number of examples of a class, deviations from its mean are widened by sqrt(m_c / (m_c - 1)), so that of independent
    examples the sum of squares is the squared standard error of the stratified mean, without a bias (Cochran, Sampling Techniques,
    section 5.4).

    Args:
        values: A number for each example.
        y: The labels, which are the classes.
    """
    values, y = values.to(widest_float(values.device)), y.to(values.device)
    found = torch.zeros_like(values)
    for members in (y, ~y):
        own = values[members]
        if len(own) > 1:
            found[members] = (own - own.mean()) * (len(own) / (len(own) - 1)) ** 0.5 / len(values)
    return found


def auc_influence(scores: Float[Tensor, "n"], y: Bool[Tensor, "n"]) -> Float[Tensor, "n"]:
    """How far each example moves the area under the ROC curve: DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44), equation 4.

    The structural component of a positive example is the share of negative ones below it, ties counted half, and of a negative one that of
    positive ones above. An influence is a component's deviation from the mean over its class, which is the area, over sqrt(m_c (m_c - 1)).

    Args:
        scores: Higher for the label 1.
        y: The labels, of both classes.
    """
    scores, y = scores.to(widest_float(scores.device)), y.to(scores.device)
    found = torch.zeros_like(scores)
    for members, sign in ((y, 1), (~y, -1)):
        own, others = scores[members] * sign, (scores[~members] * sign).sort().values
        below = (torch.searchsorted(others, own) + torch.searchsorted(others, own, right=True)).to(scores.dtype) / (2 * len(others))
        if len(own) > 1:
            found[members] = (below - below.mean()) / (len(own) * (len(own) - 1)) ** 0.5
    return found


def summed_by_group(values: Float[Tensor, "n"], groups: Int[Tensor, "n"], count: int) -> Float[Tensor, "groups"]:
    """Sums over the examples of each group, in float64.

    Args:
        values: A number for each example.
        groups: The number of each example's group, from 0.
        count: How many groups there are.
    """
    return torch.zeros(count, dtype=torch.float64).index_add(0, groups, values.cpu().double())
