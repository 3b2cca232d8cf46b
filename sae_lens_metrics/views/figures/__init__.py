"""Figures of the paper's kind, from result files alone."""

from sae_lens_metrics.views.figures.drawn_parts import slim
from sae_lens_metrics.views.figures.figure import Figure, Level, Series
from sae_lens_metrics.views.figures.image import to_png
from sae_lens_metrics.views.figures.paper import paper_figures
from sae_lens_metrics.views.figures.plotly_form import to_plotly
from sae_lens_metrics.views.figures.training_figures import training_figures
from sae_lens_metrics.views.figures.trends import trend_figures

__all__ = ["Figure", "Level", "Series", "paper_figures", "slim", "to_plotly", "to_png", "training_figures", "trend_figures"]
