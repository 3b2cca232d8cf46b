"""All figures of one or several SAEs."""

from collections.abc import Iterator, Mapping

from sae_lens_metrics.metrics.figure_specs import DistributionFigure, FigureSpec, LadderFigure, NumbersFigure
from sae_lens_metrics.metrics.registry import built_in_metrics, spec_of_result
from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.results import Report
from sae_lens_metrics.views.figures.across import across_figures
from sae_lens_metrics.views.figures.distributions import distribution_figure
from sae_lens_metrics.views.figures.figure import Figure
from sae_lens_metrics.views.figures.ladder import ladder_figure
from sae_lens_metrics.views.figures.numbers import numbers_figure
from sae_lens_metrics.views.figures.rows import rows_figure
from sae_lens_metrics.views.figures.same_text import with_text

__all__ = ["paper_figures"]


def paper_figures(reports: Mapping[str, Report]) -> list[Figure]:
    """The paper's figures, and those of other packages' metrics, of what the results hold: what no report has is left out.

    Up to four SAEs have a colour each, in bars and distributions. More of them are points, against their L0 where the figure is of
    few numbers, coloured by architecture, and distributions are left out.

    Args:
        reports: Reports by the SAEs' names, in the order in which they are shown. ``slim`` ones do.
    """
    own = [each for spec in _specs(reports) for each in with_text(_figures(spec, reports), reports, spec.name)]
    return [*own, *across_figures(reports)]


def _specs(reports: Mapping[str, Report]) -> Iterator[MetricSpec]:
    """The metrics of the reports, this package's first and in their order."""
    there: dict[str, None] = dict.fromkeys(name for report in reports.values() for name in report.metrics)
    for name in sorted(there, key=lambda name: built_in_metrics().index(name) if name in built_in_metrics() else len(there) + 99):
        yield spec_of_result(name, [])


def _figures(spec: MetricSpec, reports: Mapping[str, Report]) -> Iterator[Figure]:
    for figure in spec.figures:
        yield from _drawn(spec, figure, reports)


def _drawn(spec: MetricSpec, figure: FigureSpec, reports: Mapping[str, Report]) -> list[Figure]:
    if isinstance(figure, NumbersFigure):
        return numbers_figure(spec, figure).figures(reports)
    if isinstance(figure, DistributionFigure):
        return distribution_figure(spec, figure, reports)
    if isinstance(figure, LadderFigure):
        return ladder_figure(spec, figure, reports)
    return rows_figure(spec, figure, reports)
