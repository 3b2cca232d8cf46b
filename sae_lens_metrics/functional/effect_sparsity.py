"""How many logits an effect touches (Gao et al. 2024, arXiv 2406.04093, section 4.5)."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.functional.lower_median import lower_median
from sae_lens_metrics.functional.statistics import widest_float

__all__ = ["DENSE_EFFECT", "EffectNorms", "effect_norms", "effect_sparsity", "sparsity", "tokens_affected"]

_AT_ONCE = {"cpu": 2**18}
"""Differences that are read again and again while they are in a processor's cache; elsewhere each call is best made once."""

DENSE_EFFECT = 2 / math.pi
"""The sparsity of an effect whose logit differences are independent and Gaussian: (E|x|)² / E x²."""


class EffectNorms(NamedTuple):
    """Norms of logit differences over the vocabulary, for each token, after their median is subtracted."""

    l1: Float[Tensor, "*batch T"]
    """Sum of magnitudes, in logits."""
    squares: Float[Tensor, "*batch T"]
    """Sum of squares, in squared logits."""


@torch.no_grad()
def effect_sparsity(logit_diffs: Float[Tensor, "*batch T V"]) -> Float[Tensor, "*batch"]:
    r"""The fraction of a model's outputs that an intervention touches (Gao et al. 2024, section 4.5).

    With d the logit differences of T tokens, from each of which its median over the vocabulary of V is subtracted, all V·T of them as
    one vector:

    .. math:: \frac{1}{VT} \left( \frac{\|d\|_1}{\|d\|_2} \right)^2

    The median is subtracted because a softmax does not see what is added to all logits of a token; of an even number of logits it is
    the lower one of the two in the middle, as in `torch.median`.

    Args:
        logit_diffs: Logits with the intervention minus logits without it.

    Returns:
        From 1 / (V·T), one logit, to 1, all of them alike; 2/π where they are Gaussian; 0 where the effect is exactly zero, which has no
        sparsity. In float64 where the device has it.

    Raises:
        ValueError: If there is no vocabulary or no token to take norms over, or a difference is not finite.
    """
    if logit_diffs.ndim < 2 or 0 in logit_diffs.shape[-2:]:
        raise ValueError(f"logit differences must be [..., T, V] with at least one token and one logit, not {tuple(logit_diffs.shape)}")
    norms = effect_norms(logit_diffs)
    if not bool(norms.squares.isfinite().all()):
        raise ValueError("logit differences hold NaN or infinity")
    return sparsity(norms, logit_diffs.shape[-1])


@torch.no_grad()
def effect_norms(logit_diffs: Float[Tensor, "*batch T V"], *, overwrite: bool = False) -> EffectNorms:
    """Norms of each token's logit differences around their median; those of several chunks of tokens can be put together.

    They are not finite where a difference is not: no device is waited for to see it.

    Args:
        logit_diffs: Logits with an intervention minus logits without it; half precision is computed in float32.
        overwrite: Whether the differences may be destroyed, which saves a copy of them.
    """
    wide = logit_diffs.dtype in (torch.float32, torch.float64)
    d = logit_diffs if wide and overwrite else logit_diffs.to(logit_diffs.dtype if wide else torch.float32, copy=True)
    rows = d.contiguous().flatten(0, -2)
    step = max(1, _AT_ONCE.get(d.device.type, rows.numel()) // max(1, rows.shape[1]))
    norms = [_norms(part) for part in rows.split(step)]
    return EffectNorms(*(torch.cat(column).view(d.shape[:-1]) for column in zip(*norms, strict=True)))


def _norms(d: Float[Tensor, "rows V"]) -> EffectNorms:
    """Those of some tokens, whose differences are overwritten."""
    d -= lower_median(d)[:, None]
    squares = torch.linalg.vector_norm(d, 2, dim=-1).to(widest_float(d.device)).square()
    # on a processor the sum is the faster and the more precise one; elsewhere the norm needs nothing written
    l1 = d.abs_().sum(-1) if d.device.type == "cpu" else torch.linalg.vector_norm(d, 1, dim=-1)
    return EffectNorms(l1.to(widest_float(d.device)), squares)


def sparsity(norms: EffectNorms, vocabulary: int) -> Float[Tensor, "*batch"]:
    """The sparsity of effects from their norms, as in ``effect_sparsity``.

    Args:
        norms: Norms of every token.
        vocabulary: Number of logits of a token.
    """
    size = vocabulary * norms.l1.shape[-1]
    return _ratio(norms.l1.sum(-1).square(), norms.squares.sum(-1) * size)


def tokens_affected(norms: EffectNorms) -> Float[Tensor, "*batch"]:
    """The fraction of the T tokens that effects touch: (Σ_t |d_t|_2)² / (T Σ_t |d_t|_2²), from 1/T to 1; 0 for no effect."""
    return _ratio(norms.squares.sqrt().sum(-1).square(), norms.squares.sum(-1) * norms.squares.shape[-1])


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator > 0, numerator / denominator, 0.0)
