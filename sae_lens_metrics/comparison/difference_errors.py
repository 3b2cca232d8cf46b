"""The standard error of a difference, or another weighted sum, of numbers: over what they have in common, or as independent ones."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from sae_lens_metrics.functional.significance import student_p, welch_degrees_of_freedom
from sae_lens_metrics.results import Estimate, Repeated
from sae_lens_metrics.results.estimate import error_parts

__all__ = ["RESOLUTION", "DifferenceError", "independent", "p_value", "paired", "sum_of_independent", "sum_of_paired"]

RESOLUTION = 1e-6
"""Relative to a value; what is computed in float32 does not tell smaller differences."""


class DifferenceError(NamedTuple):
    """How far a difference may be off."""

    stderr: float
    """Its standard error."""
    df: float | None
    """Degrees of freedom of that; ``None`` where there is no error."""


def paired(first: Estimate | Repeated, second: Estimate | Repeated) -> DifferenceError:
    """The error of a difference over units that both have in common, as ``sum_of_paired`` has it."""
    return sum_of_paired((first, second), (-1.0, 1.0))


def independent(first: Estimate, second: Estimate) -> DifferenceError:
    """The error of a difference of independent numbers, both of which must have one."""
    return sum_of_independent((first, second), (-1.0, 1.0))


def sum_of_paired(numbers: Sequence[Estimate | Repeated], weights: Sequence[float]) -> DifferenceError:
    """The error of Σ w θ over units that all have in common, each of which must have an influence on all of them.

    Of the numbers of units with weight the smallest one counts, and of their degrees of freedom, which errs on the safe side where
    they are not the same units. What was drawn for each result alone does not cancel.

    Args:
        numbers: θ, two at least.
        weights: w.
    """
    n = min(each.n for each in numbers)
    influences = [each.influence for each in numbers if each.influence is not None]
    assert len(influences) == len(numbers)
    length = math.hypot(*(math.fsum(w * i for w, i in zip(weights, unit, strict=True)) for unit in zip(*influences, strict=True)))
    parts = [error_parts(each) for each in numbers]
    drawn = [(abs(w) * stderr, df) for w, part in zip(weights, parts, strict=True) for stderr, df in part.drawn]
    over_units = math.sqrt(n / (n - 1)) * length, min(part.over_units[1] for part in parts)
    if not any(stderr for stderr, _ in drawn):
        return DifferenceError(*over_units)
    return DifferenceError(math.hypot(over_units[0], *(stderr for stderr, _ in drawn)), welch_degrees_of_freedom(over_units, *drawn))


def sum_of_independent(numbers: Sequence[Estimate], weights: Sequence[float]) -> DifferenceError:
    """The error of Σ w θ of independent numbers, all of which must have one.

    Args:
        numbers: θ.
        weights: w.
    """
    errors = [each.stderr for each in numbers if each.stderr is not None]
    assert len(errors) == len(numbers)
    parts = [(abs(w) * error, each.degrees_of_freedom) for w, error, each in zip(weights, errors, numbers, strict=True)]
    stderr = math.hypot(*(stderr for stderr, _ in parts))
    return DifferenceError(stderr, welch_degrees_of_freedom(*parts) if stderr else None)


def p_value(difference: float, scale: float, stderr: float | None, df: float | None) -> float:
    """Two-sided p-value of Student's t test of a difference against 0.

    Args:
        difference: What is tested.
        scale: How large the values are that it is the difference of: below ``RESOLUTION`` of that it is none.
        stderr: Its standard error.
        df: Degrees of freedom of that; 0 where the error itself is not known, which tells nothing.
    """
    if abs(difference) <= RESOLUTION * scale or df == 0:
        return 1.0
    if not stderr or df is None:
        return 0.0  # the same difference in every unit
    return student_p(difference / stderr, df)
