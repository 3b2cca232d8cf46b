"""What a page holds of each report, and in which parts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sae_lens_metrics.comparison.comparability import ranked_by
from sae_lens_metrics.comparison.controls import ControlFinding, control_findings
from sae_lens_metrics.metrics.controls import CONTROLS
from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.results import FiringExample, Report, Row
from sae_lens_metrics.results.history import History
from sae_lens_metrics.views.firing_tokens import firing_tokens
from sae_lens_metrics.views.page.latent_parts import effects_value, explanations_value
from sae_lens_metrics.views.page.parts import Part
from sae_lens_metrics.views.units import units_to_tell

__all__ = ["EXAMPLES_PER_PART", "SAEParts", "guides", "histories_value", "sae_parts"]

EXAMPLES_PER_PART = 256
"""Latents whose examples are opened together: some 200 KB, which a browser reads in a few milliseconds."""
_FIELDS = ("latent", "kind", "at", "tokens", "activations", "predictions")


@dataclass
class SAEParts:
    """Where a page finds the data of one SAE: goes into the page's table of contents, while the parts are written one after another."""

    name: str
    """The SAE."""
    key: str
    """What its parts' names begin with."""
    tables: list[dict[str, Any]] = field(default_factory=list)
    """Metric, name, part and rows of each table, in the report's order."""
    examples: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By metric, the parts of its examples: the latents per part, and the numbers of those parts that there are."""
    explanations: dict[str, str] = field(default_factory=dict)
    """By metric, the part with its explanations."""
    effects: dict[str, str] = field(default_factory=dict)
    """By metric, the part with its effects."""
    search: str | None = None
    """The part that says which latents fire on a token; ``None`` where nothing tells."""
    controls: list[dict[str, Any]] = field(default_factory=list)
    """Of each metric and control, the main number, and whether that is as it must be."""

    def contents(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def sae_parts(sae: SAEParts, report: Report) -> Iterator[Part]:
    """The parts of one report, of which the page rebuilds exactly what ``Report.save`` writes.

    Args:
        sae: Is filled with where they are.
        report: The report.
    """
    slim = report.without("influences", "tables", "examples", "explanations", "effects")
    yield Part.of(f"{sae.key}-overview", replace(slim, controls=report.controls).to_dict())
    sae.controls = [_control_value(finding) for finding in control_findings(slim)]
    yield Part.of(f"{sae.key}-influences", _influences(report))
    for m, (metric, result) in enumerate(report.results()):
        for t, (table, rows) in enumerate(result.tables.items()):
            part = f"{sae.key}-table-{m}-{t}"
            sae.tables.append({"metric": metric, "name": table, "part": part, "rows": len(rows)})
            yield Part.of(part, _columns(rows))
        if result.explanations is not None:
            sae.explanations[metric] = f"{sae.key}-explanations-{m}"
            yield Part.of(sae.explanations[metric], explanations_value(result.explanations))
        if result.effects:
            sae.effects[metric] = f"{sae.key}-effects-{m}"
            yield Part.of(sae.effects[metric], effects_value(result.effects))
        if result.examples:
            yield from _example_parts(sae, f"{sae.key}-examples-{m}", metric, result.examples)
    found = firing_tokens(report)
    if found.on or found.after:
        sae.search = f"{sae.key}-search"
        yield Part.of(sae.search, found.value())


def guides(reports: Iterable[Report]) -> dict[str, dict[str, Any]]:
    """How to read each metric that there is, as its spec says it, with the numbers to show in their order."""
    reports = list(reports)
    there: dict[str, dict[str, None]] = {}
    for report in reports:
        for metric, result in report.results():
            there.setdefault(metric, {}).update(dict.fromkeys(result.estimates))
        for metric in report.errors:
            there.setdefault(metric, {})
    specs = {metric: spec_of_result(metric, names) for metric, names in there.items()}
    units = {metric: {name: units_to_tell(spec.full(name), reports) for name in spec.shown()} for metric, spec in specs.items()}
    return {metric: {**_guide(spec), "ranked_by": ranked_by(metric, reports), "units": units[metric]} for metric, spec in specs.items()}


def _guide(spec: MetricSpec) -> dict[str, Any]:
    return {
        **{name: getattr(spec, name) for name in ("title", "meaning", "trust", "headline", "paper")},
        "numbers": {
            name: {"meaning": number.meaning or number.label, "better": number.better, "is_share": number.is_share}
            for name, number in spec.shown().items()
        },
        "baselines": spec.baselines(),
        "latents": [asdict(column) for column in spec.latents],
        "logit_effects": None if spec.logit_effects is None else asdict(spec.logit_effects),
    }


def _control_value(finding: ControlFinding) -> dict[str, Any]:
    return {
        **{name: getattr(finding, name) for name in ("metric", "title", "in_words")},
        **asdict(finding.verdict),
        "meaning": CONTROLS[finding.control].meaning if finding.control in CONTROLS else "",
        "estimate": asdict(finding.other.without_influences()),
    }


def histories_value(histories: Mapping[str, History]) -> dict[str, list[dict[str, Any]]]:
    """Histories as JSON types."""
    return {name: [asdict(point) for point in history.points] for name, history in histories.items()}


def _influences(report: Report) -> dict[str, dict[str, list[float] | None]]:
    both = {name: {"own": each.influence, "repeated": each.repeated and each.repeated.influence} for name, each in report.estimates()}
    return {name: each for name, each in both.items() if any(one is not None for one in each.values())}


def _columns(rows: list[Row]) -> dict[str, Any]:
    """A table by columns, in which it compresses best; rows that differ in their columns stay rows."""
    if len({tuple(row) for row in rows}) == 1:
        return {"columns": {name: [row[name] for row in rows] for name in rows[0]}}
    return {"rows": rows}


def _example_parts(sae: SAEParts, prefix: str, metric: str, examples: Sequence[FiringExample]) -> Iterator[Part]:
    """Examples by latents; each part has their places in the report's list, whatever order that is in."""
    places: dict[int, list[int]] = {}
    for place, example in enumerate(examples):
        places.setdefault(example.latent // EXAMPLES_PER_PART, []).append(place)
    sae.examples[metric] = {"prefix": prefix, "size": EXAMPLES_PER_PART, "parts": sorted(places)}
    for number in sorted(places):
        mine = [examples[place] for place in places[number]]
        columns = {name: [getattr(example, name) for example in mine] for name in _FIELDS}
        yield Part.of(f"{prefix}-{number}", {"places": places[number], "columns": columns})
