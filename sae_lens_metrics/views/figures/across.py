"""The main number of each metric against L0, over SAEs."""

from collections.abc import Iterator, Mapping

from sae_lens_metrics.metrics.guide import guide_to
from sae_lens_metrics.results import Estimate, Report
from sae_lens_metrics.views.figures.figure import Figure
from sae_lens_metrics.views.figures.groups import FEW
from sae_lens_metrics.views.figures.numbers import Numbers
from sae_lens_metrics.views.figures.same_text import with_text
from sae_lens_metrics.views.figures.wording import better, spoken

__all__ = ["across_figures"]

_DRAWN_THERE = ("probe", "ablation")
"""Metrics whose own figures are against L0 for many SAEs."""


def across_figures(reports: Mapping[str, Report]) -> Iterator[Figure]:
    """A figure for each metric; none for a single SAE."""
    if len(reports) < 2:
        return
    for metric, estimates in _metrics(reports).items():
        if len(reports) > FEW and metric in _DRAWN_THERE:
            continue
        guide = guide_to(metric, estimates)
        number = f"{metric}/{guide.headline}"
        numbers = Numbers(
            f"across/{metric}_{guide.headline}",
            f"{guide.title} against L0",
            f"{guide.meaning} {better(number)}".strip(),
            spoken(number),
            {number: spoken(number)},
            {f"{metric}/{name}": label for name, label in guide.baselines.items()},
        )
        yield from with_text(numbers.against_l0(reports), reports, metric)


def _metrics(reports: Mapping[str, Report]) -> dict[str, dict[str, Estimate]]:
    """Every metric, with the estimates of the first SAE that has it."""
    found: dict[str, dict[str, Estimate]] = {}
    for report in reports.values():
        for metric, result in report.results():
            found.setdefault(metric, result.estimates)
    return found
