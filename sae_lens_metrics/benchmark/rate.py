"""One measured rate, beside that of another way to do the same, and what limits it."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Limit", "Rate", "Work"]

Limit = Literal["matrix products", "memory bandwidth"]


@dataclass(frozen=True)
class Work:
    """What one unit takes at least."""

    amount: float
    """Floating-point operations in products with weights, or bytes."""
    limit: Limit
    """What it is a share of."""


@dataclass(frozen=True)
class Rate:
    """How fast something is done."""

    name: str
    """A name for programs."""
    what: str
    """What is done, in words."""
    unit: str
    """What is counted, in the plural."""
    rate: float
    """Units per second."""
    work: Work
    """What one unit takes at least."""
    reference: str = ""
    """Another way to do the same; empty where there is none here."""
    reference_rate: float | None = None
    """Units per second of that way, on a sample."""

    @property
    def times(self) -> float | None:
        """How many times as fast as the other way."""
        return None if self.reference_rate is None else self.rate / self.reference_rate
