"""What a probe task is."""

import hashlib
import json
from dataclasses import dataclass

from sae_lens_metrics.errors import ConfigError

__all__ = ["MIN_EXAMPLES", "ProbeTask", "TaskError"]

MIN_EXAMPLES = 20
"""Fewer examples than this cannot tell a latent from luck."""


class TaskError(ConfigError):
    """A probe task is unknown, or its examples cannot be used; the message says which and why."""


@dataclass(frozen=True)
class ProbeTask:
    """Texts with a binary label that a model can know at the last token of the text.

    Raises:
        TaskError: There are not as many labels or groups as texts, too few examples, only one class, or a text is there twice.
    """

    name: str
    """Unique among all tasks, lower case with underscores."""

    family: str
    """What kind of knowledge it tests; tasks can be chosen by it."""

    description: str
    """One sentence: what a positive and what a negative example is."""

    texts: tuple[str, ...]
    """The examples, in random order, each of them once."""

    labels: tuple[bool, ...]
    """The label of each text."""

    groups: tuple[int, ...] | None = None
    """For each text a number that it shares with the texts on the same passage; a group must stay on one side of a split."""

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with the texts, their order, labels and groups, but not with the task's name."""
        content = json.dumps([self.texts, self.labels, self.groups])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise TaskError(f"The probe task {self.name!r} {problem}.")

    def _problems(self) -> list[str]:
        problems = []
        if len(self.texts) != len(self.labels):
            problems.append(f"has {len(self.texts)} texts but {len(self.labels)} labels; give each text one")
        if self.groups is not None and len(self.groups) != len(self.texts):
            problems.append(f"has {len(self.texts)} texts but {len(self.groups)} groups; give each text one, or none to any")
        elif self.groups is not None and len(self.texts) > 1 and len(set(self.groups)) == 1:
            problems.append("has one group for all texts, which must stay on one side of a split; give it two at least, or none to any")
        if len(self.texts) < MIN_EXAMPLES:
            problems.append(f"has {len(self.texts)} examples; give it at least {MIN_EXAMPLES}")
        if len(set(self.labels)) != 2:
            problems.append("has examples of one class only; give it both")
        if len(set(self.texts)) != len(self.texts):
            problems.append(f"holds {len(self.texts) - len(set(self.texts))} texts that it holds already; remove duplicates")
        return problems
