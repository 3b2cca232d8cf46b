"""A number, its standard error, and what it was averaged over."""

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sae_lens_metrics.results.dataclass_schema import at_least
from sae_lens_metrics.results.repeated import Repeated, check_finite, check_influence, rounded

__all__ = ["ErrorParts", "Estimate", "error_parts", "with_drawn"]

_TEXT = frozenset({"documents", "sequences", "tokens"})


@dataclass(frozen=True)
class Estimate:
    """A number, its standard error and what it was averaged over; or, where there is none, the reason why."""

    value: float | None
    """The estimate; ``None`` where it could not be computed."""
    stderr: float | None = field(metadata=at_least(0))
    """Standard error over the sampling units; ``None`` where it could not be computed, or where the value is exact."""
    n: int = field(metadata=at_least(0))
    """Number of sampling units."""
    of: str
    """What a sampling unit is: ``"sequences"``, ``"tasks"``, ``"latents"`` ..."""
    reason: str | None = None
    """Why the value or its standard error is absent."""
    influence: list[float] | None = field(default=None, repr=False, hash=False)
    """How far each sampling unit moves the value, in the order of the units, for paired comparisons of reports on the same units
    (``compare``). A unit of weight zero has influence 0 and does not count in ``n``; stderr² = n / (n - 1) Σ influence² + drawn². Kept to
    six significant digits, in memory as in a file. ``None`` where there is no error, or where two SAEs have no units in common, as
    latents."""
    df: float | None = field(default=None, metadata=at_least(0))
    """Degrees of freedom of the standard error over units, for Student's t distribution; ``None`` for n - 1, as where all units weigh
    alike. Few of them, as where a few long documents hold most of the text, make wide intervals."""
    drawn: float | None = field(default=None, metadata=at_least(0))
    """The part of the standard error that is no unit's: what was drawn for this result alone moves it, such as the activations that
    explanations are built from. Two results on the same units do not share it. ``None`` for none."""
    drawn_df: float | None = field(default=None, metadata=at_least(0))
    """Degrees of freedom of that part."""
    repeated: Repeated | None = None
    """A second error, of the same units measured again, such as the same probe tasks with other texts; ``stderr`` is about other units.
    ``None`` where there is no second one."""

    def __post_init__(self) -> None:
        check_finite(self.value, self.stderr, *(self.influence or ()))
        if self.value is None and not self.reason:
            raise ValueError("an absent estimate needs a reason")
        if self.influence is not None:
            check_influence(self.influence, self.n, self.of)
            object.__setattr__(self, "influence", rounded(self.influence))

    @classmethod
    def absent(cls, reason: str, *, of: str, n: int = 0) -> "Estimate":
        """An estimate that could not be computed."""
        return cls(value=None, stderr=None, n=n, of=of, reason=reason)

    @property
    def is_over_text(self) -> bool:
        """Whether its sampling units are pieces of the text that everything is evaluated on."""
        return self.of in _TEXT

    def function(self, value: float, slope: float) -> "Estimate":
        """A smooth function f of the estimate, by the delta method: the error is |f'| times its error, influences are f' times its own.

        Args:
            value: f at the estimate.
            slope: f' there.
        """
        stderr, drawn = (None if error is None else abs(slope) * error for error in (self.stderr, self.drawn))
        influence = None if self.influence is None else [slope * number for number in self.influence]
        repeated = None if self.repeated is None else self.repeated.times(slope)
        return replace(self, value=value, stderr=stderr, influence=influence, drawn=drawn, repeated=repeated)

    def without_influences(self) -> "Estimate":
        """The same without what each sampling unit did, of which there may be very many."""
        repeated = None if self.repeated is None else replace(self.repeated, influence=None)
        return replace(self, influence=None, repeated=repeated)

    @property
    def degrees_of_freedom(self) -> float:
        """Degrees of freedom of the standard error; 0 where there is no spread to know it from."""
        over_units, drawn = error_parts(self)
        if not drawn or not over_units[1]:
            return over_units[1]
        from sae_lens_metrics.functional.significance import welch_degrees_of_freedom  # as below

        return welch_degrees_of_freedom(over_units, *drawn)

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """The confidence interval that the standard error gives, by Student's t distribution; ``None`` where there is no error.

        Args:
            level: How often such an interval holds the true value, above 0 and below 1.

        Raises:
            ValueError: If the level is no such probability.
        """
        if self.value is None or self.stderr is None or not self.degrees_of_freedom:
            return None
        from sae_lens_metrics.functional.significance import student_quantile  # SciPy is for those who ask

        reach = student_quantile(level, self.degrees_of_freedom) * self.stderr
        return self.value - reach, self.value + reach

    def one_minus(self) -> "Estimate":
        """One minus the estimate, with the same standard error."""
        return self if self.value is None else self.function(1 - self.value, -1.0)

    def __str__(self) -> str:
        if self.value is None:
            return f"absent ({self.reason})"
        return f"{self.value:.4g}" if self.stderr is None else f"{self.value:.4g} ± {self.stderr:.2g}"


class ErrorParts(NamedTuple):
    """What a standard error is joined from: standard errors, each with its degrees of freedom."""

    over_units: tuple[float, float]
    """What sampling units move: 0 where there is no error."""
    drawn: list[tuple[float, float]]
    """What was drawn for the result alone, which is no more than one; empty where there is nothing of that kind."""


def error_parts(estimate: Estimate | Repeated) -> ErrorParts:
    """The parts of a standard error; a second error has but one.

    Args:
        estimate: What the error is of.
    """
    if isinstance(estimate, Repeated):
        return ErrorParts((estimate.stderr, estimate.degrees_of_freedom), [])
    alone = math.sqrt(max(0.0, (estimate.stderr or 0.0) ** 2 - (estimate.drawn or 0.0) ** 2))
    df = max(0, estimate.n - 1) if estimate.df is None else estimate.df
    return ErrorParts((alone, df), [(estimate.drawn, estimate.drawn_df)] if estimate.drawn and estimate.drawn_df else [])


def with_drawn(estimate: Estimate, drawn: float, df: float) -> Estimate:
    """An estimate with a part of its error that is no unit's.

    Args:
        estimate: The estimate, with the error over its units alone.
        drawn: The standard error that what was drawn for this result alone gives it.
        df: Degrees of freedom of that error.
    """
    if estimate.stderr is None or not drawn:
        return estimate
    return replace(estimate, stderr=math.hypot(estimate.stderr, drawn), drawn=drawn, drawn_df=df)
