"""Damped Newton-Raphson for many one-dimensional logistic regressions at once (Gao et al. 2024, arXiv 2406.04093, section 4.2)."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from sae_lens_metrics.errors import MetricsError
from sae_lens_metrics.functional.statistics import widest_float

__all__ = ["Fits", "Options", "ProbeInputError", "fit_sorted", "tile_elements", "view_like"]

_SEPARATED_LOGIT = 14.0  # log(1 + e^-14) is 8e-7 nats: what a finite weight leaves over the infimum
_FIRST_REACH = 16.0  # float32 still sees the curvature of an example that is wrong by 16
_REACH = 1e6
_FULL = 0.75  # of the latents at hand still going on: with fewer, the others are left behind, which takes a copy of all values
_FOLDS = 4  # halvings of rows: the 16 of which one logarithm is taken are below 2^16 together
_TILE_ELEMENTS = {"cpu": 2**17}
"""Activations that are gone through again and again while they are in a processor's cache; elsewhere a class at a time."""


class ProbeInputError(MetricsError):
    """The activations or labels given to a probe cannot be used; the message says what to change."""


class Options(NamedTuple):
    """What does not depend on the latents."""

    tolerance: float
    max_iterations: int

    buffers: Float[Tensor, "2 size"]
    """Memory to compute in, of ``tile_elements`` each; touching fresh memory costs more than computing."""


class Fits(NamedTuple):
    """One probe per latent; `LogisticFit` in probing.py says what each field is."""

    weight: Tensor
    bias: Tensor
    loss: Tensor
    converged: Tensor
    separable: Tensor
    unbounded: Tensor


class _Extremes(NamedTuple):
    """Each class's smallest and largest activation, per latent."""

    positive_min: Tensor
    positive_max: Tensor
    negative_min: Tensor
    negative_max: Tensor

    @classmethod
    def of(cls, z: Tensor, n_positive: int) -> "_Extremes":
        positive, negative = z[:n_positive], z[n_positive:]
        return cls(positive.amin(0), positive.amax(0), negative.amin(0), negative.amax(0))

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """The smallest and largest of all examples."""
        return torch.minimum(self.positive_min, self.negative_min), torch.maximum(self.positive_max, self.negative_max)

    def select(self, latents: Tensor) -> "_Extremes":
        return _Extremes(*(extreme[latents] for extreme in self))


def fit_sorted(z: Tensor, n_positive: int, options: Options, first_latent: int) -> Fits:
    """Fits a logistic regression on each column of z.

    Args:
        z: Activations, float32 or float64 [n, latents], positive examples first; overwritten.
        n_positive: How many rows are positive examples; both classes have one at least.
        options: How exactly, and in what memory.
        first_latent: The number of the first column, for messages.

    Raises:
        ProbeInputError: A value is not finite.
    """
    extremes = _Extremes.of(z, n_positive)
    smallest, largest = extremes.ends
    finite = (largest - smallest).isfinite()  # the extremes carry every NaN and infinity
    if not finite.all():
        bad = first_latent + int((~finite).nonzero()[0])
        raise ProbeInputError(
            f"The activations of latent {bad} are not finite, or spread beyond the range of {z.dtype}; remove or mask them."
        )
    rising = extremes.negative_max <= extremes.positive_min
    falling = extremes.positive_max <= extremes.negative_min
    overlapping = ~(rising | falling)
    if overlapping.all():
        return _overlapping_fit(z, n_positive, extremes, options)
    outer = (~overlapping).nonzero()[:, 0]
    separated = _separated_fit(z.index_select(1, outer), n_positive, extremes.select(outer), rising[outer])
    if not overlapping.any():
        return separated
    inner = overlapping.nonzero()[:, 0]
    overlapped = _overlapping_fit(z.index_select(1, inner), n_positive, extremes.select(inner), options)
    place = torch.cat([outer, inner]).argsort()
    return Fits(*(torch.cat(parts)[place] for parts in zip(separated, overlapped, strict=True)))


