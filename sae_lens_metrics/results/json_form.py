"""A metric's result as JSON types, and back: how it stands in a result file."""

import sys
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from itertools import pairwise
from typing import Any

from sae_lens_metrics.results.control import Control, ControlVerdict
from sae_lens_metrics.results.estimate import Estimate
from sae_lens_metrics.results.explanation import ExplanationNGram, LatentExplanation, MatchingRules, NGramExplanations
from sae_lens_metrics.results.latent_effects import LatentEffects, TokenChange
from sae_lens_metrics.results.metric_result import FiringExample, Histogram, MetricResult

__all__ = ["FORMAT", "FORMAT_VERSION", "control_from_dict", "control_to_dict", "result_from_dict", "result_to_dict"]

FORMAT = "sae-lens-metrics"
FORMAT_VERSION = "2.1"
"""Version of the result file: the major number changes when an older reader would misread it, the minor number when there is more in it."""


def result_to_dict(result: MetricResult) -> dict[str, Any]:
    """As JSON types, which share their lists with the result: there may be very many.

    Args:
        result: A metric's result.
    """
    return {
        **vars(result),
        "estimates": {name: dict(vars(estimate)) for name, estimate in result.estimates.items()},
        "histograms": {name: dict(vars(histogram)) for name, histogram in result.histograms.items()},
        "examples": [dict(vars(example)) for example in result.examples],
        "explanations": None if result.explanations is None else _explanations_to_dict(result.explanations),
        "effects": [_effects_to_dict(effects) for effects in result.effects],
    }


def result_from_dict(data: Mapping[str, Any]) -> MetricResult:
    """The inverse of ``result_to_dict``; what it does not know, as a newer minor version may have it, is left out.

    Args:
        data: JSON types.

    Raises:
        KeyError: If something is missing.
        TypeError: If something is of the wrong kind.
        ValueError: If a number is impossible.
    """
    explanations = data.get("explanations")
    return MetricResult(
        estimates={name: _known(Estimate, estimate) for name, estimate in data["estimates"].items()},
        tables=data.get("tables", {}),
        histograms={name: _known(Histogram, histogram) for name, histogram in data.get("histograms", {}).items()},
        examples=[_example(example) for example in data.get("examples", [])],
        explanations=None if explanations is None else _explanations(explanations),
        effects=[_effects(effects) for effects in data.get("effects", [])],
        notes=data.get("notes", []),
        seconds=data.get("seconds", 0.0),
    )


def control_to_dict(control: Control) -> dict[str, Any]:
    """As JSON types.

    Args:
        control: The results of a control.
    """
    return {
        **vars(control),
        "results": {name: result_to_dict(result) for name, result in control.results.items()},
        "verdicts": {name: dict(vars(verdict)) for name, verdict in control.verdicts.items()},
    }


def control_from_dict(data: Mapping[str, Any]) -> Control:
    """The inverse of ``control_to_dict``; what it does not know is left out.

    Args:
        data: JSON types.

    Raises:
        KeyError: If something is missing.
        TypeError: If something is of the wrong kind.
        ValueError: If a number is impossible.
    """
    results = {name: result_from_dict(result) for name, result in data["results"].items()}
    verdicts = {name: _known(ControlVerdict, verdict) for name, verdict in data.get("verdicts", {}).items()}
    return _known(Control, {**data, "results": results, "verdicts": verdicts})


def _explanations_to_dict(explanations: NGramExplanations) -> dict[str, Any]:
    latents = [
        {
            "latent": each.latent,
            "ngrams": [{"tokens": n.tokens, "texts": n.texts, "at_start": n.at_start, "value": n.value} for n in each.ngrams],
        }
        for each in explanations.latents
    ]
    return {"rules": dict(vars(explanations.rules)), "latents": latents}


def _effects_to_dict(effects: LatentEffects) -> dict[str, Any]:
    raised, lowered = (
        [{"token": change.token, "text": change.text, "by": change.by} for change in changes]
        for changes in (effects.raised, effects.lowered)
    )
    return {"latent": effects.latent, "raised": raised, "lowered": lowered}


def _example(data: Mapping[str, Any]) -> FiringExample:
    # a token occurs in many examples, and most numbers are zero: one object for all of them is a third of the memory
    tokens = [sys.intern(token) for token in data["tokens"]]
    numbers = {name: [value or 0.0 for value in data[name]] for name in ("activations", "predictions")}
    return _known(FiringExample, {**data, "tokens": tokens, **numbers})


def _explanations(data: Mapping[str, Any]) -> NGramExplanations:
    latents = [LatentExplanation(each["latent"], [_ngram(ngram) for ngram in each["ngrams"]]) for each in data["latents"]]
    if any(one.latent >= other.latent for one, other in pairwise(latents)):
        raise ValueError("latents with explanations are not in ascending order")
    return NGramExplanations(_known(MatchingRules, data["rules"]), latents)


def _ngram(data: Mapping[str, Any]) -> ExplanationNGram:
    texts = [None if text is None else sys.intern(text) for text in data["texts"]]
    if len(texts) != len(data["tokens"]) or not texts:
        raise ValueError("an n-gram has as many texts as tokens, and one at least")
    return ExplanationNGram(data["tokens"], texts, data["at_start"], data["value"])


def _effects(data: Mapping[str, Any]) -> LatentEffects:
    raised, lowered = (
        [TokenChange(change["token"], sys.intern(change["text"]), change["by"]) for change in data[side]] for side in ("raised", "lowered")
    )
    return LatentEffects(data["latent"], raised, lowered)


def _known(cls: type, data: Mapping[str, Any]) -> Any:
    """A dataclass from its fields; a newer minor version may have written more."""
    names = _names(cls)
    return cls(**{name: value for name, value in data.items() if name in names})


@cache
def _names(cls: type) -> frozenset[str]:
    return frozenset(f.name for f in fields(cls))
