"""A report as one HTML file that needs nothing from anywhere."""

from sae_lens_metrics.views.page.inputs import read_inputs
from sae_lens_metrics.views.page.page import write_report
from sae_lens_metrics.views.page.saved import offer_page, write_saved

__all__ = ["offer_page", "read_inputs", "write_report", "write_saved"]
