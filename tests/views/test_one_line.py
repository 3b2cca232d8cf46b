"""Results as one line."""

from sae_lens_metrics import MetricResult, Report
from sae_lens_metrics.results import Estimate
from sae_lens_metrics.views.one_line import headline_line


def test_a_line_of_training_has_the_numbers_that_lead_there():
    """Of probes the held-out loss: with a hundred examples to fit on, the fitted loss is mostly luck."""
    probe = MetricResult({"loss": Estimate(0.1, 0.01, 4, "families"), "held_out_loss": Estimate(0.4, 0.02, 4, "families")})
    n2g = MetricResult({"f1": Estimate(0.2, 0.01, 30, "latents"), "recall": Estimate(0.3, 0.01, 30, "latents")})
    line = headline_line(Report(MetricResult({}), {"probe": probe, "n2g": n2g}))
    assert "probe/held_out_loss 0.4" in line
    assert "probe/loss" not in line
    assert "n2g/f1 0.2" in line
