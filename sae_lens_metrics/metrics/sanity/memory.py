"""What the sanity line holds."""

from collections.abc import Mapping
from typing import Any

from sae_lens_metrics.metrics.memory_scale import MemoryScale

__all__ = ["sanity_memory"]


def sanity_memory(settings: Any, scale: MemoryScale, others: Mapping[str, Any]) -> float:
    """Bytes: a batch of activations, dense latents of some of it, logits of some of it."""
    return scale.batch + max(scale.dense, scale.losses + scale.dense / 2) + scale.d_sae
