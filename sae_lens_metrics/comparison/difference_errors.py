"""The standard error of a difference of two numbers: over what they have in common, or as independent ones."""

import math
from typing import NamedTuple

from sae_lens_metrics.functional.significance import welch_degrees_of_freedom
from sae_lens_metrics.results import Estimate, Repeated

__all__ = ["DifferenceError", "independent", "paired"]


class DifferenceError(NamedTuple):
    """How far a difference may be off."""

    stderr: float
    """Its standard error."""
    df: float | None
    """Degrees of freedom of that; ``None`` where there is no error."""


def paired(first: Estimate | Repeated, second: Estimate | Repeated) -> DifferenceError:
    """The error over units that both have in common, each of which must have an influence on both.

    Of the two numbers of units with weight the smaller one counts, and of their degrees of freedom, which errs on the safe side where
    they are not the same units.
    """
    assert first.influence is not None
    assert second.influence is not None
    n = min(first.n, second.n)
    length = math.hypot(*(b - a for a, b in zip(first.influence, second.influence, strict=True)))
    return DifferenceError(math.sqrt(n / (n - 1)) * length, min(first.degrees_of_freedom, second.degrees_of_freedom))


def independent(first: Estimate, second: Estimate) -> DifferenceError:
    """The error of a difference of independent numbers, both of which must have one."""
    assert first.stderr is not None
    assert second.stderr is not None
    stderr = math.hypot(first.stderr, second.stderr)
    parts = ((first.stderr, first.degrees_of_freedom), (second.stderr, second.degrees_of_freedom))
    return DifferenceError(stderr, welch_degrees_of_freedom(*parts) if stderr else None)
