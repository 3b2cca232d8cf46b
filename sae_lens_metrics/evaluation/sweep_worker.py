"""One of the processes that do a sweep: it takes an SAE after the other that nobody else is at."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sae_lens_metrics.evaluation.clock import Clock
from sae_lens_metrics.evaluation.found import Sweep
from sae_lens_metrics.evaluation.one_sae import Outcome, evaluate_job, on_one_line
from sae_lens_metrics.evaluation.order import Job
from sae_lens_metrics.evaluation.shared_loads import SharedLoads, free_memory
from sae_lens_metrics.evaluation.sweep_folder import Record
from sae_lens_metrics.integrations.interrupts import interrupts
from sae_lens_metrics.results import Report

__all__ = ["NOT_KEPT", "SweepWorker"]

logger = logging.getLogger("sae_lens_metrics")

_LOOK_AGAIN = 0.5
"""Seconds between two looks at what others are at."""
NOT_KEPT = "not evaluated, as its result could not be kept"
"""Why there is no result of those that come after one that could be written nowhere."""


@dataclass
class SweepWorker:
    """Evaluates SAEs in the order that ``plan`` gave them, and notes what came of each.

    An SAE that another process is at is left for later; in the end it waits for those, and takes them over where that process has died.
    """

    shared: SharedLoads
    """What the SAEs have in common."""
    found: Sweep
    """What is known, and the folder; may hold others already."""
    clock: Clock
    """Counts all that there is to do."""
    overwrite: bool = False
    """Whether results that are there are made again."""
    on_new: Callable[[str, Report, Path | None], None] | None = None
    """Told the name, report and file of each new result."""
    _waits: bool = field(default=False, init=False)

    def work(self, jobs: Sequence[Job]) -> bool:
        """Evaluates SAEs.

        Args:
            jobs: The SAEs.

        Returns:
            Whether results can be kept; where one could be written nowhere, the others are not evaluated.
        """
        left = list(jobs)
        while left:
            later: list[Job] = []
            for place, job in enumerate(left, start=1):
                done, kept = self._in_turn(job)
                if not kept:
                    self.found.errors |= {each.target.name: NOT_KEPT for each in [*later, *left[place:]]}
                    return False
                if done:
                    self.found.summary.renew_now_and_then()
                else:
                    later.append(job)
            if len(later) == len(left):
                self._wait(len(later))
            left = later
        return True

    def _wait(self, number: int) -> None:
        if not self._waits:
            logger.info("waiting for other processes, which evaluate the last %d SAE%s", number, "s" if number > 1 else "")
        self._waits = True
        time.sleep(_LOOK_AGAIN)

    def _in_turn(self, job: Job) -> tuple[bool, bool]:
        """Deals with an SAE, unless another process is at it; whether it is dealt with, and whether its result is kept."""
        folder, name = self.found.folder, job.target.name
        record, outcome = folder.made_meanwhile(name), None
        if record is None:
            with folder.claimed(name) as mine:
                if not mine:
                    return False, True
                record = folder.made_meanwhile(name)  # between the look and the claim
                if record is None:
                    outcome = self.attempt(job)
        if record is not None:
            self.clock.pass_over()
            self.found.add(record)
        if outcome is None:
            return True, True
        if self.on_new is not None and not outcome.was_there:
            self.on_new(name, outcome.report, outcome.path)
        return True, outcome.path is not None

    def attempt(self, job: Job) -> Outcome | None:
        """Evaluates an SAE, which nobody else may be at, and notes what came of it.

        Args:
            job: The SAE.

        Returns:
            Its result; ``None`` if it failed.
        """
        name, folder = job.target.name, self.found.folder
        self.clock.announce(name)
        try:
            outcome = evaluate_job(job, self.shared, folder.output, overwrite=self.overwrite)
        except Exception as error:  # whatever one SAE of a hub may raise must not end the others
            if isinstance(error, interrupts()):
                raise
            logger.debug("%s failed", name, exc_info=True)
            outcome, record = None, Record(name, error=on_one_line(error))
            logger.error("%s failed: %s", name, record.error)
        else:
            if outcome.was_there:
                logger.info("its result is there already: %s", outcome.path)
            record = Record(name, folder.file_name(outcome.path), "; ".join(outcome.problems) or None, outcome.report).slim()
        finally:
            free_memory()
        self.clock.count(outcome is not None and not outcome.was_there)
        self.found.add(record, kept=folder.write(record))
        return outcome
