"""The error of a number whose sampling units stay the same and are measured again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sae_lens_metrics.results.dataclass_schema import at_least

__all__ = ["Repeated", "check_finite", "check_influence", "rounded"]

_DIGITS = 6
"""Significant digits of an influence: a thousand of them take some 12 KB in a file."""


@dataclass(frozen=True)
class Repeated:
    """How far a number moves if the same units are measured again, such as the same probe tasks with other texts.

    It is what a repetition bears out, and what tells two SAEs apart on these units. Whether they differ on other units, as on tasks that
    were not asked, is a wider question, which the estimate's own standard error is about.
    """

    stderr: float = field(metadata=at_least(0))
    """Standard error over what is measured anew."""
    n: int = field(metadata=at_least(0))
    """Number of pieces of what is measured anew that have weight."""
    of: str
    """What a piece is, as ``"groups of texts"``."""
    df: float | None = field(default=None, metadata=at_least(0))
    """Degrees of freedom of the standard error; ``None`` for n - 1."""
    influence: list[float] | None = field(default=None, repr=False, hash=False)
    """How far each piece moves the value; the pieces are the same, in the same order, in all reports on the same units with the same seed.
    One of weight zero has influence 0 and does not count in ``n``; stderr² = n / (n - 1) Σ influence². ``None`` where it is not kept."""

    def __post_init__(self) -> None:
        check_finite(self.stderr, *(self.influence or ()))
        if self.influence is not None:
            check_influence(self.influence, self.n, self.of)
            object.__setattr__(self, "influence", rounded(self.influence))

    @property
    def degrees_of_freedom(self) -> float:
        """Degrees of freedom of the standard error; 0 where there is no spread to know it from."""
        return max(0, self.n - 1) if self.df is None else self.df

    def times(self, factor: float) -> "Repeated":
        """The error of a multiple of the number.

        Args:
            factor: The multiple.
        """
        influence = None if self.influence is None else [factor * number for number in self.influence]
        return replace(self, stderr=abs(factor) * self.stderr, influence=influence)


def check_finite(*numbers: float | None) -> None:
    """Raises an error if a number is not finite.

    Raises:
        ValueError: If so.
    """
    for number in numbers:
        if number is not None and not math.isfinite(number):
            raise ValueError(f"an estimate must be finite, not {number}: leave it out and give the reason")


def check_influence(influence: Sequence[float], n: int, of: str) -> None:
    """Raises an error if there are fewer influences than units of weight.

    Raises:
        ValueError: If so.
    """
    if len(influence) < n:
        raise ValueError(f"influence has {len(influence)} numbers, expected one for each of the {n} {of}")


def rounded(influence: Sequence[float]) -> list[float]:
    """Influences to six significant digits, as they are kept in memory and in a file."""
    return [float(f"{number:.{_DIGITS}g}") + 0.0 for number in influence]  # + 0.0: no negative zeros
