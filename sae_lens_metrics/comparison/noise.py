"""How far one number of one SAE moves from seed to seed, beside the standard error that it is reported with."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sae_lens_metrics.functional.reliability import error_ratio_interval, smallest_difference
from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.results import Estimate

__all__ = ["NOT_REDRAWN", "REPEATED", "ErrorRatio", "Fit", "Noise", "are_redrawn", "by_number", "error_ratio", "noise_of"]

Fit = Literal["fits", "too small", "too large", "not redrawn"]
NOT_REDRAWN = (
    "not redrawn: the error is about other units of a metric's own, such as other probe tasks, and seeds keep those; they move the texts "
    "and splits within, so that s is the smaller of the two"
)
"""What the verdict means that says nothing about an error."""
REPEATED = (
    "Of numbers over probe tasks the error here is that of the same tasks with other texts, which is what seeds move; the error that they "
    "are reported with is about other families of tasks"
)
"""Which error is judged of numbers that have two."""


@dataclass(frozen=True)
class ErrorRatio:
    """What seeds move, over the standard error that was reported."""

    reported: float
    """Mean reported standard error; of numbers over units that seeds keep, such as probe tasks, the error of the same units measured again
    (``Estimate.repeated``) where there is one."""
    ratio: float
    """s over that."""
    low: float
    """Lower limit of the ratio's 95 % interval (chi², seeds minus one degrees of freedom)."""
    high: float
    """Its upper limit."""
    verdict: Fit
    """Whether the reported error can be what seeds move: it fits if 1 is inside the interval; ``NOT_REDRAWN`` says when not."""
    repeated: bool = False
    """Whether it is that second error."""


@dataclass(frozen=True)
class Noise:
    """One number of one SAE over seeds."""

    number: str
    """Its full name, such as ``"overlap/max_cosine"``."""
    name: str
    """The SAE."""
    values: list[float]
    """The value of each seed that has one."""
    mean: float | None
    """Mean over seeds; ``None`` where no seed has a value."""
    s: float | None
    """Standard deviation over seeds; ``None`` for fewer than two values."""
    cv: float | None
    """s over the absolute mean; ``None`` where either is absent, or the mean is 0."""
    one_seed: float | None
    """Smallest difference to another SAE that one seed of each can show, if s is the same for both: t(.025, seeds - 1) s sqrt(2)."""
    three_seeds: float | None
    """Likewise three seeds of each, which give s themselves: t(.025, 4) s sqrt(2/3)."""
    errors: ErrorRatio | None
    """s beside the reported standard errors; ``None`` where there are none."""
    headline: bool = False
    """Whether it is its metric's main number."""
    reason: str | None = None
    """Why something is absent."""


def are_redrawn(spec: MetricSpec, of: str) -> bool:
    """Whether each seed draws the units anew that an error is over: a text's are, a metric's own, such as probe tasks, are not.

    Args:
        spec: The metric.
        of: What the units are called.
    """
    return spec.units is None or of not in spec.units.of


def noise_of(number: str, name: str, estimates: Sequence[Estimate], *, headline: bool, redrawn: bool = True) -> Noise:
    """The noise of one number of one SAE.

    Args:
        number: Its full name.
        name: The SAE.
        estimates: The number with each seed.
        headline: Whether it is its metric's main number.
        redrawn: Whether seeds move what its errors are over.
    """
    values = [each.value for each in estimates if each.value is not None]
    missing = next((each.reason for each in estimates if each.value is None), None)
    mean = statistics.fmean(values) if values else None
    if mean is None or len(values) < 2:
        reason = missing or "one seed has no spread, and the others no value"
        return Noise(number, name, values, mean, None, None, None, None, None, headline, reason)
    s, df = statistics.stdev(values), len(values) - 1
    repeated = not redrawn and all(each.repeated is not None for each in estimates if each.value is not None)
    reported = [error for each in estimates if each.value is not None and (error := _error(each, repeated=repeated)) is not None]
    return Noise(
        number,
        name,
        values,
        mean,
        s,
        s / abs(mean) if mean else None,
        smallest_difference(1, df) * s,
        smallest_difference(3, 4) * s,
        error_ratio(s, reported, df, redrawn=redrawn or repeated, repeated=repeated),
        headline,
        missing or _without_error(estimates, reported),
    )


def _error(estimate: Estimate, *, repeated: bool) -> float | None:
    if not repeated:
        return estimate.stderr
    return None if estimate.repeated is None else estimate.repeated.stderr


def error_ratio(s: float, reported: Sequence[float], df: int, *, redrawn: bool, repeated: bool = False) -> ErrorRatio | None:
    """Standard deviation over seeds beside reported standard errors.

    Args:
        s: The standard deviation.
        reported: Standard errors, of each seed that has one.
        df: Degrees of freedom of s.
        redrawn: Whether seeds move what the errors are over.
        repeated: Whether they are of the same units measured again.

    Returns:
        The ratio, or ``None`` where nothing, or nothing but 0, was reported.
    """
    error = statistics.fmean(reported) if reported else 0.0
    if not error:
        return None
    low, high = error_ratio_interval(s / error, df)
    verdict: Fit = "not redrawn" if not redrawn else "too small" if low > 1 else "too large" if high < 1 else "fits"
    return ErrorRatio(error, s / error, low, high, verdict, repeated)


def _without_error(estimates: Sequence[Estimate], reported: Sequence[float]) -> str | None:
    if any(reported):
        return None
    if reported:
        return "the reported error is 0"
    return next((each.reason for each in estimates if each.reason), None) or "it has no standard error"


def by_number(estimates: Sequence[Mapping[str, Estimate]]) -> dict[str, list[Estimate]]:
    """The estimates of several reports by number, those that a report lacks left out."""
    names = dict.fromkeys(number for each in estimates for number in each)
    return {number: [each[number] for each in estimates if number in each] for number in names}
