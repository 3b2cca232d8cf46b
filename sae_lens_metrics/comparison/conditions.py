"""What numbers depend on besides the SAE, and how that differs between two reports."""

from collections.abc import Iterable, Mapping
from typing import Any

from sae_lens_metrics.metrics.spec import Given, MetricSpec
from sae_lens_metrics.results import Report

__all__ = ["condition_values", "differing_conditions", "is_same_model"]

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
_UNTOLD = object()
"""Stands for what a report does not tell; ``None`` is an answer, as for the head of a hook that has none."""
_ALIKE_TEXT = 0.02
"""Relative difference of two amounts of text that is none: contexts of another length fill it up to another last sequence."""


def differing_conditions(given: Iterable[Given], spec: MetricSpec, first: Report, second: Report) -> str | None:
    """Which of the things that a number depends on differ between two reports, in words.

    What a report does not tell is passed over: results of earlier releases tell less.

    Args:
        given: What the number depends on.
        spec: What the number's metric says about itself.
        first: A report.
        second: The other one.
    """
    found = [text for condition in given if (text := _differing(condition, spec, first, second)) is not None]
    return " and ".join(found) or None


def condition_values(condition: Given, spec: MetricSpec, report: Report) -> list[Any]:
    """All that is asked of a report to know whether a condition is alike in it and in another one, as JSON types.

    Args:
        condition: The condition.
        spec: What a metric says about itself.
        report: The report.
    """
    told = [None if value is _UNTOLD else [value] for value in _values(condition, spec, report)]
    return [*told, report.provenance.get("model_sha256")] if condition == "model" else told


def _differing(condition: Given, spec: MetricSpec, first: Report, second: Report) -> str | None:
    """How one condition differs, in words."""
    if condition == "model" and is_same_model(first, second):
        return None
    pairs = zip(_values(condition, spec, first), _values(condition, spec, second), strict=True)
    unit = " tokens" if condition in ("context", "text_size") else ""
    found = ((a, b) for a, b in pairs if _UNTOLD not in (a, b) and not _is_alike(condition, a, b))
    return next((f"{_WORDS[condition]} ({a!r}{unit} in one and {b!r}{unit} in the other)" for a, b in found), None)


def _is_alike(condition: Given, first: Any, second: Any) -> bool:
    if condition == "text_size" and isinstance(first, int) and isinstance(second, int):
        return abs(first - second) <= _ALIKE_TEXT * max(first, second)
    return first == second


def _values(condition: Given, spec: MetricSpec, report: Report) -> list[Any]:
    """What has to be equal for a condition to be alike."""
    if condition in _SAE_KEYS:
        return [report.section("sae").get(key, _UNTOLD) for key in _SAE_KEYS[condition]]
    tokens, context = (report.section("corpus").get(key, _UNTOLD) for key in ("tokens", "context_size"))
    longest = _longest(spec, report)
    if not isinstance(context, int) or longest is None or longest >= context:
        return [context if condition == "context" else tokens]
    if condition == "context":
        return [longest]
    # a sequence is cut into pieces, and what is left over at its end is dropped
    return [tokens // context * (context // longest * longest) if isinstance(tokens, int) else tokens]


def _longest(spec: MetricSpec, report: Report) -> int | None:
    """How many tokens the sequences have that a metric cuts longer ones into."""
    if not spec.cut_by:
        return None
    *path, name = spec.cut_by.split(".")
    longest = report.section("config", *path).get(name)
    return longest if isinstance(longest, int) and longest > 0 else None


def is_same_model(first: Report, second: Report) -> bool:
    """Whether the weights are the same; models have several names."""
    hashes = [each.provenance.get("model_sha256") for each in (first, second)]
    return hashes[0] is not None and hashes[0] == hashes[1]
