"""How far a sweep is, and how long the rest will take."""

import logging
import math
import time

__all__ = ["Clock", "time_in_words"]

logger = logging.getLogger("sae_lens_metrics")


class Clock:
    """Tells how far a sweep is, and how long the rest will take if it goes on as so far."""

    def __init__(self, jobs: int) -> None:
        self._jobs, self._begun, self._evaluated = jobs, 0, 0
        self._seconds = 0.0
        self._started = time.perf_counter()

    def announce(self, name: str) -> None:
        """Tells which SAE is next."""
        self._begun += 1
        self._started = time.perf_counter()
        left = ""
        if self._evaluated:
            left = f", {time_in_words(self._seconds / self._evaluated * (self._jobs - self._begun + 1))} left"
        logger.info("%d of %d%s: %s", self._begun, self._jobs, left, name)

    def pass_over(self) -> None:
        """Counts an SAE that another process has dealt with."""
        self._begun += 1

    def count(self, evaluated: bool) -> None:
        """Counts the time of an SAE that was evaluated; one whose result was there says nothing about the others."""
        if evaluated:
            self._evaluated += 1
            self._seconds += time.perf_counter() - self._started


def time_in_words(seconds: float) -> str:
    """Some seconds as a person says them."""
    if seconds < 60:
        return "less than a minute"
    return f"about {math.ceil(seconds / 60)} minutes" if seconds < 5_400 else f"about {seconds / 3600:.1f} hours"
