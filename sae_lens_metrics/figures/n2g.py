"""Figures of N2G explanations."""

import math
from collections.abc import Callable, Iterator, Mapping

from sae_lens_metrics.figures.distributions import counted, distributions
from sae_lens_metrics.figures.figure import Figure, Series
from sae_lens_metrics.figures.numbers import Numbers
from sae_lens_metrics.figures.values import finite, table
from sae_lens_metrics.results import Histogram, Report

__all__ = ["n2g_figures"]

_F1_EDGES = [i / 20 for i in range(21)]
_DENSITY_EDGES = [-7 + i / 4 for i in range(29)]


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
    series = _over_latents(reports, _f1)
    if series:
        caption = "How well n-grams say where each latent fires: 0 is not at all, 1 is always and nowhere else. Explained latents only."
        yield Figure("n2g/latents", "F1 of explanations, latent by latent", caption, "F1 of a latent's explanation", _SHARE, series)
    series = _over_latents(reports, _log_density)
    if series:
        caption = "How often each latent fires: -2 is on one token in a hundred. Latents that never fire on this text are left out."
        yield Figure("n2g/density", "How often latents fire", caption, "log10 of the share of tokens", _SHARE, series)


_SHARE = "share of latents"


def _over_latents(reports: Mapping[str, Report], count: Callable[[Report], Histogram | None]) -> list[Series]:
    return distributions(reports, {name: count(report) for name, report in reports.items()})


def _f1(report: Report) -> Histogram | None:
    return counted([f1 for row in table(report, "n2g", "latents") if (f1 := finite(row, "f1")) is not None], _F1_EDGES)


def _log_density(report: Report) -> Histogram | None:
    densities = [finite(row, "density") for row in table(report, "n2g", "latents")]
    return counted([math.log10(density) for density in densities if density is not None and density > 0], _DENSITY_EDGES)
