"""The sanity line as one line: the first thing that there is to see of an evaluation."""

from sae_lens_metrics.metrics.registry import SANITY, spec_of_result
from sae_lens_metrics.results import MetricResult
from sae_lens_metrics.results.in_words import with_error

__all__ = ["sanity_line"]


def sanity_line(result: MetricResult) -> str:
    """The numbers that are followed of the sanity line, each with its label.

    Args:
        result: The sanity line.
    """
    spec = spec_of_result(SANITY, result.estimates)
    estimates = {spec.numbers[name].label: result.estimates[name] for name in spec.followed() if name in result.estimates}
    return ", ".join(f"{label} {with_error(each.value, each.stderr)}" for label, each in estimates.items() if each.value is not None)
