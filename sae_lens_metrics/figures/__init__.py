"""Figures of the paper's kind, from result files alone."""

from sae_lens_metrics.figures.figure import Figure, Level, Series

__all__ = ["Figure", "Level", "Series"]
