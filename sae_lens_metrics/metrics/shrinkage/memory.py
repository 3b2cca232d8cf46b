"""What refinement holds."""

from collections.abc import Mapping
from typing import Any

from sae_lens_metrics.metrics.memory_scale import FLOAT, MemoryScale

__all__ = ["shrinkage_memory"]

_TABLE = 2**30
"""The largest table of inner products."""
_ROWS = 3
"""The decoder's active rows as they are, at length 1, and in the making."""
_CHUNK, _CHUNK_ELSEWHERE, _CHUNKS = 2**19, 2**26, 8
"""Numbers of a chunk of problems, and how many tensors of that size there are."""


def shrinkage_memory(settings: Any, scale: MemoryScale, others: Mapping[str, Any]) -> float:
    """Bytes: what the sanity line holds, the rows of latents that are active, their inner products, and chunks of problems."""
    active = min(scale.d_sae, scale.encoded * scale.l0)
    problems = scale.encoded * scale.l0 * max(scale.l0, scale.d_in // 4)
    chunk = min(_CHUNK if scale.on_cpu else _CHUNK_ELSEWHERE, problems)
    supports = 8 * FLOAT * scale.encoded * scale.l0
    table = min(
        _TABLE, FLOAT * active**2, 2 * FLOAT * scale.encoded * scale.l0**2
    )  # it is made where it has less than twice as many entries as tokens ask for
    refining = FLOAT * (_ROWS * active * scale.d_in + _CHUNKS * chunk + 2 * scale.d_sae) + table + supports
    return scale.batch + max(scale.dense + refining, scale.losses + scale.dense / 2)
