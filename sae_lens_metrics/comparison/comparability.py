"""What two reports have in common: whether their numbers mean the same, and whether they are over the same units."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from sae_lens_metrics.metrics.registry import metric_spec, spec_of_result
from sae_lens_metrics.metrics.spec import Effect, MetricSpec
from sae_lens_metrics.results import Estimate, Report

__all__ = ["Common"]

_TEXT = frozenset({"sequences", "documents"})
_ALIKE = {
    "sae": ("model_name", "hook_name", "hook_head_index", "output_hook_name", "dtype"),
    "corpus": ("name", "split", "context_size", "tokens"),
    "versions": ("sae-lens-metrics",),
}
"""What a reader expects to be the same in both reports, by section of the provenance."""


class Common:
    """What two reports have in common.

    Args:
        first: A report.
        second: Another one.
    """

    def __init__(self, first: Report, second: Report) -> None:
        self._both = first, second
        self._estimates = tuple(dict(report.estimates()) for report in self._both)
        self._text, self._seeds = self._other_text(), self._other_seeds()
        self._specs = {name: spec_of_result(name, result.estimates) for name, result in first.results()}
        self._units = {name: self._other_units(name) for name in first.metrics if name in second.metrics}

    def is_same(self, number: str) -> bool:
        """Whether both reports have the same value of a number, as of a baseline at one place of one model on one text."""
        first, second = (estimates.get(number) for estimates in self._estimates)
        return first is not None and second is not None and first.value == second.value

    def mirrors(self, number: str, other: str) -> bool:
        """Whether in both reports a number is another one, or one minus it, as it is where both are over the same text."""
        return all(_equal_or_complement(estimates.get(number), estimates.get(other)) for estimates in self._estimates)

    def spec(self, metric: str) -> MetricSpec:
        """What a metric says about itself."""
        return self._specs.get(metric) or spec_of_result(metric, [])

    def left_out(self, metric: str) -> str | None:
        """Why the numbers of a metric cannot be compared: its version, or a setting that changes what they mean, differs."""
        different = [text for effect, text in self._settings(metric) if effect == "meaning"]
        return "; ".join([*self._versions(metric), *different]) or None

    def unpaired(self, metric: str, first: Estimate, second: Estimate) -> str | None:
        """Why two estimates of a metric are not over the same units, one by one; ``None`` where they are."""
        if first.of != second.of:
            return f"the errors are over {first.of} in one and over {second.of} in the other"
        units = self.spec(metric).units
        over_units = units is not None and first.of in units.of
        if first.of not in _TEXT and not over_units:
            return f"two SAEs have no {first.of} in common"
        if first.influence is None or second.influence is None:
            return "a result does not tell what each unit did (those of format 1.0 do not), evaluate again to pair them"
        reason = self._units.get(metric, f"the {first.of} are not known") if over_units else self._text
        if reason := reason or self._seeds:
            return reason
        if sampled := [text for effect, text in self._settings(metric) if effect == "sample"]:
            return "; ".join(sampled)
        if len(first.influence) != len(second.influence):
            return f"there are {len(first.influence)} and {len(second.influence)} {first.of}"
        return None

    def notes(self) -> Iterator[str]:
        """What else differs, and may be the reason why numbers do."""
        for section in _ALIKE:
            for text in self._differing(section):
                yield f"the reports differ in {section.removesuffix('s') if section == 'versions' else section}, {text}"

    def _sections(self, *path: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """A section of both reports' provenance; empty where a report has none."""
        first, second = (_section(report.provenance, path) for report in self._both)
        return first, second

    def _versions(self, metric: str) -> Iterator[str]:
        """Which of the metrics that the numbers come from is of another version; results that do not tell are of the first one."""
        first, second = self._sections("metric_versions")
        for name in (metric, *self.spec(metric).needs):
            a, b = first.get(name, 1), second.get(name, 1)
            if a != b:
                yield f"{name} is of version {a} in one and {b} in the other, evaluate both with one release"

    def _settings(self, metric: str) -> Iterator[tuple[Effect, str]]:
        """The settings of a metric that differ, in words, with their effect; a setting that only one version knows is not among them."""
        for section in (metric, *self.spec(metric).needs):
            first, second = self._sections("config", section)
            effects = self.spec(metric).effects() if section == metric else metric_spec(section).effects()
            for key in first:
                effect = effects.get(key, "meaning")
                if effect not in ("nothing", "units") and key in second and first[key] != second[key]:
                    yield effect, f"{section}.{key} is {first[key]!r} in one and {second[key]!r} in the other"

    def _differing(self, section: str) -> Iterator[str]:
        first, second = self._sections(section)
        for key in _ALIKE[section]:
            if first.get(key) != second.get(key):
                yield f"{key}: {first.get(key)!r} and {second.get(key)!r}"

    def _other_text(self) -> str | None:
        """Why the reports' sequences or documents are not the same."""
        first, second = self._sections("corpus")
        if "tokens_sha256" not in first or "tokens_sha256" not in second:
            return "a report does not tell which text it is on"
        if any(first.get(key) != second.get(key) for key in ("tokens_sha256", "documents")):
            return "the texts differ, evaluate on the same text and seed to pair them"
        return None

    def _other_seeds(self) -> str | None:
        """Why what metrics draw at random is not the same; it moves all units at once, which their influences do not tell."""
        first, second = (section.get("seed") for section in self._sections("config"))
        return None if first == second else f"the seeds differ ({first!r} and {second!r}), evaluate with the same one to pair them"

    def _other_units(self, metric: str) -> str | None:
        """Why the units that a metric lists in a table, such as probe tasks, are not the same."""
        units = self.spec(metric).units
        if units is None:
            return None
        first, second = (report.metrics[metric].tables.get(units.table, []) for report in self._both)
        names = [[row.get(units.key) for row in rows] for rows in (first, second)]
        if not all(names) or None in names[0] + names[1]:
            return f"the {units.called} are not known"
        if names[0] != names[1]:
            return f"the {units.called} differ ({len(first)} and {len(second)})"
        pairs = zip(first, second, strict=True)
        changed = [str(a[units.key]) for a, b in pairs if a.get(units.fingerprint) != b.get(units.fingerprint)]
        return f"the examples of {units.called} differ ({', '.join(changed[:3])}{' …' if changed[3:] else ''})" if changed else None


def _equal_or_complement(one: Estimate | None, other: Estimate | None) -> bool:
    if one is None or other is None or one.value is None or other.value is None:
        return False
    return any(math.isclose(one.value, value, rel_tol=1e-5) for value in (other.value, 1 - other.value))


def _section(data: Any, path: tuple[str, ...]) -> Mapping[str, Any]:
    for key in path:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else {}
