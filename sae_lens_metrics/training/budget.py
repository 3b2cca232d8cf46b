"""How much time metrics may take beside training."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["OverheadBudget"]


class OverheadBudget:
    """Spaces evaluations out so that they take no more than a share of the wall-clock time.

    An evaluation is allowed if all of them together, it included at the cost of the last one, stay within the share. What the first one
    will cost is estimated; without an estimate it is always allowed.

    Args:
        share: The share, in (0, 1].
        clock: Seconds that only go up.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._share, self._clock, self._started = share, clock, clock()
        self._spent = self._last = 0.0
        self.ran = self.skipped = 0

    def expect(self, seconds: float) -> None:
        """Says what the first evaluation will cost."""
        self._last = seconds

    def allows(self) -> bool:
        """Whether an evaluation may run now; a refusal is counted."""
        elapsed = self._clock() - self._started
        allowed = self._spent + self._last <= self._share * (elapsed + self._last)
        self.skipped += not allowed
        return allowed

    def in_words(self) -> str:
        """When the first evaluation comes, if not at once."""
        wait = (self._spent + self._last) / self._share - self._last
        if self._share >= 1 or wait < 1:
            return ""
        return f"; to keep within {100 * self._share:.0f} % of the time (max_overhead), the first one comes after {wait:.0f} s of training"

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Counts the time of finding out what an evaluation will cost."""
        started = self._clock()
        try:
            yield
        finally:
            self._spent += self._clock() - started

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Counts the time of an evaluation."""
        before = self._spent
        try:
            with self.measuring():
                yield
        finally:
            self._last = self._spent - before
            self.ran += 1
