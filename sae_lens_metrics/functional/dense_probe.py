"""A logistic probe on a whole activation, all channels at once, whose penalty is chosen by cross-validation."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from sae_lens_metrics.functional.ridge_logistic import fit_ridge_logistic, log_odds
from sae_lens_metrics.functional.statistics import widest_float

__all__ = ["PENALTIES", "DenseProbe", "fit_dense_probe"]

PENALTIES = tuple(10.0**power for power in range(5, -2, -1))
"""Penalties to choose from, 1 / C of scikit-learn, for channels of variance 1; of several with the same loss the largest is taken."""


class DenseProbe(NamedTuple):
    """A probe that reads every channel: the log-odds are ``x @ weight + bias``."""

    weight: Float[Tensor, "d"]
    """Log-odds per unit of each channel; 0 for a constant one."""
    bias: Float[Tensor, ""]
    """Log-odds at x = 0."""
    penalty: float
    """The penalty that was chosen."""

    def log_odds(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """The log-odds of examples."""
        return x.to(self.weight) @ self.weight + self.bias


@torch.no_grad()
def fit_dense_probe(
    x: Float[Tensor, "n d"], y: Bool[Tensor, "n"], folds: Int[Tensor, "n"], penalties: Sequence[float] = PENALTIES
) -> DenseProbe:
    """Fits a logistic regression with a quadratic penalty to standardised channels.

    The penalty is that of least mean cross-entropy on left-out folds; the probe is then fitted with it on all examples.

    Args:
        x: Activations.
        y: The labels, of both classes.
        folds: For each example the number of its fold; what belongs together, as texts of one document, is in one fold.
        penalties: To choose from, for channels of variance 1.
    """
    x = x.cpu() if x.device.type == "mps" else x  # which has no eigenvectors
    y, folds = y.to(x.device), folds.to(x.device)
    wide = x.to(widest_float(x.device))
    mean, spread = wide.mean(0), wide.std(0, correction=0)
    spread = torch.where(spread > 0, spread, torch.inf)  # a constant channel gets no weight
    components, back = _principal_components((wide - mean) / spread)
    penalty = _best_penalty(components, y, folds, torch.tensor(penalties).to(components))
    every = torch.ones_like(y)[:, None]
    found = fit_ridge_logistic(components, y, every, penalty[None])[:, 0]
    weight = back @ found[:-1] / spread
    return DenseProbe(weight, found[-1] - mean @ weight, float(penalty))


def _principal_components(x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n r"], Float[Tensor, "d r"]]:
    """Examples turned so that their columns are uncorrelated, no more of them than examples, and what turns weights back.

    The penalty |w|² is the same after a turn, so a fit is too.
    """
    n, d = x.shape
    if n > d:
        directions = torch.linalg.eigh(x.T @ x)[1]
        return x @ directions, directions
    squares, examples = torch.linalg.eigh(x @ x.T)
    there = squares > squares[-1] * n * torch.finfo(x.dtype).eps
    lengths, examples = squares[there].sqrt(), examples[:, there]
    return examples * lengths, x.T @ examples / lengths


def _best_penalty(x: Tensor, y: Bool[Tensor, "n"], folds: Int[Tensor, "n"], penalties: Float[Tensor, "penalties"]) -> Float[Tensor, ""]:
    numbers = folds.unique()
    used = (folds[:, None] != numbers).repeat_interleave(len(penalties), 1)
    weights = fit_ridge_logistic(x, y, used, penalties.repeat(len(numbers)))
    sign = 2 * y.to(x.dtype)[:, None] - 1
    losses = softplus(-sign * log_odds(x, weights)) * ~used
    return penalties[losses.sum(0).view(len(numbers), len(penalties)).sum(0).argmin()]
