"""Figures of N2G explanations."""

import math
from collections.abc import Iterator, Mapping

from sae_lens_metrics.results import Histogram, Report
from sae_lens_metrics.views.figures.distributions import counted, distributions
from sae_lens_metrics.views.figures.figure import Figure
from sae_lens_metrics.views.figures.numbers import Numbers
from sae_lens_metrics.views.figures.values import finite, table

__all__ = ["COLUMNS", "n2g_figures"]

COLUMNS = ("f1", "density")
"""What is drawn of each latent."""

_F1_EDGES = [i / 20 for i in range(21)]
_PER_DECADE = 4
_SHARE = "share of latents"


def n2g_figures(reports: Mapping[str, Report]) -> Iterator[Figure]:
    """Mean precision, recall and F1; and how F1 and density are distributed over latents."""
    numbers = Numbers(
        "n2g/precision_recall",
        "Precision and recall of N2G explanations",
        "Means over latents, higher is better. Figures 24 and 25 of Gao et al. 2024.",
        "share, mean over latents",
        {"n2g/precision": "precision", "n2g/recall": "recall", "n2g/f1": "F1"},
    )
    yield from numbers.figures(reports)
    f1 = {name: counted(_column(report, "f1"), _F1_EDGES) for name, report in reports.items()}
    if series := distributions(reports, f1):
        caption = "How well n-grams say where each latent fires: 0 is not at all, 1 is always and nowhere else. Explained latents only."
        yield Figure("n2g/latents", "F1 of explanations, latent by latent", caption, "F1 of a latent's explanation", _SHARE, series)
    if series := distributions(reports, _densities(reports)):
        caption = "How often each latent fires: -2 is on one token in a hundred. Latents that never fire on this text are left out."
        yield Figure("n2g/density", "How often latents fire", caption, "log10 of the share of tokens", _SHARE, series)


def _densities(reports: Mapping[str, Report]) -> dict[str, Histogram | None]:
    """Histograms of the logarithms of densities, with the same edges for all: from the rarest latent's decade to 1."""
    logs = {name: [math.log10(each) for each in _column(report, "density") if each > 0] for name, report in reports.items()}
    decades = max((math.ceil(-each) for found in logs.values() for each in found), default=0) or 1
    edges = [i / _PER_DECADE - decades for i in range(decades * _PER_DECADE + 1)]
    return {name: counted(found, edges) for name, found in logs.items()}


def _column(report: Report, name: str) -> list[float]:
    return [value for row in table(report, "n2g", "latents") if (value := finite(row, name)) is not None]
