"""The main number of each metric against L0, over SAEs."""

from collections.abc import Iterator, Mapping

from sae_lens_metrics.metrics.figure_specs import NumbersFigure
from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.results import Estimate, Report
from sae_lens_metrics.views.figures.figure import Figure
from sae_lens_metrics.views.figures.groups import FEW
from sae_lens_metrics.views.figures.numbers import Numbers
from sae_lens_metrics.views.figures.same_text import with_text
from sae_lens_metrics.views.figures.wording import better

__all__ = ["across_figures"]


def across_figures(reports: Mapping[str, Report]) -> Iterator[Figure]:
    """A figure for each metric; none for a single SAE."""
    if len(reports) < 2:
        return
    for metric, estimates in _metrics(reports).items():
        spec = spec_of_result(metric, estimates)
        if not spec.headline or (len(reports) > FEW and _drawn_by_itself(spec)):
            continue
        headline = spec.number(spec.headline)
        numbers = Numbers(
            f"across/{metric}_{spec.headline}",
            f"{spec.title} against L0",
            f"{spec.meaning} {better(headline)}".strip(),
            headline.label,
            {spec.full(spec.headline): headline.label},
            {spec.full(name): label for name, label in spec.baselines().items()},
        )
        yield from with_text(numbers.against_l0(reports), reports, metric)


def _drawn_by_itself(spec: MetricSpec) -> bool:
    """Whether a figure of the metric's own is of its headline alone, and so against L0 for many SAEs."""
    return any(isinstance(figure, NumbersFigure) and list(figure.numbers) == [spec.headline] for figure in spec.figures)


def _metrics(reports: Mapping[str, Report]) -> dict[str, dict[str, Estimate]]:
    """Every metric, with the estimates of the first SAE that has it."""
    found: dict[str, dict[str, Estimate]] = {}
    for report in reports.values():
        for metric, result in report.results():
            found.setdefault(metric, result.estimates)
    return found
