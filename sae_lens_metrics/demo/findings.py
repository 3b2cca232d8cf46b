"""What the demo's two SAEs tell, in words."""

from collections.abc import Iterator, Mapping

from sae_lens_metrics.results import Report
from sae_lens_metrics.results.in_words import with_error

__all__ = ["findings"]

_SHRINKS = 1.05
"""Ratio of refined to raw latents from which an SAE is said to shrink them."""


def findings(reports: Mapping[str, Report]) -> Iterator[str]:
    """A line for each SAE: whether it shrinks its latents, and what that costs.

    Args:
        reports: Reports by the SAEs' names, with the metric "shrinkage".
    """
    for name, report in reports.items():
        estimates = report.metrics["shrinkage"].estimates
        ratio, gained = estimates["ratio"], estimates["ce_gained"]
        if ratio.value is None or gained.value is None:
            continue
        verdict = "shrinks its active latents" if ratio.value > _SHRINKS else "hardly shrinks its active latents"
        yield (
            f"  {name} {verdict}: those that reconstruct best are {with_error(ratio.value, ratio.stderr)} times as large in sum. "
            f"That costs {with_error(gained.value, gained.stderr)} nats of the model's loss."
        )
