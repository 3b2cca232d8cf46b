"""What numbers depend on besides the SAE, and how that differs between two reports."""

from collections.abc import Iterable, Mapping
from typing import Any

from sae_lens_metrics.metrics.spec import Given, MetricSpec

__all__ = ["differing_conditions", "section"]

_WORDS: Mapping[Given, str] = {
    "model": "the model",
    "hook": "the hook",
    "context": "the length of the context",
    "bos": "whether sequences begin with BOS",
    "text_size": "how much text there is",
}
_SAE_KEYS: Mapping[Given, tuple[str, ...]] = {
    "model": ("model_name",),
    "hook": ("hook_name", "hook_head_index", "output_hook_name"),
    "bos": ("prepend_bos",),
}
_ALIKE_TEXT = 0.02
"""Relative difference of two amounts of text that is none: contexts of another length fill it up to another last sequence."""


def differing_conditions(given: Iterable[Given], spec: MetricSpec, first: Mapping[str, Any], second: Mapping[str, Any]) -> str | None:
    """Which of the things that a number depends on differ between two reports, in words.

    What a report does not tell is passed over: results of earlier releases tell less.

    Args:
        given: What the number depends on.
        spec: What the number's metric says about itself.
        first: A report's provenance.
        second: The other's.
    """
    found = [text for condition in given if (text := _differing(condition, spec, first, second)) is not None]
    return " and ".join(found) or None


def section(data: Any, *path: str) -> Mapping[str, Any]:
    """A section of a report's provenance; empty where there is none.

    Args:
        data: The provenance.
        path: Names of the section and of those that it is in.
    """
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else {}


def _differing(condition: Given, spec: MetricSpec, first: Mapping[str, Any], second: Mapping[str, Any]) -> str | None:
    """How one condition differs, in words."""
    if condition == "model" and _is_same_model(first, second):
        return None
    for a, b in zip(_values(condition, spec, first), _values(condition, spec, second), strict=True):
        both = isinstance(a, int) and isinstance(b, int)
        if condition == "text_size" and both and abs(a - b) <= _ALIKE_TEXT * max(a, b):
            continue
        if _UNTOLD not in (a, b) and a != b:
            unit = " tokens" if condition in ("context", "text_size") else ""
            return f"{_WORDS[condition]} ({a!r}{unit} in one and {b!r}{unit} in the other)"
    return None


_UNTOLD = object()
"""Stands for what a report does not tell; ``None`` is an answer, as for the head of a hook that has none."""


def _values(condition: Given, spec: MetricSpec, provenance: Mapping[str, Any]) -> list[Any]:
    """What has to be equal for a condition to be alike."""
    if condition in _SAE_KEYS:
        return [section(provenance, "sae").get(key, _UNTOLD) for key in _SAE_KEYS[condition]]
    tokens, context = (section(provenance, "corpus").get(key, _UNTOLD) for key in ("tokens", "context_size"))
    longest = _longest(spec, provenance)
    if not isinstance(context, int) or longest is None or longest >= context:
        return [context if condition == "context" else tokens]
    if condition == "context":
        return [longest]
    # a sequence is cut into pieces, and what is left over at its end is dropped
    return [tokens // context * (context // longest * longest) if isinstance(tokens, int) else tokens]


def _longest(spec: MetricSpec, provenance: Mapping[str, Any]) -> int | None:
    """How many tokens the sequences have that a metric cuts longer ones into."""
    if not spec.cut_by:
        return None
    *path, name = spec.cut_by.split(".")
    longest = section(provenance, "config", *path).get(name)
    return longest if isinstance(longest, int) and longest > 0 else None


def _is_same_model(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether the weights are the same; models have several names."""
    hashes = [each.get("model_sha256") for each in (first, second)]
    return hashes[0] is not None and hashes[0] == hashes[1]
