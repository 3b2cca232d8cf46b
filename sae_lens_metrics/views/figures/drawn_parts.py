"""What figures draw of a report: very little of a large one."""

from dataclasses import replace

from sae_lens_metrics.metrics.figure_specs import DistributionFigure, RowsFigure
from sae_lens_metrics.metrics.registry import SANITY, spec_of_result
from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.results import MetricResult, Report
from sae_lens_metrics.views.figures.groups import FEW

__all__ = ["slim"]


def slim(report: Report, of: int) -> Report:
    """A report of which ``paper_figures`` makes the same figures, in little memory: it takes all SAEs at once, and they may be many.

    Left out are examples, influences, the tables that are not drawn, and of latents whatever is not; all of the latents where SAEs are
    too many for distributions.

    Args:
        report: The report.
        of: How many SAEs the figures are of, this one included.
    """
    left = report.without("examples", "influences", "explanations", "effects")
    return replace(
        left, sanity=_slim(SANITY, left.sanity, of), metrics={name: _slim(name, each, of) for name, each in left.metrics.items()}
    )


def _slim(metric: str, result: MetricResult, of: int) -> MetricResult:
    spec = spec_of_result(metric, result.estimates)
    whole = {figure.table for figure in spec.figures if isinstance(figure, RowsFigure)}
    tables = {name: rows for name, rows in result.tables.items() if name in whole}
    for name, columns in _counted(spec).items():
        if name in result.tables and name not in whole:
            rows = result.tables[name] if of <= FEW else []
            tables[name] = [{column: row[column] for column in columns if column in row} for row in rows]
    return replace(result, tables=tables)


def _counted(spec: MetricSpec) -> dict[str, list[str]]:
    """Columns of which distributions are drawn, by their tables."""
    columns: dict[str, list[str]] = {}
    for figure in spec.figures:
        if isinstance(figure, DistributionFigure) and figure.table:
            columns.setdefault(figure.table, []).append(figure.column)
    return columns
