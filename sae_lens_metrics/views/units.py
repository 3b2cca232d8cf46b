"""Over how many units a number is, where that must stand beside it."""

from collections.abc import Sequence

from sae_lens_metrics.results import Estimate, Report

__all__ = ["units_to_tell"]


def units_to_tell(number: str, reports: Sequence[Report]) -> list[int | None]:
    """Of each report, over how many units a number is, where that is not everything that was asked for, or not the same in all.

    Means over 49 and over 61 tasks are not the same number, nor is a mean over the few latents that could be explained one over all. The
    documents of a text are not told of: everything is over those.

    Args:
        number: Its full name.
        reports: The reports whose numbers stand beside each other.

    Returns:
        The number of units of each report's estimate; ``None`` where it need not be told, or there is no estimate.
    """
    metric, estimates = number.split("/", 1)[0], [dict(report.estimates()).get(number) for report in reports]
    there = [estimate for estimate in estimates if estimate is not None and estimate.value is not None]
    # SAEs of two sizes differ in what all of their latents are
    differ = len({estimate.n for estimate in there if estimate.of != "latents"}) > 1
    return [
        None if estimate is None or not _must_be_told(estimate, report.asked(metric, estimate.of), differ=differ) else estimate.n
        for estimate, report in zip(estimates, reports, strict=True)
    ]


def _must_be_told(estimate: Estimate, asked: int | None, *, differ: bool) -> bool:
    if estimate.value is None or estimate.is_over_text:
        return False
    return differ or (asked is not None and estimate.n != asked)
