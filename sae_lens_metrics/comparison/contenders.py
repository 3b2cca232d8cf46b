"""Several SAEs with their numbers, and what is asked of each to know whether and how two of them can be compared."""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from sae_lens_metrics.comparison.conditions import condition_values
from sae_lens_metrics.comparison.judgement import worth
from sae_lens_metrics.metrics.registry import metric_spec, spec_of_result
from sae_lens_metrics.metrics.spec import Effect, MetricSpec, Number
from sae_lens_metrics.results import Estimate, MetricResult, Report

__all__ = ["Contender", "Contenders", "Kind"]

_TEXT = frozenset({"sequences", "documents"})


@dataclass(frozen=True)
class Kind:
    """SAEs that were evaluated alike, as far as a number depends on it: what any two of them have in common, all have."""

    meaning: str
    """The same for kinds whose values can be compared for sure; of whichever number of one metric, it tells the same."""
    units: str | None
    """Different for kinds that are not over the same units for sure; ``None`` where there are no units that two SAEs have in common."""
    example: Estimate
    """The number of one of them, with influences."""
    report: Report
    """Its report, without what no comparison of the number looks at."""


@dataclass(frozen=True)
class Contender:
    """One SAE's value of a number."""

    place: int
    """The SAE's place among all."""
    worth: float
    """The value on a scale on which more is better."""
    estimate: Estimate
    """The number, without influences."""
    influence: np.ndarray | None
    """How far each unit moves its worth, [units]."""
    repeated: np.ndarray | None
    """How far each piece of what was measured anew does, [pieces]."""
    kind: Kind
    """How it was evaluated; one object for all that were alike."""


class Contenders:
    """SAEs with every number that they have a value of, each by itself and without what takes much memory."""

    def __init__(self) -> None:
        self.numbers: dict[str, list[Contender]] = {}
        self._names: dict[str, tuple[MetricSpec, str]] = {}
        self._specs: dict[str, MetricSpec] = {}
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._count = 0

    def add(self, report: Report) -> None:
        """Takes in the next SAE.

        Args:
            report: Its report, with influences.
        """
        for metric, result in report.results():
            spec = self._specs.setdefault(metric, spec_of_result(metric, result.estimates))
            conditions = _Conditions(spec, report, result)
            for name, estimate in result.estimates.items():
                if estimate.value is not None:
                    self._add(spec, name, estimate, conditions)
        self._count += 1

    def _add(self, spec: MetricSpec, name: str, estimate: Estimate, conditions: "_Conditions") -> None:
        number, value, full = spec.number(name), estimate.value or 0.0, spec.full(name)
        self._names[full] = spec, name  # which the full name does not always tell: there may be strokes in both
        key = conditions.key(name, estimate)
        if (full, key) not in self._kinds:
            self._kinds[full, key] = Kind(conditions.meaning(name), conditions.units(estimate), estimate, conditions.slim)
        sign, again = _sign(number, value), estimate.repeated
        influences = _signed(sign, estimate.influence), _signed(sign, again and again.influence)
        one = Contender(self._count, worth(number, value), estimate.without_influences(), *influences, self._kinds[full, key])
        self.numbers.setdefault(full, []).append(one)

    def named(self, number: str) -> tuple[MetricSpec, str]:
        """What the metric of a number says about itself, and what it calls the number.

        Args:
            number: The number's full name.
        """
        return self._names[number]


class _Conditions:
    """How an SAE was evaluated by a metric, as texts that are the same where that is alike."""

    def __init__(self, spec: MetricSpec, report: Report, result: MetricResult) -> None:
        self._spec, self._report, self._result = spec, report, result

    @cached_property
    def slim(self) -> Report:
        """The report without what no comparison of the metric looks at."""
        units = self._spec.units
        kept = {} if units is None else {name: rows for name, rows in self._result.tables.items() if name == units.table}
        slim = self._report.without("influences", "tables", "histograms", "examples", "explanations", "effects")
        metrics = {name: replace(result, tables=kept) for name, result in slim.metrics.items() if name == self._spec.name}
        return Report(slim.sanity, metrics, provenance=slim.provenance)

    def key(self, name: str, estimate: Estimate) -> str:
        """All that a comparison asks about a number.

        Args:
            name: The number's name within the metric.
            estimate: The SAE's.
        """
        again = estimate.repeated
        over = [_length(estimate.influence), again and [again.of, _length(again.influence), again.n > 1]]
        return _text([self.meaning(name), self.units(estimate), self._settings("sample"), estimate.of, over])

    def meaning(self, name: str) -> str:
        """What must be alike for values to be compared.

        Args:
            name: The number's name within the metric.
        """
        number = self._spec.number(name)
        size = [self._report.section("sae").get("d_sae"), number.depends_on_size, number.instead] if number.depends_on_size else None
        given = [[each, condition_values(each, self._spec, self._report)] for each in self._spec.given_of(name)]
        return _text([self._spec.name, self._settings("meaning"), size, given])

    def units(self, estimate: Estimate) -> str | None:
        """What must be alike for values to be over the same units; ``None`` where there are none in common."""
        units = self._spec.units
        if units is not None and estimate.of in units.of:
            return _text([estimate.of, self._seed, self._rows])
        if estimate.of in _TEXT and estimate.influence is not None:
            corpus = self._report.section("corpus")
            return _text([estimate.of, self._seed, corpus.get("tokens_sha256"), corpus.get("documents"), len(estimate.influence)])
        return None

    @cached_property
    def _seed(self) -> Any:
        return self._report.section("config").get("seed")

    @cached_property
    def _rows(self) -> list[Any]:
        """The metric's own units, as its table lists them."""
        units = self._spec.units
        rows = [] if units is None else self._result.tables.get(units.table, [])
        return [] if units is None else [[row.get(units.key), row.get(units.fingerprint)] for row in rows]

    def _settings(self, effect: Effect) -> Any:
        return self._by_effect.get(effect)

    @cached_property
    def _by_effect(self) -> dict[Effect, list[Any]]:
        """The settings by what they move, with the metric's version and those of the metrics that it needs."""
        found: dict[Effect, list[Any]] = {}
        for spec in (self._spec, *(metric_spec(name) for name in self._spec.needs)):
            found.setdefault("meaning", []).append(self._report.section("metric_versions").get(spec.name, 1))
            effects = spec.effects()
            for key, value in sorted(self._report.section("config", spec.name).items()):
                found.setdefault(effects.get(key, "meaning"), []).append([spec.name, key, value])
        return found


def _sign(number: Number, value: float) -> float:
    """How the worth of a number moves with its value."""
    if number.better == "one":
        return -1.0 if value > 1 else 1.0
    return -1.0 if number.better == "lower" else 1.0


def _signed(sign: float, influence: list[float] | None) -> np.ndarray | None:
    return None if influence is None else sign * np.array(influence, dtype=np.float64)


def _length(influence: list[float] | None) -> int | None:
    return None if influence is None else len(influence)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
