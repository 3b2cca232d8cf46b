"""What figures draw of a report: very little of a large one."""

from dataclasses import replace

from sae_lens_metrics.results import MetricResult, Report, Row
from sae_lens_metrics.views.figures.groups import FEW
from sae_lens_metrics.views.figures.n2g_figures import COLUMNS

__all__ = ["slim"]

_DRAWN = {"probe": ("tasks", "families"), "n2g": ("latents",)}
"""Tables by metric."""


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
        left, sanity=_slim("sanity", left.sanity, of), metrics={name: _slim(name, each, of) for name, each in left.metrics.items()}
    )


def _slim(metric: str, result: MetricResult, of: int) -> MetricResult:
    tables = {name: result.tables[name] for name in _DRAWN.get(metric, ()) if name in result.tables}
    if "latents" in tables:
        tables["latents"] = [_drawn(row) for row in tables["latents"]] if of <= FEW else []
    return replace(result, tables=tables)


def _drawn(row: Row) -> Row:
    return {name: row[name] for name in COLUMNS if name in row}
