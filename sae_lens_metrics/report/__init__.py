"""A report as one HTML file that needs nothing from anywhere."""

from sae_lens_metrics.report.inputs import read_inputs
from sae_lens_metrics.report.page import write_report

__all__ = ["read_inputs", "write_report"]
