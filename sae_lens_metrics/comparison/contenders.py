"""Several SAEs with their numbers, and what each pair of them has in common, asked once for all that were evaluated alike."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from sae_lens_metrics.comparison.comparability import Common
from sae_lens_metrics.comparison.conditions import condition_values
from sae_lens_metrics.comparison.judgement import worth
from sae_lens_metrics.metrics.registry import metric_spec, spec_of_result
from sae_lens_metrics.metrics.spec import MetricSpec, Number
from sae_lens_metrics.results import Estimate, MetricResult, Report

__all__ = ["Contender", "Contenders", "Kinds", "Relation"]


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
    kind: str
    """The same for SAEs that were evaluated alike, as far as the number depends on it."""


class Relation(NamedTuple):
    """What two SAEs have in common, of one number."""

    apart: str | None
    """Why their values cannot be compared; ``None`` where they can."""
    instead: str | None
    """The number to look at instead, if that is because their sizes differ."""
    unpaired: str | None
    """Why they are not compared unit by unit; ``None`` where they are."""
    repeated: bool
    """Whether they are compared by the same units measured anew."""


class Contenders:
    """SAEs with every number that they have a value of, each by itself and without what takes much memory.

    Influences are kept to seven digits, of which they have six.
    """

    def __init__(self) -> None:
        self.numbers: dict[str, list[Contender]] = {}
        self._names: dict[str, tuple[MetricSpec, str]] = {}
        self._specs: dict[str, MetricSpec] = {}
        self._examples: dict[tuple[str, str], _Example] = {}
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
        number, full = spec.number(name), spec.full(name)
        self._names[full] = spec, name  # which the full name does not always tell: there may be strokes in both
        kind = conditions.kind(name, estimate)
        if (full, kind) not in self._examples:
            self._examples[full, kind] = _Example(conditions.slim, estimate)
        sign, again = _sign(number, estimate.value or 0.0), estimate.repeated
        one = Contender(
            self._count,
            worth(number, estimate.value or 0.0),
            estimate.without_influences(),
            _signed(sign, estimate.influence),
            _signed(sign, again and again.influence),
            kind,
        )
        self.numbers.setdefault(full, []).append(one)

    def named(self, number: str) -> tuple[MetricSpec, str]:
        """What the metric of a number says about itself, and what it calls the number.

        Args:
            number: The number's full name.
        """
        return self._names[number]

    def kinds(self, number: str) -> "Kinds":
        """The SAEs that have a number, by how they were evaluated.

        Args:
            number: Its full name.
        """
        there = {each.kind: None for each in self.numbers[number]}
        return Kinds(number, self._names[number][0].name, {kind: self._examples[number, kind] for kind in there})


@dataclass(frozen=True)
class Kinds:
    """Ways in which SAEs that have a number were evaluated."""

    number: str
    """Its full name."""
    _metric: str
    _examples: Mapping[str, "_Example"]

    @cached_property
    def index(self) -> dict[str, int]:
        """The kinds in their order."""
        return {kind: i for i, kind in enumerate(self._examples)}

    def relations(self) -> Iterator[tuple[int, int, Relation]]:
        """What any SAE of one kind and any of another have in common, or two of the same, for each pair of kinds once."""
        examples = list(self._examples.values())
        for i, first in enumerate(examples):
            for j, second in enumerate(examples[: i + 1]):
                yield i, j, self._relation(second, first)

    def _relation(self, first: "_Example", second: "_Example") -> Relation:
        common, metric = Common(first.report, second.report), self._metric
        if reason := common.left_out(metric):
            return Relation(reason, None, None, False)
        if reason := common.differing(self.number):
            return Relation(f"it depends on {reason}", None, None, False)
        if common.other_sizes(self.number):
            reason = f"it depends on the number of latents, which differs: {common.number(self.number).depends_on_size}"
            return Relation(reason, common.instead(self.number), None, False)
        repeated = common.are_repeated(metric, first.estimate, second.estimate)
        return Relation(None, None, None if repeated else common.unpaired(metric, first.estimate, second.estimate), repeated)


class _Example(NamedTuple):
    """One SAE of a kind."""

    report: Report
    """Its report, without what no comparison of the metric looks at."""
    estimate: Estimate
    """Its number, with influences."""


class _Conditions:
    """All that a comparison of a metric's numbers asks about how an SAE was evaluated."""

    def __init__(self, spec: MetricSpec, report: Report, result: MetricResult) -> None:
        self._spec, self._whole, self._result = spec, report, result

    @cached_property
    def slim(self) -> Report:
        """The report without what no comparison of the metric looks at."""
        units = self._spec.units
        kept = {} if units is None else {name: rows for name, rows in self._result.tables.items() if name == units.table}
        slim = self._whole.without("influences", "tables", "histograms", "examples", "explanations", "effects")
        metrics = {name: replace(result, tables=kept) for name, result in slim.metrics.items() if name == self._spec.name}
        return Report(slim.sanity, metrics, provenance=slim.provenance)

    def kind(self, name: str, estimate: Estimate) -> str:
        """The same text for SAEs that are alike in all of that, as far as it matters for a number.

        Args:
            name: The number's name within the metric.
            estimate: The SAE's.
        """
        size = self._whole.section("sae").get("d_sae") if self._spec.number(name).depends_on_size else None
        given = [condition_values(each, self._spec, self._whole) for each in self._spec.given_of(name)]
        again = estimate.repeated
        over = [estimate.of, _length(estimate.influence), again and [again.of, _length(again.influence), again.n > 1]]
        return _text([self._always, size, given, over])

    @cached_property
    def _always(self) -> str:
        """What matters for each of the metric's numbers: its meaning, and which text and which units it is over."""
        metrics = [self._spec, *(metric_spec(name) for name in self._spec.needs)]
        settings = {
            spec.name: {
                key: value
                for key, value in self._whole.section("config", spec.name).items()
                if spec.effects().get(key, "meaning") not in ("nothing", "units")
            }
            for spec in metrics
        }
        versions = [self._whole.section("metric_versions").get(spec.name, 1) for spec in metrics]
        corpus, seed = self._whole.section("corpus"), self._whole.section("config").get("seed")
        text = ["tokens_sha256" in corpus, corpus.get("tokens_sha256"), corpus.get("documents")]
        units = self._spec.units
        rows = [] if units is None else self._result.tables.get(units.table, [])
        asked = [] if units is None else [[row.get(units.key), row.get(units.fingerprint)] for row in rows]
        return _text([versions, settings, seed, text, asked])


def _sign(number: Number, value: float) -> float:
    """How the worth of a number moves with its value."""
    if number.better == "one":
        return -1.0 if value > 1 else 1.0
    return -1.0 if number.better == "lower" else 1.0


def _signed(sign: float, influence: list[float] | None) -> np.ndarray | None:
    return None if influence is None else sign * np.array(influence, dtype=np.float32)


def _length(influence: list[float] | None) -> int | None:
    return None if influence is None else len(influence)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