def _separated_fit(z: Tensor, n_positive: int, extremes: _Extremes, rising: Tensor) -> Fits:
    """The closed form where the classes meet in one value at most: only examples tied at that value keep any loss."""
    wide = widest_float(z.device)
    low = torch.where(rising, extremes.negative_max, extremes.positive_max)
    high = torch.where(rising, extremes.positive_min, extremes.negative_min)
    tied = z == low  # nothing but the lower class lies here if low < high
    tied_positive, tied_negative = tied[:n_positive].sum(0).to(wide), tied[n_positive:].sum(0).to(wide)
    separable = low != high
    share = tied_positive / (tied_positive + tied_negative)
    tie_entropy = -(torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share))
    loss = torch.where(separable, 0.0, tie_entropy * (tied_positive + tied_negative) / len(z))

    tie_logit = torch.where(separable, 0.0, share.logit())
    nearest = (z - low).abs_().masked_fill_(tied, math.inf).amin(0).to(wide)
    distance = torch.where(separable, (high.to(wide) - low.to(wide)) / 2, nearest)  # infinite for a constant latent
    boundary = torch.where(separable, low.to(wide) / 2 + high.to(wide) / 2, low.to(wide))
    weight = (_SEPARATED_LOGIT + tie_logit.abs()) / distance
    weight = torch.where(rising, weight, -weight).clamp_(torch.finfo(wide).min, torch.finfo(wide).max)
    always = torch.ones_like(separable)
    return Fits(weight, tie_logit - weight * boundary, loss, always, separable, distance.isfinite())


class _Newton(NamedTuple):
    """The state of the iteration for latents whose classes overlap, so that a finite optimum exists."""

    x: Float[Tensor, "n latents"]
    """Standardised activations, negated for the negative examples: an example is right by slope * x + sign * intercept."""

    ends: Float[Tensor, "2 latents"]
    """The smallest and largest standardised activation (not negated)."""

    point: Float[Tensor, "2 latents"]
    """Slope and intercept; the loss here is known to be no more than at every earlier point."""

    step: Float[Tensor, "2 latents"]
    """What to try next."""

    descent: Float[Tensor, "latents"]
    """The loss's derivative along the step at the point, at most 0."""

    def select(self, latents: Tensor) -> "_Newton":
        return _Newton(*(field.index_select(-1, latents) for field in self))


def _overlapping_fit(z: Tensor, n_positive: int, extremes: _Extremes, options: Options) -> Fits:
    """The fit where a finite optimum exists; z is overwritten."""
    wide = widest_float(z.device)
    smallest, largest = extremes.ends
    spread = largest - smallest
    # Subtracting a number near the decision boundary is exact there, where digits matter, whatever the offset and the outliers.
    overlap = torch.maximum(extremes.positive_min, extremes.negative_min), torch.minimum(extremes.positive_max, extremes.negative_max)
    centre = overlap[0] / 2 + overlap[1] / 2
    x, moments = z, _standardise(z, n_positive, centre, spread, options.buffers[0])
    ends = (torch.stack([smallest, largest]) - centre) / spread

    state = _start(x, ends.to(wide), n_positive, moments)
    point, converged = _minimise(state, n_positive, options)
    share = n_positive / len(x)
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    loss = _loss(x, point, n_positive, options.buffers).clamp_(max=entropy)  # the start's loss; rounding alone can exceed it
    weight = point[0] / spread
    unbounded = torch.zeros_like(converged)
    return Fits(weight, point[1] - weight * centre, loss, converged, unbounded, unbounded.clone())


def _standardise(x: Tensor, n_positive: int, centre: Tensor, spread: Tensor, buffer: Tensor) -> Tensor:
    """Brings activations to the form of `_Newton.x`, in place; returns the sums of these and of their squares, by class [2, 2, latents]."""
    moments = torch.zeros(2, 2, x.shape[1], dtype=widest_float(x.device), device=x.device)
    for negative, tile in _tiles(x, n_positive):
        tile.sub_(centre).div_(-spread if negative else spread)
        moments[negative, 0] += tile.sum(0)
        moments[negative, 1] += torch.mul(tile, tile, out=view_like(tile, buffer)).sum(0)
    return moments


