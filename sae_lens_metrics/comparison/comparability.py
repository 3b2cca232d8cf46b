"""What two reports have in common: whether their numbers mean the same, and whether they are over the same units."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sae_lens_metrics.comparison.conditions import differing_conditions, is_same_model
from sae_lens_metrics.metrics.registry import metric_spec, spec_of_result
from sae_lens_metrics.metrics.spec import Effect, MetricSpec, Number
from sae_lens_metrics.results import Estimate, Report

__all__ = ["Common", "never_tested", "ranked_by"]

_TEXT = frozenset({"sequences", "documents"})
_ALIKE = {
    "sae": ("model_name", "hook_name", "hook_head_index", "output_hook_name", "prepend_bos", "dtype", "model_dtype"),
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

    def number(self, number: str) -> Number:
        """What a metric says about one of its numbers, given the number's full name."""
        metric, name = number.split("/", 1)
        return self.spec(metric).number(name)

    def spec(self, metric: str) -> MetricSpec:
        """What a metric says about itself."""
        return self._specs.get(metric) or spec_of_result(metric, [])

    def left_out(self, metric: str) -> str | None:
        """Why the numbers of a metric cannot be compared: its version, or a setting that changes what they mean, differs."""
        different = [text for effect, text in self._settings(metric) if effect == "meaning"]
        return "; ".join([*self._versions(metric), *different]) or None

    def differing(self, number: str) -> str | None:
        """What a number depends on that is not alike in both reports, so that its difference would not be the SAEs'.

        Args:
            number: Its full name.
        """
        metric, name = number.split("/", 1)
        spec = self.spec(metric)
        return differing_conditions(spec.given_of(name), spec, *self._both)

    def other_sizes(self, number: str) -> str | None:
        """The numbers of latents in words, where they differ and a number depends on that; ``None`` elsewhere.

        Args:
            number: Its full name.
        """
        first, second = (each.get("d_sae") for each in self._sections("sae"))
        if not self.number(number).depends_on_size or not isinstance(first, int) or not isinstance(second, int) or first == second:
            return None
        return f"{first} and {second}"

    def instead(self, number: str) -> str | None:
        """Full name of the number to look at instead of one that depends on the number of latents, if both reports have it.

        Args:
            number: Its full name.
        """
        other = f"{number.split('/')[0]}/{self.number(number).instead}"
        found = [estimates.get(other) for estimates in self._estimates]
        return other if all(each is not None and each.value is not None for each in found) else None

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
        if reason := self._differing_units(metric, self._text if not over_units else self._own_units(metric, first)):
            return reason
        if len(first.influence) != len(second.influence):
            return f"there are {len(first.influence)} and {len(second.influence)} {first.of}"
        return None

    def are_repeated(self, metric: str, first: Estimate, second: Estimate) -> bool:
        """Whether two estimates are over the same units of a metric's own, and these measured on the same pieces, one by one."""
        spec, a, b = self.spec(metric), first.repeated, second.repeated
        if a is None or b is None or a.influence is None or b.influence is None:
            return False
        if first.of != second.of or spec.units is None or first.of not in spec.units.of:
            return False
        alike = (a.of, len(a.influence)) == (b.of, len(b.influence)) and min(a.n, b.n) > 1
        return alike and self._differing_units(metric, self._own_units(metric, first)) is None

    def notes(self) -> Iterator[str]:
        """What else differs, and may be the reason why numbers do."""
        for name in _ALIKE:
            for text in self._unlike(name):
                yield f"the reports differ in {name.removesuffix('s') if name == 'versions' else name}, {text}"

    def _own_units(self, metric: str, estimate: Estimate) -> str | None:
        """Why units of a metric's own are not the same."""
        return self._units.get(metric, f"the {estimate.of} are not known")

    def _differing_units(self, metric: str, reason: str | None) -> str | None:
        """The reason why units are not the same, or else why what is done with them is not."""
        if reason := reason or self._seeds:
            return reason
        return "; ".join(text for effect, text in self._settings(metric) if effect == "sample") or None

    def _sections(self, *path: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """A section of both reports' provenance; empty where a report has none."""
        first, second = (report.section(*path) for report in self._both)
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
        for name in (metric, *self.spec(metric).needs):
            first, second = self._sections("config", name)
            effects = self.spec(metric).effects() if name == metric else metric_spec(name).effects()
            for key in first:
                effect = effects.get(key, "meaning")
                if effect not in ("nothing", "units") and key in second and first[key] != second[key]:
                    yield effect, f"{name}.{key} is {first[key]!r} in one and {second[key]!r} in the other"

    def _unlike(self, name: str) -> Iterator[str]:
        first, second = self._sections(name)
        for key in _ALIKE[name]:
            if first.get(key) != second.get(key) and not self._is_called_otherwise(name, key):
                yield f"{key}: {first.get(key)!r} and {second.get(key)!r}"

    def _is_called_otherwise(self, section: str, key: str) -> bool:
        """Whether it is a name, and hashes tell that what it names is the same: on another machine it stands in another folder."""
        if (section, key) == ("corpus", "name"):
            return self._text is None
        return (section, key) == ("sae", "model_name") and is_same_model(*self._both)

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


def never_tested(metric: str, number: Number) -> str | None:
    """Why no difference of a number is tested, between whichever SAEs; ``None`` where there is no such reason.

    Args:
        metric: The metric.
        number: What it says about its number.
    """
    if number.baseline_of is not None:
        return "a baseline"
    if number.qualifies is not None:
        return f"it tells how far to trust {metric}/{number.qualifies}"
    return None


def ranked_by(metric: str, reports: Sequence[Report]) -> str | None:
    """The number by which several SAEs can be ranked: a metric's main one, or what to look at instead of it where their sizes differ.

    Args:
        metric: The metric.
        reports: Their reports; those without the metric do not count.

    Returns:
        Its name within the metric; ``None`` where the SAEs cannot be ranked, as something else moves the number, or its meaning differs.
    """
    there = [report for report in reports if metric in dict(report.results())]
    pairs = [Common(there[0], other) for other in there[1:]]
    if not pairs:
        return None
    spec = pairs[0].spec(metric)
    main = spec.full(spec.headline)
    if any(common.other_sizes(main) for common in pairs):
        found = {common.instead(main) for common in pairs}
        main = found.pop() if len(found) == 1 else None
    if main is None or any(common.left_out(metric) or common.differing(main) for common in pairs):
        return None
    return main.split("/", 1)[1]


def _equal_or_complement(one: Estimate | None, other: Estimate | None) -> bool:
    if one is None or other is None or one.value is None or other.value is None:
        return False
    return any(math.isclose(one.value, value, rel_tol=1e-5) for value in (other.value, 1 - other.value))
