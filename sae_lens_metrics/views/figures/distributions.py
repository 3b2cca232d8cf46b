"""Distributions over latents or ablations, as shares."""

from bisect import bisect_right
from collections.abc import Mapping

from sae_lens_metrics.results import Histogram, Report
from sae_lens_metrics.views.figures.figure import Series
from sae_lens_metrics.views.figures.groups import FEW, groups
from sae_lens_metrics.views.figures.values import histogram, shares

__all__ = ["counted", "distributions", "of_results"]


def of_results(reports: Mapping[str, Report], metric: str, name: str) -> list[Series]:
    """Histograms of the results as shares, one for each SAE."""
    return distributions(reports, {sae: histogram(report, metric, name) for sae, report in reports.items()})


def distributions(reports: Mapping[str, Report], histograms: Mapping[str, Histogram | None]) -> list[Series]:
    """Histograms as shares, one for each SAE that has one; none of more SAEs than can be told apart on top of each other."""
    if len(reports) > FEW:
        return []
    return [
        Series(group.name, found.edges, shares(found.counts), mark="histogram", colour=group.colour)
        for group in groups(reports)
        if (found := histograms[group.name]) is not None
    ]


def counted(values: list[float], edges: list[float]) -> Histogram | None:
    """How many values are in each bin, those beyond the outer edges in the outer bins; ``None`` without any value."""
    if not values:
        return None
    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[min(max(bisect_right(edges, value) - 1, 0), len(counts) - 1)] += 1
    return Histogram(edges, counts)