def _start(x: Tensor, ends: Tensor, n_positive: int, moments: Tensor) -> _Newton:
    """From slope 0 (where the loss is the labels' entropy) towards the linear-discriminant solution, exact for Gaussian classes."""
    n, n_negative = len(x), len(x) - n_positive
    positive_mean, negative_mean = moments[0, 0] / n_positive, -moments[1, 0] / n_negative
    square = moments[:, 1].sum(0) / n
    within = square - positive_mean.square() * (n_positive / n) - negative_mean.square() * (n_negative / n)
    difference = positive_mean - negative_mean
    slope = difference / torch.maximum(within, 1e-6 * square)
    step = torch.stack([slope, -slope * (positive_mean + negative_mean) / 2])
    step *= (_FIRST_REACH / _reach(step, ends)).clamp(max=1)
    point = torch.zeros_like(step)
    point[1] = math.log(n_positive / n_negative)
    return _Newton(x, ends, point, step, -difference * step[0] * (n_positive * n_negative / n**2))


def _minimise(state: _Newton, n_positive: int, options: Options) -> tuple[Tensor, Tensor]:
    """Slope and intercept [2, latents] at the minimum, and where it was reached; a device is waited for once an iteration."""
    solution = state.point.clone()
    converged = torch.zeros(solution.shape[1], dtype=torch.bool, device=solution.device)
    index = torch.arange(len(converged), device=solution.device)
    found, done = state.point, converged
    for _ in range(options.max_iterations):
        state, finished = _iterate(state, n_positive, options)
        found = torch.where(done, found, torch.where(finished, state.point + state.step, state.point))
        done = done | finished
        left = len(done) - int(done.sum())
        if left <= _FULL * len(done):
            solution[:, index], converged[index] = found, done
            if not left:
                return solution, converged
            going_on = (~done).nonzero()[:, 0]
            state, index, found, done = state.select(going_on), index[going_on], found[:, going_on], done[going_on]
    solution[:, index], converged[index] = found, done
    return solution, converged


def _iterate(state: _Newton, n_positive: int, options: Options) -> tuple[_Newton, Tensor]:
    """Tries the step of every latent; returns the new state and which latents end after one step more.

    With d the most that the step moves any log-odds, f(point) >= f(trial) - f'(trial) + f''(trial) / (2 + d), derivatives along the step
    (self-concordance of the logistic loss: Bach 2010, arXiv 0910.4627, proposition 1), so that two derivatives tell whether the loss fell
    and the loss itself, the dearest function of all, is evaluated only at the end. For the same reason a Newton step with d <= 1/2 and a
    squared decrement l leaves at most about l * d² of the l / 2 it removes.
    """
    trial = state.point + state.step
    gradient, hessian = _derivatives(state.x, trial, n_positive, options.buffers)
    slope = (gradient * state.step).sum(0)
    curvature = (hessian[:2] * state.step.square()).sum(0) + 2 * hessian[2] * state.step.prod(0)
    ends = _unsaturated(state.ends, trial)
    # By convexity the loss has not risen by more than the slope, so one as small as rounding is no reason to refuse either.
    accepted = slope <= (curvature / (2 + _reach(state.step, ends))).clamp(min=0.01 * options.tolerance)
    newton, decrement = _newton_step(gradient, hessian)
    reach = _reach(newton, ends)
    capped = (_REACH / reach).clamp(max=1)
    # The loss's derivative changed sign between point and trial: its zero on the secant is near the minimum along the step.
    shorter = (state.descent / (state.descent - slope)).clamp(0.1, 0.5)
    point = torch.where(accepted, trial, state.point)
    step = torch.where(accepted, newton * capped, state.step * shorter)
    descent = torch.where(accepted, -decrement * capped, state.descent * shorter)
    finished = accepted & (reach <= 0.5) & (decrement * reach.square() <= options.tolerance)
    return state._replace(point=point, step=step, descent=descent), finished


def tile_elements(examples: int, latents: int, device: torch.device) -> int:
    """How many activations, of whole examples, are gone through at a time, at most."""
    return min(examples * latents, max(_TILE_ELEMENTS.get(device.type, examples * latents), latents))


