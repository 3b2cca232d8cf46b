"""Logistic regression on many variables with a quadratic penalty, many fits at once, by Newton's method."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["fit_ridge_logistic", "log_odds"]

_SUFFICIENT = 1e-4  # of the decrease that the slope promises: the usual choice of Armijo's rule
_HALVINGS = 30
_FORCING = 0.3  # of the gradient, where conjugate gradients end: exact directions far from the minimum are wasted
_MAX_DIRECTIONS = 50


class _Problem(NamedTuple):
    """Fits that share their examples; the last of the variables is the constant 1, of which nothing is penalised."""

    x: Float[Tensor, "n variables"]
    sign: Float[Tensor, "n 1"]
    """1 for positive examples, -1 for the others."""
    used: Float[Tensor, "n fits"]
    """1 for the examples of a fit, 0 for those that it leaves out."""
    ridge: Float[Tensor, "variables fits"]
    """The penalty of each variable."""

    def loss(self, at: Float[Tensor, "variables fits"], logits: Float[Tensor, "n fits"]) -> Float[Tensor, "fits"]:
        """The sum of cross-entropies and penalties."""
        return (self.used * softplus(-self.sign * logits)).sum(0) + (self.ridge * at.square()).sum(0) / 2

    def select(self, fits: Bool[Tensor, "fits"]) -> "_Problem":
        return self._replace(used=self.used[:, fits], ridge=self.ridge[:, fits])


def log_odds(x: Float[Tensor, "n d"], weights: Float[Tensor, "d_plus_1 fits"]) -> Float[Tensor, "n fits"]:
    """The log-odds that fits give to examples; the last row of the weights are the biases."""
    return x @ weights[:-1] + weights[-1]


@torch.no_grad()
def fit_ridge_logistic(
    x: Float[Tensor, "n d"],
    y: Bool[Tensor, "n"],
    used: Bool[Tensor, "n fits"],
    penalties: Float[Tensor, "fits"],
    *,
    tolerance: float = 1e-7,
    max_iterations: int = 50,
) -> Float[Tensor, "d_plus_1 fits"]:
    """Fits logistic regressions with a quadratic penalty on subsets of the same examples.

    Each minimises over (w, b) the sum over its examples of -[y log σ(w·x + b) + (1 - y) log(1 - σ(w·x + b))], plus penalty / 2 |w|²; the
    bias is not penalised. A Newton step is found by conjugate gradients, for all fits at once, and halved until the loss falls; it is
    found fastest where the columns of x are uncorrelated, as principal components are.

    Args:
        x: Examples, float64 (float32 on devices without it).
        y: Their labels.
        used: Which examples each fit is on; of both classes, or the bias grows until the iterations run out.
        penalties: The penalty of each fit, above 0: 1 / C of scikit-learn.
        tolerance: What is left of the mean loss, in nats, when a fit ends: half the squared Newton decrement over the examples.
        max_iterations: Newton steps at most.

    Returns:
        The weights, and in the last row the biases.
    """
    ridge = torch.cat([penalties.expand(x.shape[1], -1), torch.zeros_like(penalties)[None]])
    problem = _Problem(torch.cat([x, x.new_ones(len(x), 1)], 1), 2 * y.to(x.dtype)[:, None] - 1, used.to(x.dtype), ridge.to(x))
    found = torch.zeros_like(problem.ridge)
    active = torch.ones_like(penalties, dtype=torch.bool)
    for _ in range(max_iterations):
        found[:, active], decrement = _newton_step(problem.select(active), found[:, active])
        active[active.clone()] = decrement > 2 * tolerance * problem.used[:, active].sum(0)
        if not active.any():
            break
    return found


def _newton_step(problem: _Problem, at: Tensor) -> tuple[Tensor, Tensor]:
    """The next point of each fit, and the squared Newton decrement: twice what the quadratic model promised."""
    x, logits = problem.x, problem.x @ at
    wrong = torch.sigmoid(-problem.sign * logits)
    gradient = problem.ridge * at - x.T @ (problem.used * problem.sign * wrong)
    step = _conjugate_gradients(problem, problem.used * wrong * (1 - wrong), -gradient)
    decrement = -(gradient * step).sum(0)
    return at + _step_size(problem, at, step, decrement) * step, decrement


def _conjugate_gradients(problem: _Problem, curvature: Float[Tensor, "n fits"], target: Tensor) -> Float[Tensor, "variables fits"]:
    """Solves Hessian · step = target for each fit, preconditioned by the largest that the Hessian's diagonal can be."""
    x, ridge = problem.x, problem.ridge
    largest = x.square().T @ problem.used / 4 + ridge
    step, residual = torch.zeros_like(target), target
    direction = scaled = residual / largest
    size = first = (residual * scaled).sum(0)
    for _ in range(_MAX_DIRECTIONS):
        image = x.T @ (curvature * (x @ direction)) + ridge * direction
        length = _over(size, (direction * image).sum(0))
        step, residual = step + length * direction, residual - length * image
        scaled = residual / largest
        before, size = size, (residual * scaled).sum(0)
        if (size <= _FORCING**2 * first).all():
            break
        direction = scaled + _over(size, before) * direction
    return step


def _over(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A quotient, 0 where a fit is exact and both are 0."""
    return torch.where(denominator > 0, numerator / denominator, 0)


def _step_size(problem: _Problem, at: Tensor, step: Tensor, decrement: Tensor) -> Float[Tensor, "fits"]:
    """1, halved until the loss falls by a part of what the slope promises; next to 0 where rounding hides any fall."""
    size = torch.ones_like(decrement)
    before = problem.loss(at, problem.x @ at)
    logits, moved = problem.x @ at, problem.x @ step
    for _ in range(_HALVINGS):
        loss = problem.loss(at + size * step, logits + size * moved)
        falls = loss <= before - _SUFFICIENT * size * decrement
        if falls.all():
            break
        size = torch.where(falls, size, size / 2)
    return size
