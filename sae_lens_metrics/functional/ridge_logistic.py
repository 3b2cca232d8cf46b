"""Logistic regression on many variables with a quadratic penalty, many fits at once, by Newton's method."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["fit_ridge_logistic", "log_odds"]

_SUFFICIENT = 1e-4  # of the decrease that the slope promises: the usual choice of Armijo's rule
_HALVINGS = 30
_FORCING = 0.3  # of the gradient, where conjugate gradients end: exact directions far from the minimum are wasted
_MAX_DIRECTIONS = 50
_LOOKS_EVERY = {"cpu": 1}
"""After how many directions it is looked whether they are enough, for which other devices would be waited for."""
_LOOKS_EVERY_ELSEWHERE = 4


class _Problem(NamedTuple):
    """Fits that share their examples; the last of the variables is the constant 1, of which nothing is penalised."""

    x: Float[Tensor, "n variables"]
    """Examples, negated for negative ones: an example is right by x @ weights."""
    used: Float[Tensor, "n fits"]
    """1 for the examples of a fit, 0 for those that it leaves out."""
    ridge: Float[Tensor, "variables fits"]
    """The penalty of each variable."""
    largest: Float[Tensor, "variables fits"]
    """The largest that the Hessian's diagonal can be."""

    @classmethod
    def of(cls, x: Tensor, y: Tensor, used: Tensor, penalties: Tensor) -> "_Problem":
        """That of ``fit_ridge_logistic``."""
        x = torch.cat([x, x.new_ones(len(x), 1)], 1) * (2 * y.to(x.dtype)[:, None] - 1)
        used = used.to(x.dtype)
        ridge = torch.cat([penalties.expand(x.shape[1] - 1, -1), torch.zeros_like(penalties)[None]]).to(x)
        return cls(x, used, ridge, x.square().T @ used / 4 + ridge)

    def loss(self, at: Float[Tensor, "variables fits"], right_by: Float[Tensor, "n fits"]) -> Float[Tensor, "fits"]:
        """The sum of cross-entropies and penalties."""
        return softplus(-right_by).mul_(self.used).sum(0) + (self.ridge * at.square()).sum(0) / 2

    def select(self, fits: Int[Tensor, "some"]) -> "_Problem":
        return self._replace(used=self.used[:, fits], ridge=self.ridge[:, fits], largest=self.largest[:, fits])


class _Point(NamedTuple):
    """Where the fits are."""

    at: Float[Tensor, "variables fits"]
    right_by: Float[Tensor, "n fits"]
    """The log-odds of each example's own label there."""


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
    problem = _Problem.of(x, y, used, penalties)
    found, index = torch.zeros_like(problem.ridge), torch.arange(len(penalties), device=x.device)
    point = _Point(found.clone(), torch.zeros_like(problem.used))
    for _ in range(max_iterations):
        point, decrement = _newton_step(problem, point)
        found[:, index] = point.at
        going_on = (decrement > 2 * tolerance * problem.used.sum(0)).nonzero()[:, 0]
        if not len(going_on):
            break
        if len(going_on) < len(index):
            problem, index = problem.select(going_on), index[going_on]
            point = _Point(point.at[:, going_on], point.right_by[:, going_on])
    return found


def _newton_step(problem: _Problem, point: _Point) -> tuple[_Point, Tensor]:
    """The next point of each fit, and the squared Newton decrement: twice what the quadratic model promised."""
    wrong = torch.sigmoid(-point.right_by)
    used = problem.used * wrong
    gradient = problem.ridge * point.at - problem.x.T @ used
    step = _conjugate_gradients(problem, torch.addcmul(used, used, wrong, value=-1), -gradient)
    decrement = -(gradient * step).sum(0)
    return _stepped(problem, point, step, decrement), decrement


def _conjugate_gradients(problem: _Problem, curvature: Float[Tensor, "n fits"], target: Tensor) -> Float[Tensor, "variables fits"]:
    """Solves Hessian · step = target for each fit, preconditioned by the largest that the Hessian's diagonal can be."""
    x, ridge = problem.x, problem.ridge
    step, residual = torch.zeros_like(target), target.clone()
    direction = scaled = residual / problem.largest
    size = first = (residual * scaled).sum(0)
    every = _LOOKS_EVERY.get(x.device.type, _LOOKS_EVERY_ELSEWHERE)
    for number in range(1, _MAX_DIRECTIONS + 1):
        image = torch.addcmul(x.T @ (x @ direction).mul_(curvature), ridge, direction)
        length = _over(size, (direction * image).sum(0))
        step.addcmul_(direction, length)
        residual.addcmul_(image, length, value=-1)
        scaled = residual / problem.largest
        before, size = size, (residual * scaled).sum(0)
        if number % every == 0 and bool((size <= _FORCING**2 * first).all()):
            break
        direction = torch.addcmul(scaled, direction, _over(size, before))
    return step


def _over(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A quotient, 0 where a fit is exact and both are 0."""
    return torch.where(denominator > 0, numerator / denominator, 0)


def _stepped(problem: _Problem, point: _Point, step: Tensor, decrement: Tensor) -> _Point:
    """The whole step, halved until the loss falls by a part of what the slope promises; next to none where rounding hides any fall."""
    size = torch.ones_like(decrement)
    before, moved = problem.loss(*point), problem.x @ step
    there = _Point(point.at + step, point.right_by + moved)
    for _ in range(_HALVINGS):
        falls = problem.loss(*there) <= before - _SUFFICIENT * size * decrement
        if falls.all():
            break
        size = torch.where(falls, size, size / 2)
        there = _Point(torch.addcmul(point.at, step, size), torch.addcmul(point.right_by, moved, size))
    return there
