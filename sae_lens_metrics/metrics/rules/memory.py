"""What learning rules, and scoring them, holds."""

from collections.abc import Mapping
from typing import Any

from sae_lens_metrics.metrics.memory_scale import MemoryScale

__all__ = ["at_once", "kept", "rules_memory"]

_KEPT, _LEARNING = 1 / 2, 1 / 4
"""Of ``memory_gb``, for firings, and for learning from some of them."""
_FIRING, _CONTEXT = 40, 40
"""Bytes of a firing, and of each token in front of one while contexts are counted."""
_PLACE = 32
"""Bytes of a token in front of another one, in all that is looked up of a text."""
_COUNTS = 20 * (2 * 5 + 2 * 2 + 1) * 4
"""Bytes of a latent's counts by groups of documents and lengths of lists."""
_RULE, _RULES, _FIRINGS = 2 * 56, 64, 3
"""Bytes of a rule that is ready to be looked up, rules of a latent that are to be reckoned with, and firings that a rule takes."""
_FEWEST = 2**14


def kept(memory: float) -> float:
    """Bytes for firings, of those that there are.

    Args:
        memory: Bytes of ``memory_gb``.
    """
    return memory * _KEPT


def at_once(memory: float, within: int) -> int:
    """From how many firings to learn at once.

    Args:
        memory: Bytes of ``memory_gb``.
        within: Tokens that are seen in front of each.
    """
    return max(_FEWEST, int(memory * _LEARNING / (_CONTEXT * (within + 8))))


def rules_memory(settings: Any, scale: MemoryScale, others: Mapping[str, Any]) -> float:
    """Bytes: a text and where latents fire in it, and what is counted of some at a time; then rules, and counts of what they say."""
    places = scale.tokens / 2
    text = places * (4 * settings.within + _PLACE * (settings.within + 8))
    firings = places * scale.l0
    counted = _CONTEXT * (settings.within + 8) * min(firings, at_once(scale.memory, settings.within))
    learning = text + min(firings * _FIRING, kept(scale.memory)) + max(counted, scale.batch + scale.dense)
    rules = _RULE * min(_RULES * scale.d_sae, firings / _FIRINGS)
    scoring = scale.d_sae * _COUNTS + rules + scale.batch + scale.dense
    return max(learning, scoring)
