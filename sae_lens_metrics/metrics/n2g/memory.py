"""What explaining latents, and scoring explanations, hold."""

from collections.abc import Mapping
from typing import Any

from sae_lens_metrics.metrics.memory_scale import MemoryScale, positions_that_fit

__all__ = ["explained_examples", "matching_memory", "n2g_memory"]

_KEPT = 20
"""Bytes of an activation that is kept: its key, its place, its value."""
_MERGED = 3
"""Times that kept activations are there while others are merged in."""
_COUNTS = 5 * 20 * 4
"""Bytes of a latent's counts by groups of documents."""
_TOKEN, _TEXTS = 4, 5
"""Bytes of an example's token, and how often examples are there: as texts, as suffixes, as patterns, and between them."""
_QUESTIONS, _QUESTION = 2**21, 120
"""Questions at once, and bytes of one."""
_RUN, _RUN_ELSEWHERE = 2**11, 2**16
"""Positions that are run at once."""
_TRIE = 48
"""Bytes of a pattern's token in the trie that all patterns share, and while it is made."""
_WALK = 2**20 * 64
"""Bytes of a walk over that trie."""
_TOP = 4


def explained_examples(settings: Any, scale: MemoryScale) -> float:
    """Texts that explanations are built from: so many of each latent, as far as the text has as many activations."""
    asked = min(settings.latents or scale.d_sae, scale.d_sae)
    tokens = max(scale.tokens if settings.tokens is None else settings.tokens, scale.tokens / 2)
    return min(asked * settings.examples, tokens * scale.l0)


def _longest(settings: Any, scale: MemoryScale) -> int:
    return min(settings.context, scale.context, settings.max_length or settings.context)


def matching_memory(settings: Any, scale: MemoryScale) -> float:
    """Bytes of all explanations, ready to be matched, and of a walk over them."""
    tokens = explained_examples(settings, scale) * _longest(settings, scale)
    return tokens * (_TRIE + 2 * _TOKEN) + min(_WALK, 64 * scale.at_once * scale.l0)


def n2g_memory(settings: Any, scale: MemoryScale, others: Mapping[str, Any]) -> float:
    """Bytes: activations that are sampled of each latent; the texts that end there, and runs on their ends; then counts and a trie."""
    sample = _MERGED * _KEPT * 2 * settings.examples * scale.d_sae
    examples = explained_examples(settings, scale)
    texts = examples * _longest(settings, scale)
    positions = min(_RUN if scale.on_cpu else _RUN_ELSEWHERE, positions_that_fit(scale.d_in, scale.n_layers), 2 * texts)
    questions = min(_QUESTIONS, texts) * _QUESTION
    building = sample + _TOKEN * _TEXTS * texts + questions + scale.run(int(positions)) + scale.dense / 4
    shown = max(1, settings.shown)
    counted = (_COUNTS + _MERGED * _KEPT * (_TOP + 1) * shown) * scale.d_sae
    scoring = counted + matching_memory(settings, scale) + scale.batch + scale.dense
    return max(sample + scale.batch + scale.dense, building, scoring)
