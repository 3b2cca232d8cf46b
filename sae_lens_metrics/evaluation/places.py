"""Which SAE comes next where several workers are fed: each stays with its model and hook as long as there are SAEs for it."""

from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from sae_lens_metrics.evaluation.order import Job

__all__ = ["Waiting"]


class Waiting:
    """The SAEs that nobody is at, by where they sit in which model.

    Args:
        jobs: All SAEs, in the order that ``plan`` gave them.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = list(jobs)
        self._at: dict[Any, deque[int]] = {}
        for place, job in enumerate(jobs):
            self._at.setdefault(_where(job), deque()).append(place)

    def __len__(self) -> int:
        return sum(map(len, self._at.values()))

    def take(self, last: int | None, others: Collection[int]) -> int:
        """The next SAE for a worker: at the same place as its last one, else in the same model, best where nobody else is.

        Args:
            last: The SAE that it had before, if any.
            others: Those that the others are at.

        Returns:
            Its place among the jobs; it is not waiting any more.
        """
        before = None if last is None else _where(self._jobs[last])
        busy = [_where(self._jobs[place]) for place in others]

        def rank(where: Any) -> tuple[bool, bool, int, int]:
            return where != before, _model(where) != _model(before), busy.count(where), -len(self._at[where])

        where = min((where for where, places in self._at.items() if places), key=rank)
        return self._at[where].popleft()

    def put_back(self, place: int, *, first: bool) -> None:
        """Lets an SAE wait again.

        Args:
            place: Its place among the jobs.
            first: Whether it is the next one at its hook, or the last one.
        """
        queue = self._at[_where(self._jobs[place])]
        queue.appendleft(place) if first else queue.append(place)


def _where(job: Job) -> Any:
    return job.place or job.target


def _model(where: Any) -> Any:
    return getattr(where, "model", where), getattr(where, "device", None)
