"""One-dimensional logistic probes: thousands fitted at once, and their scores (Gao et al. 2024, arXiv 2406.04093, section 4.2)."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from sae_lens_metrics.functional.logistic import Fits, Options, ProbeInputError, fit_sorted, tile_elements, view_like
from sae_lens_metrics.functional.statistics import widest_float
from sae_lens_metrics.functional.threads import chunk_threads

__all__ = ["LogisticFit", "ProbeInputError", "accuracy", "auc", "fit_logistic_1d", "label_entropy", "logistic_loss"]

CHUNK_ELEMENTS = {"cpu": 2**20}
"""Activations of a chunk by type of device: enough latents to hide the cost of a call."""
CHUNK_ELEMENTS_ELSEWHERE = 2**25
"""The same where nothing is known about the device."""


@dataclass(frozen=True)
class LogisticFit:
    """The best one-dimensional logistic probe of each latent; the predicted log-odds are ``weight * z + bias``.

    The tensors are float64 (float32 on devices without it), since a bias that cancels a large offset of z needs the digits.
    """

    weight: Float[Tensor, "latents"]
    """Log-odds per unit of z, always finite; 0 for a constant latent."""

    bias: Float[Tensor, "latents"]
    """Log-odds at z = 0, always finite; the labels' own log-odds for a constant latent."""

    loss: Float[Tensor, "latents"]
    """The minimum (where ``unbounded``, the infimum) of the mean cross-entropy in nats, in [0, entropy of the labels]."""

    converged: Bool[Tensor, "latents"]
    """True where ``loss`` is the optimum to the tolerance; False where the iterations ran out first."""

    separable: Bool[Tensor, "latents"]
    """True where a threshold on z classifies every example: the loss is 0."""

    unbounded: Bool[Tensor, "latents"]
    """True where no finite weight is optimal, because a threshold classifies every example but those tied with it.

    Holds wherever ``separable`` does. ``weight`` and ``bias`` are then a point whose loss exceeds ``loss`` by less than 1e-6.
    """


