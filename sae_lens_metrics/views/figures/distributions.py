"""Distributions over latents or ablations, as shares."""

import math
from bisect import bisect_right
from collections.abc import Mapping

from sae_lens_metrics.metrics.figure_specs import DistributionFigure
from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.results import Histogram, Report
from sae_lens_metrics.views.figures.figure import Figure, Series
from sae_lens_metrics.views.figures.groups import FEW, groups
from sae_lens_metrics.views.figures.values import finite, histogram, shares, table

__all__ = ["counted", "distribution_figure", "distributions"]

_PER_DECADE = 4


def distribution_figure(spec: MetricSpec, figure: DistributionFigure, reports: Mapping[str, Report]) -> list[Figure]:
    """The figure, if any SAE has such a distribution, and SAEs are few.

    Args:
        spec: The metric.
        figure: What to draw.
        reports: Reports by the SAEs' names.
    """
    if figure.histogram:
        found = {sae: histogram(report, spec.name, figure.histogram) for sae, report in reports.items()}
    else:
        found = _of_columns({sae: _column(report, spec, figure) for sae, report in reports.items()}, figure.edges)
    series = distributions(reports, found)
    name = spec.full(figure.name)
    return [Figure(name, figure.title, figure.caption, figure.x_label, figure.y_label, series)] if series else []


def _of_columns(columns: Mapping[str, list[float]], edges: tuple[float, ...]) -> dict[str, Histogram | None]:
    """Histograms of values between edges; without any, of their logarithms, from the smallest value's decade to 1, the same for all."""
    if edges:
        return {sae: counted(values, list(edges)) for sae, values in columns.items()}
    logs = {sae: [math.log10(value) for value in values if value > 0] for sae, values in columns.items()}
    decades = max((math.ceil(-each) for found in logs.values() for each in found), default=0) or 1
    quarters = [i / _PER_DECADE - decades for i in range(decades * _PER_DECADE + 1)]
    return {sae: counted(found, quarters) for sae, found in logs.items()}


def _column(report: Report, spec: MetricSpec, figure: DistributionFigure) -> list[float]:
    return [value for row in table(report, spec.name, figure.table) if (value := finite(row, figure.column)) is not None]


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
