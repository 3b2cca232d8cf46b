"""The standard error of a difference of two numbers: over what they have in common, or as independent ones."""

import math
from typing import NamedTuple

from sae_lens_metrics.functional.significance import welch_degrees_of_freedom
from sae_lens_metrics.results import Estimate, Repeated
from sae_lens_metrics.results.estimate import error_parts

__all__ = ["RESOLUTION", "DifferenceError", "independent", "paired"]

RESOLUTION = 1e-6
"""Relative to a value; what is computed in float32 does not tell smaller differences."""


class DifferenceError(NamedTuple):
    """How far a difference may be off."""

    stderr: float
    """Its standard error."""
    df: float | None
    """Degrees of freedom of that; ``None`` where there is no error."""


def paired(first: Estimate | Repeated, second: Estimate | Repeated) -> DifferenceError:
    """The error over units that both have in common, each of which must have an influence on both.

    Of the two numbers of units with weight the smaller one counts, and of their degrees of freedom, which errs on the safe side where
    they are not the same units. What was drawn for each result alone does not cancel.
    """
    assert first.influence is not None
    assert second.influence is not None
    n = min(first.n, second.n)
    length = math.hypot(*(b - a for a, b in zip(first.influence, second.influence, strict=True)))
    one, other = error_parts(first), error_parts(second)
    over_units, drawn = (math.sqrt(n / (n - 1)) * length, min(one.over_units[1], other.over_units[1])), [*one.drawn, *other.drawn]
    if not drawn:
        return DifferenceError(*over_units)
    return DifferenceError(math.hypot(over_units[0], *(stderr for stderr, _ in drawn)), welch_degrees_of_freedom(over_units, *drawn))


def independent(first: Estimate, second: Estimate) -> DifferenceError:
    """The error of a difference of independent numbers, both of which must have one."""
    assert first.stderr is not None
    assert second.stderr is not None
    stderr = math.hypot(first.stderr, second.stderr)
    parts = ((first.stderr, first.degrees_of_freedom), (second.stderr, second.degrees_of_freedom))
    return DifferenceError(stderr, welch_degrees_of_freedom(*parts) if stderr else None)