@torch.no_grad()
def fit_logistic_1d(
    z: Float[Tensor, "n latents"],
    y: Bool[Tensor, "n"] | Int[Tensor, "n"] | Float[Tensor, "n"],
    *,
    tolerance: float = 1e-8,
    max_iterations: int = 100,
    chunk_elements: int | None = None,
) -> LogisticFit:
    r"""Fits an unpenalised logistic regression of the labels on each latent alone (Gao et al. 2024, equation 4).

    For each latent i, minimises over (w, b) the mean over examples of

    .. math:: -[y \log \sigma(w z_i + b) + (1 - y) \log (1 - \sigma(w z_i + b))]

    by Newton-Raphson on all latents at once, from the linear-discriminant solution. A step is taken only where the loss is certain to
    fall, so the iteration cannot diverge; otherwise it is shortened. Where the classes do not overlap (separable, tied at the threshold,
    or a constant latent) the infimum has a closed form and there is no iteration. Fits are invariant to the offset and scale of z.

    Args:
        z: One column of activations per latent, in any unit. Half precision is computed in float32, float64 in float64.
        y: The labels, each 0 or 1.
        tolerance: Bound, in nats, on what the loss may exceed the optimum by (float32's rounding of the mean comes on top).
        max_iterations: Evaluations of the gradient after which a latent is given up as not converged; 1 to 4 is usual.
        chunk_elements: Activations that a thread works on at a time, by default ``CHUNK_ELEMENTS``; results depend on it by rounding only.

    Returns:
        One probe per latent.

    Raises:
        ProbeInputError: z is not a finite matrix of floating-point numbers, y does not fit it, or all labels are equal.

    Note:
        Working memory: at most six buffers, of 2**20 numbers for each thread of a CPU (24 MB in float32), of 2**25 elsewhere (0.8 GB), or
        of ``n`` where that is more, whatever the number of latents. The result is 27 bytes a latent.
    """
    _check_activations(z)
    positive = _labels(y, z)
    order = torch.cat([positive.nonzero()[:, 0], (~positive).nonzero()[:, 0]])
    n_positive = int(positive.sum())
    dtype = torch.float64 if z.dtype == torch.float64 else torch.float32
    if chunk_elements is None:
        chunk_elements = CHUNK_ELEMENTS.get(z.device.type, CHUNK_ELEMENTS_ELSEWHERE)
    threads = torch.get_num_threads() if z.device.type == "cpu" else 1
    width = max(1, min(chunk_elements // len(order), -(-z.shape[1] // threads)))
    width = min(width, max(1, z.shape[1]))
    tile = tile_elements(len(order), width, z.device)
    idle: list[tuple[Tensor, Tensor]] = []  # the memory of threads that have finished a chunk

    def fit_chunk(start: int) -> Fits:
        chunk = z[:, start : start + width].to(dtype)
        values, buffers = idle.pop() if idle else (chunk.new_empty(len(order) * width), chunk.new_empty(2, tile))
        by_class = torch.index_select(chunk, 0, order, out=view_like(chunk, values))
        fits = fit_sorted(by_class, n_positive, Options(tolerance, max_iterations, buffers), first_latent=start)
        idle.append((values, buffers))
        return fits

    with chunk_threads(z.device) as run:
        chunks = list(run(fit_chunk, range(0, max(1, z.shape[1]), width)))
    return LogisticFit(*(torch.cat(column) for column in zip(*chunks, strict=True)))


@torch.no_grad()
def logistic_loss(
    z: Float[Tensor, "n latents"],
    y: Bool[Tensor, "n"] | Int[Tensor, "n"] | Float[Tensor, "n"],
    weight: Float[Tensor, "latents"],
    bias: Float[Tensor, "latents"],
) -> Float[Tensor, "latents"]:
    """The mean cross-entropy of each latent's probe on these examples, in nats, at least 0 (Gao et al. 2024, equation 4).

    On other examples than those of the fit it has no upper bound: the steep probe of a separable latent is surely wrong where it is wrong.
    Working memory: three float64 tensors of z's shape.

    Raises:
        ProbeInputError: z is not a finite matrix of floating-point numbers or y does not fit it.
    """
    logits = _logits(z, weight, bias)
    positive = _labels(y, z, both_classes=False)
    return softplus(torch.where(positive[:, None], -logits, logits)).mean(0)


@torch.no_grad()
def accuracy(
    z: Float[Tensor, "n latents"],
    y: Bool[Tensor, "n"] | Int[Tensor, "n"] | Float[Tensor, "n"],
    weight: Float[Tensor, "latents"],
    bias: Float[Tensor, "latents"],
) -> Float[Tensor, "latents"]:
    """The fraction of examples, in [0, 1], that each latent's probe classifies correctly; log-odds of exactly 0 predict the label 0.

    Raises:
        ProbeInputError: z is not a finite matrix of floating-point numbers or y does not fit it.
    """
    predicted = _logits(z, weight, bias) > 0
    positive = _labels(y, z, both_classes=False)
    return (predicted == positive[:, None]).to(widest_float(z.device)).mean(0)


@torch.no_grad()
def auc(
    scores: Float[Tensor, "n ..."],
    y: Bool[Tensor, "n"] | Int[Tensor, "n"] | Float[Tensor, "n"],
) -> Float[Tensor, "..."]:
    """The area under the ROC curve: the probability that a positive example scores above a negative one, ties counted half.

    It is the Mann-Whitney U statistic over the number of pairs, exact with ties, in [0, 1]; 0.5 is chance. Below 0.5 the score orders the
    classes the other way round: give the probe's log-odds, or ``weight.sign() * z``, to have its direction counted.
    Working memory: about 16 bytes per score beside two copies of the scores.

    Raises:
        ProbeInputError: scores holds NaN, y does not fit it, or all labels are equal.
    """
    if scores.isnan().any():
        raise ProbeInputError("The scores hold NaN, which has no rank; remove those examples.")
    positive = _labels(y, scores)
    columns = scores.flatten(1) if scores.ndim > 1 else scores[:, None]
    negatives = columns[~positive].T.sort(dim=-1).values.contiguous()
    positives = columns[positive].T.contiguous()
    below = torch.searchsorted(negatives, positives).sum(-1)
    not_above = torch.searchsorted(negatives, positives, right=True).sum(-1)
    pairs = negatives.shape[1] * positives.shape[1]
    return ((below + not_above).to(widest_float(scores.device)) / (2 * pairs)).reshape(scores.shape[1:])


def label_entropy(y: Bool[Tensor, "n"] | Int[Tensor, "n"] | Float[Tensor, "n"]) -> Float[Tensor, ""]:
    """The entropy of the labels in nats, in [0, ln 2]: the loss of the best probe that ignores the activations."""
    share = y.to(widest_float(y.device)).mean()
    return -(torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share))


def _check_activations(z: Tensor) -> None:
    if z.ndim != 2 or not z.is_floating_point():
        raise ProbeInputError(f"z must be a floating-point matrix [n, latents], not {z.dtype} of shape {tuple(z.shape)}.")


def _labels(y: Tensor, rows: Tensor, *, both_classes: bool = True) -> Bool[Tensor, "n"]:
    """The labels as booleans, on the device of the rows that they label."""
    if y.ndim != 1 or len(y) == 0 or y.shape != rows.shape[:1]:
        raise ProbeInputError(f"There must be one label per row and one row at least, not labels {tuple(y.shape)} for {tuple(rows.shape)}.")
    positive = y.to(rows.device) == 1
    if not (positive | (y.to(rows.device) == 0)).all():
        raise ProbeInputError("Every label must be 0 or 1 (or False or True).")
    if both_classes and (positive.all() or not positive.any()):
        raise ProbeInputError(f"All {len(y)} labels are equal; a probe needs examples of both classes.")
    return positive


def _logits(z: Tensor, weight: Tensor, bias: Tensor) -> Float[Tensor, "n latents"]:
    _check_activations(z)
    if not z.isfinite().all():
        raise ProbeInputError("The activations are not all finite; remove or mask them.")
    return z.to(widest_float(z.device)) * weight + bias
