"""A part of a sweep's SAEs, which is the same in whatever process it is asked for: one job of several that were started apart."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sae_lens_metrics.errors import ConfigError

if TYPE_CHECKING:
    from sae_lens_metrics.evaluation.order import Job

__all__ = ["Shard"]

_ARRAY = "SLURM_ARRAY_TASK_"


@dataclass(frozen=True)
class Shard:
    """One of several parts of a sweep, which have no SAE in common, and together all."""

    index: int
    """Which one, from 1 on."""
    of: int
    """How many there are."""

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of:
            raise ConfigError(f"there is no shard {self.index}/{self.of}: shards are counted from 1/{self.of} to {self.of}/{self.of}")

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] | None = None) -> "Shard":
        """Reads ``I/N``, or ``auto``: which of how many tasks this one is in a job array of Slurm's.

        Args:
            text: What was given.
            environment: The variables that Slurm sets; default those of the process.

        Raises:
            ConfigError: If it is neither, there is no such shard, or no job array whose tasks are numbered in equal steps.
        """
        if text == "auto":
            return cls._of_array(os.environ if environment is None else environment)
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None:
            raise ConfigError(f"a shard is I/N, such as 1/8, or auto in a job array of Slurm's, not {text[:40]!r}")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def _of_array(cls, environment: Mapping[str, str]) -> "Shard":
        said = {name: environment.get(f"{_ARRAY}{name}", "") for name in ("ID", "MIN", "MAX", "COUNT")}
        if not all(value.isdecimal() for value in said.values()):
            raise ConfigError(f"the shard auto takes a job array of Slurm's, which sets {_ARRAY}ID, _MIN, _MAX and _COUNT: give I/N")
        task, first, last, count = (int(value) for value in said.values())
        step = (last - first) // max(1, count - 1) or 1
        if first + step * (count - 1) != last or (task - first) % step:
            raise ConfigError(
                f"the shard auto takes an array whose tasks are numbered in equal steps, such as --array=0-7, "
                f"and this one has {count} from {first} to {last}: give I/N"
            )
        return cls((task - first) // step + 1, count)

    def part(self, jobs: "Sequence[Job]") -> "list[Job]":
        """The SAEs of this shard.

        Those of one model and hook stay together, unless they are more than a shard's fair share; and neighbours stay neighbours, so that
        a shard loads few models.

        Args:
            jobs: All of them, in the order that ``plan`` gave them.
        """
        fair = -(-len(jobs) // self.of)
        pieces = [group[start : start + fair] for group in _groups(jobs) for start in range(0, len(group), fair)]
        mine: list[Job] = []
        before = 0
        for piece in pieces:
            middle = 2 * before + len(piece)  # in halves of an SAE, as is the number of all: whole numbers are the same everywhere
            if middle * self.of // (2 * len(jobs)) == self.index - 1:
                mine += piece
            before += len(piece)
        return mine


def _groups(jobs: "Sequence[Job]") -> "list[list[Job]]":
    """Neighbours at one place; those of which nobody knows where they belong, each alone."""

    def key(job: "Job") -> Any:
        return job.place or job.target

    return [list(group) for _, group in groupby(jobs, key=key)]
