"""What looking at decoder directions holds."""

from collections.abc import Mapping
from typing import Any

from sae_lens_metrics.metrics.memory_scale import FLOAT, MemoryScale

__all__ = ["AT_ONCE", "POSITIONS", "directions_memory"]

AT_ONCE = 2**25
"""Cosines, or logits, that are held at once."""
POSITIONS = 256
"""Positions of the text over which the slope of the final norm is averaged."""
_SLOPES, _SLOPE = 2**18, 12
"""Numbers of them that are differentiated at once, and how many tensors of that size there are."""
_COPIES = 4
"""Tensors of that size: the numbers, a copy in blocks, and what their largest are found by."""
_SEEN = 4
"""Tensors of all latents of some tokens: the latents, where they count, what they write, and what is added up."""
_SUMS = 16
"""Numbers that are added up for each latent."""


def directions_memory(settings: Any, scale: MemoryScale, others: Mapping[str, Any]) -> float:
    """Bytes: cosines and logits of some latents, the final norm's slope, latents of some tokens; and a second SAE."""
    second = 3.0 * FLOAT * scale.d_sae * scale.d_in if settings.against else 0.0
    seen = FLOAT * scale.d_sae * (_SEEN * scale.encoded + _SUMS)
    working = min(AT_ONCE, scale.d_sae * max(scale.d_sae, scale.vocabulary))
    slope = max(_SLOPES, POSITIONS * scale.d_in)
    return scale.batch + FLOAT * scale.d_in**2 + second + max(FLOAT * _SLOPE * slope, FLOAT * _COPIES * working, scale.dense + seen)
