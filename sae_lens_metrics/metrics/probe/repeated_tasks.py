"""The error of means over probe tasks if the same tasks were asked with other texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_lens_metrics.functional.example_influence import summed_by_group
from sae_lens_metrics.functional.significance import welch_degrees_of_freedom
from sae_lens_metrics.functional.statistics import degrees_of_freedom
from sae_lens_metrics.metrics.probe.text_groups import TEXT_GROUPS
from sae_lens_metrics.results import Repeated

__all__ = ["GroupedInfluences", "RepeatedTasks"]

_OF = "groups of texts"


@dataclass(frozen=True)
class GroupedInfluences:
    """What each group of texts does to the scores of one task."""

    sums: dict[str, Float[Tensor, "groups"]]
    """How far each group moves each score."""
    shares: tuple[Float[Tensor, "groups"], Float[Tensor, "groups"]]
    """Its share of the texts fitted on, and of those tested on."""

    @classmethod
    def of(cls, influences: dict[str, Float[Tensor, "n"]], groups: Int[Tensor, "n"], fit: Bool[Tensor, "n"]) -> "GroupedInfluences":
        """Sums over the texts of each group.

        Args:
            influences: How far each text moves each score.
            groups: The number of each text's group.
            fit: True for the texts fitted on.
        """
        sums = {key: summed_by_group(each, groups, TEXT_GROUPS) for key, each in influences.items()}
        in_halves = (summed_by_group(half / half.sum(), groups, TEXT_GROUPS) for half in (fit.double(), (~fit).double()))
        fitted, tested = in_halves
        return cls(sums, (fitted, tested))


class RepeatedTasks:
    """The same tasks, asked again with other texts like these.

    A group of texts moves a mean over tasks by the mean of what it does to each of them: what tasks that share texts have in common adds
    up, and in a difference of two scores on the same texts it cancels.

    Args:
        tasks: What was found of each task, at least one.
    """

    def __init__(self, tasks: Sequence[GroupedInfluences]) -> None:
        self._tasks = tasks

    def error(self, score: str, minus: str | None = None, *, kept: bool) -> Repeated | None:
        """The error of a score's mean over tasks, or of the difference of two scores on the same half of the texts.

        Args:
            score: The score.
            minus: The score that is subtracted from it.
            kept: Whether to keep the influences, for paired comparisons.

        Returns:
            The error; ``None`` where all texts are in one group.
        """
        of_tasks = torch.stack([task.sums[score] - (0 if minus is None else task.sums[minus]) for task in self._tasks])
        shares = torch.stack([task.shares["held_out" in score] for task in self._tasks])
        n = int((shares.sum(0) > 0).sum())
        if n < 2:
            return None
        # texts of one group cancel in part, as deviations from a mean do: G groups hold (G - 1) / G of the squares, whatever their number n
        influence = of_tasks.mean(0) * ((n - 1) / n * TEXT_GROUPS / (TEXT_GROUPS - 1)) ** 0.5
        stderr = float((n / (n - 1) * influence.square().sum()).sqrt())
        return Repeated(stderr, n, _OF, _degrees_of_freedom(of_tasks, shares), influence.tolist() if kept else None)


def _degrees_of_freedom(influences: Float[Tensor, "tasks groups"], shares: Float[Tensor, "tasks groups"]) -> float:
    """As many as all texts together have, or if they are fewer, as tasks have that share no text (Welch 1947).

    A few groups may hold most texts of a task, and that task most of the variance; where tasks share texts it is the former that counts.
    """
    together = degrees_of_freedom(shares.mean(0))
    parts = [(float(own.norm()), degrees_of_freedom(share)) for own, share in zip(influences, shares, strict=True)]
    return min(together, round(welch_degrees_of_freedom(*parts), 6)) if influences.any() else together
