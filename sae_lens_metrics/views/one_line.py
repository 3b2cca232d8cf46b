"""Results as one line: what there is to see first, and while a training run goes on."""

from collections.abc import Iterable

from sae_lens_metrics.metrics.registry import SANITY, spec_of_result
from sae_lens_metrics.results import Estimate, MetricResult, Report
from sae_lens_metrics.results.in_words import with_error

__all__ = ["headline_line", "sanity_line"]


def sanity_line(result: MetricResult) -> str:
    """The numbers that are followed of the sanity line, each with its label.

    Args:
        result: The sanity line.
    """
    spec = spec_of_result(SANITY, result.estimates)
    return _line((spec.numbers[name].label, result.estimates[name]) for name in spec.followed() if name in result.estimates)


def headline_line(report: Report) -> str:
    """The number of each metric that stands for it during training, with its full name.

    Args:
        report: The report.
    """
    specs = {metric: spec_of_result(metric, result.estimates) for metric, result in report.results()}
    return _line(
        (specs[metric].full(specs[metric].leading), result.estimates[specs[metric].leading])
        for metric, result in report.results()
        if specs[metric].leading in result.estimates
    )


def _line(estimates: Iterable[tuple[str, Estimate]]) -> str:
    return ", ".join(f"{name} {with_error(each.value, each.stderr)}" for name, each in estimates if each.value is not None)
