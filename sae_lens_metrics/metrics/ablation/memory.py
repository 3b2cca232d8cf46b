"""What ablating holds."""

from collections.abc import Mapping
from typing import Any

from sae_lens_metrics.metrics.memory_scale import FLOAT, MemoryScale

__all__ = ["ablation_memory"]

_LOGITS, _LOGITS_ELSEWHERE = 2**23, 2**28
_POSITIONS, _POSITIONS_ELSEWHERE = 2**10, 2**18
"""Logits, and positions, that are worked on at once."""
_COPIES = 4


def ablation_memory(settings: Any, scale: MemoryScale, others: Mapping[str, Any]) -> float:
    """Bytes: sequences up to the hook; and within ``memory_gb`` changed runs and the differences of their logits."""
    together = min(scale.batch_size, -(-settings.sequences // settings.positions))
    changes = together * (settings.latents or scale.l0) * settings.tokens
    positions = min(_POSITIONS if scale.on_cpu else _POSITIONS_ELSEWHERE, changes)
    logits = min(_LOGITS if scale.on_cpu else _LOGITS_ELSEWHERE, positions * scale.vocabulary)
    remembered = FLOAT * together * scale.context * 4 * scale.n_layers * scale.d_in
    working = scale.run(positions) + FLOAT * _COPIES * logits + remembered
    latents = FLOAT * 6 * together * scale.d_sae
    return scale.batch * together / scale.batch_size + latents + min(scale.memory, working)
