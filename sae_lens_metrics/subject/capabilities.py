"""What was found out about a model and an SAE by trying, once, when a subject was made."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sae_lens_metrics.subject.backends import Backend

__all__ = ["AffineEncoder", "DictionaryCapabilities", "SiteCapabilities", "relative_difference", "tolerance_of"]

_TOLERANCE = 1e-3
"""Largest relative difference between two ways to compute the same that is taken for rounding."""


@dataclass(frozen=True)
class AffineEncoder:
    """Names of the parameters with which pre-activations are ``given @ W_enc + bias``."""

    bias: str
    """The bias."""
    log_scale: str | None = None
    """The logarithm of what scales the columns of ``W_enc``, if anything does."""


@dataclass(frozen=True)
class DictionaryCapabilities:
    """How an SAE of some architecture encodes and decodes; the architecture's name says nothing about it."""

    affine_encoder: AffineEncoder | None
    """The affine map that gives its pre-activations, if one is known."""
    has_pre_activations: bool
    """Whether the encoder has values before its activation function."""
    adds_bias: bool
    """Whether ``b_dec`` is added in decoding; tied SAEs leave it out where the encoder does not subtract it."""
    unit_rows: bool
    """Whether the rows of ``W_dec`` are scaled to unit length in decoding."""
    concurrent: bool
    """Whether several threads may encode at once, as encoding leaves no state on the SAE."""


@dataclass(frozen=True)
class SiteCapabilities:
    """Which backend answers which questions: the fastest that was seen to give what whole runs give."""

    whole: Backend
    """Runs up to the hook of the reconstruction, and from it to the logits."""
    reading: Backend
    """Runs up to the hook that is read: the same one, but for a transcoder."""
    short_runs: Backend
    """Many short rows that begin alike, up to the hook that is read."""
    changes: Backend
    """Many changes from one position on."""


def relative_difference(a: Tensor, b: Tensor) -> float:
    """The norm of the difference over that of the second."""
    return float((a.float() - b.float()).norm() / b.float().norm().clamp_min(1e-12))


def tolerance_of(dtype: torch.dtype) -> float:
    """The largest relative difference that is taken for rounding."""
    return _TOLERANCE if dtype in (torch.float32, torch.float64) else 0.05
