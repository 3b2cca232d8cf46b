"""What reconstruction from explanations holds."""

from collections.abc import Mapping
from typing import Any

from sae_lens_metrics.metrics.memory_scale import FLOAT, MemoryScale
from sae_lens_metrics.metrics.n2g.memory import matching_memory

__all__ = ["explanation_memory"]

_REPLACED = 12
"""Activations of a batch in whose place something is put."""
_MEANS = 1 / 2
"""Of ``memory_gb``, for means given tokens."""


def explanation_memory(settings: Any, scale: MemoryScale, others: Mapping[str, Any]) -> float:
    """Bytes: explanations ready to be matched, means given tokens, and a batch with all that is put in its place."""
    means = min(scale.memory * _MEANS, 2 * scale.tokens * (FLOAT * scale.d_in + 16))
    replaced = FLOAT * _REPLACED * scale.at_once * scale.d_in
    return (
        matching_memory(others["n2g"], scale)
        + 24 * scale.d_sae
        + means
        + replaced
        + scale.batch
        + max(1.5 * scale.dense, scale.losses + scale.dense / 2)
    )
