"""What probing holds."""

from collections.abc import Mapping
from typing import Any

from sae_lens_metrics.metrics.memory_scale import FLOAT, MemoryScale

__all__ = ["probe_memory"]

_ENOUGH, _COPIES = 2**25, 9
"""Values of a chunk of candidates, and how many tensors of that size there are."""
_DENSE_PROBE = 30
"""Bytes for each text and channel of the probe on all channels."""
_TASKS = 16
"""Tasks whose texts are run together, as many as are to be reckoned with."""


def probe_memory(settings: Any, scale: MemoryScale, others: Mapping[str, Any]) -> float:
    """Bytes: texts run through the model, and within ``memory_gb`` their activations, random directions and a chunk of candidates."""
    half = settings.examples / 2
    chunk = min(_ENOUGH, half * scale.d_sae)
    directions = min(scale.memory / 8, FLOAT * scale.d_in * scale.d_sae)
    vectors = min(scale.memory / 4, FLOAT * 2 * _TASKS * settings.examples * scale.d_in)
    searching = FLOAT * _COPIES * chunk + directions + vectors + 32 * scale.d_sae
    return min(scale.memory, searching) + max(scale.batch, _DENSE_PROBE * half * scale.d_in)
