"""Keeps the same passage from being in two generated examples that a split may put on different sides."""

from collections.abc import Sequence

from sae_lens_metrics.metrics.probe.tasks.source_cuts import Excerpt

__all__ = ["SHARED", "Passages", "groups_of"]

SHARED = 40
"""Characters in a row that excerpts of different documents must not share."""


class Passages:
    """The passages of excerpts so far.

    Files copy licences, the set-up of tests and each other. Were documents that share a passage one group instead, a group could hold nine
    tenths of a task.
    """

    def __init__(self) -> None:
        self._owner: dict[str, int | None] = {}

    def admit(self, *excerpts: Excerpt) -> bool:
        """Whether each excerpt shares no passage with one of another document, or of none; if so, they are added."""
        new: dict[str, int | None] = {}
        for text, document in excerpts:
            passages = {text[start : start + SHARED] for start in range(len(text) - SHARED + 1)}
            for known in (self._owner, new):
                shared = passages & known.keys()  # all at once, as there are millions
                if shared and (document is None or any(known[passage] != document for passage in shared)):
                    return False
            new.update(dict.fromkeys(passages, document))
        self._owner.update(new)
        return True


def groups_of(excerpts: Sequence[Excerpt]) -> tuple[int, ...] | None:
    """For each excerpt the number of its group, which is its document, or itself where it has none; nothing where none has one."""
    if all(excerpt.document is None for excerpt in excerpts):
        return None
    keys = [("excerpt", i) if excerpt.document is None else ("document", excerpt.document) for i, excerpt in enumerate(excerpts)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return tuple(numbers[key] for key in keys)