def _tiles(x: Tensor, n_positive: int) -> Iterator[tuple[int, Tensor]]:
    """Some examples of one class at a time, and whether they are negative ones (1) or not (0)."""
    rows = max(1, tile_elements(len(x), x.shape[1], x.device) // max(1, x.shape[1]))
    for negative, members in enumerate((x[:n_positive], x[n_positive:])):
        for tile in members.split(rows):
            yield negative, tile


def _wrong_by(tile: Tensor, negative: int, point: Tensor, out: Tensor) -> Tensor:
    """Minus the log-odds of each example's own label, from minus slope and intercept."""
    return torch.addcmul(-point[1] if negative else point[1], tile, point[0], out=out)


def _loss(x: Tensor, point: Tensor, n_positive: int, buffers: Tensor) -> Tensor:
    """The mean cross-entropy, softplus(u) of what each example is wrong by."""
    loss, minus = torch.zeros_like(point[0]), (-point).to(x.dtype)
    for negative, tile in _tiles(x, n_positive):
        wrong_by = _wrong_by(tile, negative, minus, view_like(tile, buffers[0]))
        loss += _softplus_sum(wrong_by, buffers[1]) if x.device.type == "cpu" else softplus(wrong_by).sum(0)
    return loss / len(x)


def _softplus_sum(u: Tensor, buffer: Tensor) -> Tensor:
    """The sum over rows of max(u, 0) + log(1 + t) with t = exp(-|u|), with a logarithm for every few rows; u is overwritten.

    By (1 + s)(1 + t) = 1 + (s + t + s t) two logarithms are one, and small terms keep their digits. A logarithm takes a processor longer
    than all else here.
    """
    total = torch.clamp(u, min=0, out=view_like(u, buffer)).sum(0)
    t = u.abs_().neg_().exp_()
    for _ in range(_FOLDS):
        half = len(t) // 2
        if len(t) % 2:
            total += t[-1].log1p()
        t, other = t[:half], t[half : 2 * half]
        t += other.addcmul_(other, t)
    return total + t.log1p_().sum(0)


def view_like(x: Tensor, buffer: Tensor) -> Tensor:
    """The beginning of a flat buffer, in the shape of x."""
    return buffer[: x.numel()].view(x.shape)


def _derivatives(x: Tensor, point: Tensor, n_positive: int, buffers: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient [2, latents] and Hessian [3, latents] (its diagonal, then what is off it) of the mean loss, by passes in place."""
    sums, minus = point.new_zeros(2, 5, x.shape[1]), (-point).to(x.dtype)  # of positive examples, and of negative ones
    part = x.new_empty(5, x.shape[1])
    for negative, tile in _tiles(x, n_positive):
        both = buffers[:, : tile.numel()].view(2, *tile.shape)
        error, weight = both
        _wrong_by(tile, negative, minus, error)
        # The probability given to the wrong label keeps its relative precision as it vanishes, unlike the probability of the label 1.
        torch.addcmul(error.sigmoid_(), error, error, value=-1, out=weight)
        torch.sum(both, 1, out=part[:2])
        torch.sum(both.mul_(tile), 1, out=part[2:4])
        torch.sum(weight.mul_(tile), 0, out=part[4])
        sums[negative] += part
    # x has the opposite sign for negative examples
    gradient = torch.stack([-(sums[0, 2] + sums[1, 2]), sums[1, 0] - sums[0, 0]])
    return gradient / len(x), torch.stack([sums[0, 4] + sums[1, 4], sums[0, 1] + sums[1, 1], sums[0, 3] - sums[1, 3]]) / len(x)


def _newton_step(gradient: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor]:
    """The step [2, latents] to the minimum of the quadratic model, and twice the decrease it predicts [latents]."""
    scale = hessian[:2].clamp(min=torch.finfo(hessian.dtype).tiny).sqrt_()
    # Rounding must not make the Hessian indefinite: a correlation below 1 keeps every step a descent.
    correlation = (hessian[2] / scale[0] / scale[1]).clamp_(-1 + 1e-7, 1 - 1e-7)
    scaled = gradient / scale
    step = (correlation * scaled.flip(0) - scaled) / (1 - correlation.square())
    return step / scale, -(scaled * step).sum(0)


def _reach(step: Tensor, ends: Tensor) -> Tensor:
    """The most that a step moves the log-odds of any example of a latent."""
    return (step[0] * ends + step[1]).abs().amax(0)


def _unsaturated(ends: Tensor, point: Tensor) -> Tensor:
    """The range of activations without those where the log-odds are beyond +-50: there the loss has no curvature to speak of (e^-50)."""
    slope = torch.where(point[0] == 0, torch.finfo(point.dtype).tiny, point[0])
    middle, width = -point[1] / slope, 50 / slope.abs()
    return ends.clamp(middle - width, middle + width)
