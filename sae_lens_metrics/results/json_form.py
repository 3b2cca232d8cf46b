"""A metric's result as JSON types, and back: how it stands in a result file."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache, partial
from itertools import pairwise
from typing import Any, TypeVar

from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.results.control import Control, ControlVerdict
from sae_lens_metrics.results.estimate import Estimate
from sae_lens_metrics.results.explanation import ExplanationNGram, LatentExplanation, MatchingRules, NGramExplanations
from sae_lens_metrics.results.latent_effects import LatentEffects, TokenChange
from sae_lens_metrics.results.metric_result import FiringExample, Histogram, MetricResult
from sae_lens_metrics.results.repeated import Repeated
from sae_lens_metrics.results.shapes import inside

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "PlacedError",
    "control_from_dict",
    "control_to_dict",
    "each_at",
    "result_from_dict",
    "result_to_dict",
]

T = TypeVar("T")

FORMAT = "sae-lens-metrics"
FORMAT_VERSION = "2.2"
"""Version of the result file: the major number changes when an older reader would misread it, the minor number when there is more in it."""


class PlacedError(ResultError):
    """Parts of a result do not fit together; the message begins with the place.

    Args:
        place: Where it is.
        error: What is wrong there; where that says at which place within, both become one.
    """

    def __init__(self, place: str, error: ValueError | str) -> None:
        super().__init__(f"{place}.{error}" if isinstance(error, PlacedError) else f"{place}: {error}")


def result_to_dict(result: MetricResult) -> dict[str, Any]:
    """As JSON types, which share their lists with the result: there may be very many.

    Args:
        result: A metric's result.
    """
    return {
        **vars(result),
        "estimates": {name: _estimate_to_dict(estimate) for name, estimate in result.estimates.items()},
        "histograms": {name: dict(vars(histogram)) for name, histogram in result.histograms.items()},
        "examples": [dict(vars(example)) for example in result.examples],
        "explanations": None if result.explanations is None else _explanations_to_dict(result.explanations),
        "effects": [_effects_to_dict(effects) for effects in result.effects],
    }


def result_from_dict(data: Mapping[str, Any]) -> MetricResult:
    """The inverse of ``result_to_dict``; what it does not know, as a newer minor version may have it, is left out.

    Args:
        data: JSON types that are as the schema says.

    Raises:
        PlacedError: If parts of it do not fit together.
    """
    explanations = data.get("explanations")
    return MetricResult(
        estimates=each_at("estimates", _estimate, data["estimates"]),
        tables=data.get("tables", {}),
        histograms=each_at("histograms", partial(_known, Histogram), data.get("histograms", {})),
        examples=_listed("examples", _example, data.get("examples", [])),
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
        data: JSON types that are as the schema says.

    Raises:
        PlacedError: If parts of it do not fit together.
    """
    results = each_at("results", result_from_dict, data["results"])
    verdicts = {name: _known(ControlVerdict, verdict) for name, verdict in data.get("verdicts", {}).items()}
    return _known(Control, {**data, "results": results, "verdicts": verdicts})


def _estimate_to_dict(estimate: Estimate) -> dict[str, Any]:
    return {**vars(estimate), "repeated": None if estimate.repeated is None else dict(vars(estimate.repeated))}


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


def _estimate(data: Mapping[str, Any]) -> Estimate:
    repeated = data.get("repeated")
    return _known(Estimate, {**data, "repeated": None if repeated is None else _known(Repeated, repeated)})


def _example(data: Mapping[str, Any]) -> FiringExample:
    # a token occurs in many examples, and most numbers are zero: one object for all of them is a third of the memory
    tokens = [sys.intern(token) for token in data["tokens"]]
    numbers = {name: [value or 0.0 for value in data[name]] for name in ("activations", "predictions")}
    return _known(FiringExample, {**data, "tokens": tokens, **numbers})


def _explanations(data: Mapping[str, Any]) -> NGramExplanations:
    latents = _listed("explanations.latents", _explanation, data["latents"])
    if any(one.latent >= other.latent for one, other in pairwise(latents)):
        raise PlacedError("explanations.latents", "the latents are not in ascending order")
    return NGramExplanations(_known(MatchingRules, data["rules"]), latents)


def _explanation(data: Mapping[str, Any]) -> LatentExplanation:
    return LatentExplanation(data["latent"], [_ngram(ngram) for ngram in data["ngrams"]])


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


def each_at(place: str, make: Callable[[Any], T], values: Mapping[str, Any]) -> dict[str, T]:
    """What is made of each of some values; an error says at which place.

    Args:
        place: Where the values are.
        make: Makes something of a value.
        values: The values by name.

    Raises:
        PlacedError: If one of them does not fit together.
    """
    made: dict[str, T] = {}
    for name, value in values.items():
        try:
            made[name] = make(value)
        except ValueError as error:
            raise PlacedError(inside(place, name), error) from error
    return made


def _listed(place: str, make: Callable[[Any], T], values: Sequence[Any]) -> list[T]:
    made: list[T] = []
    try:
        for value in values:
            made.append(make(value))  # one by one: how many there are tells which one is wrong
    except ValueError as error:
        raise PlacedError(f"{place}[{len(made)}]", error) from error
    return made


def _known(cls: type, data: Mapping[str, Any]) -> Any:
    """A dataclass from its fields; a newer minor version may have written more."""
    names = _names(cls)
    return cls(**{name: value for name, value in data.items() if name in names})


@cache
def _names(cls: type) -> frozenset[str]:
    return frozenset(f.name for f in fields(cls))
