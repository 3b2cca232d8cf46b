"""All figures of one or several SAEs."""

from collections.abc import Mapping

from sae_lens_metrics.results import Report
from sae_lens_metrics.views.figures.ablation_figures import ablation_figures
from sae_lens_metrics.views.figures.across import across_figures
from sae_lens_metrics.views.figures.explanation_figures import explanation_figures
from sae_lens_metrics.views.figures.figure import Figure
from sae_lens_metrics.views.figures.n2g_figures import n2g_figures
from sae_lens_metrics.views.figures.probe_figures import probe_figures
from sae_lens_metrics.views.figures.same_text import with_text
from sae_lens_metrics.views.figures.shrinkage_figures import shrinkage_figures

__all__ = ["paper_figures"]

_OF_METRICS = {
    "probe": probe_figures,
    "n2g": n2g_figures,
    "explanation": explanation_figures,
    "ablation": ablation_figures,
    "shrinkage": shrinkage_figures,
}


def paper_figures(reports: Mapping[str, Report]) -> list[Figure]:
    """The paper's figures, of what the results hold: what no report has numbers for is left out.

    Up to four SAEs have a colour each, in bars and distributions. More of them are points, against their L0 where the figure is of
    few numbers, coloured by architecture, and distributions are left out.

    Args:
        reports: Reports by the SAEs' names, in the order in which they are shown. ``slim`` ones do.
    """
    own = [each for metric, figures in _OF_METRICS.items() for each in with_text(figures(reports), reports, metric)]
    return [*own, *across_figures(reports)]
