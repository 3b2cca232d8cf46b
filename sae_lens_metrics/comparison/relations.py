"""Which of many SAEs can be compared by a number, and which unit by unit: asked once for all that were evaluated alike."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, combinations_with_replacement

import numpy as np
from jaxtyping import Bool

from sae_lens_metrics.comparison.comparability import Common
from sae_lens_metrics.comparison.contenders import Contender, Kind

__all__ = ["Apart", "Relations", "relations"]

Apart = tuple[str | None, str | None]
"""Why values cannot be compared, ``None`` where they can; and the number to look at instead, if that is because of sizes."""

_REASONS = 4
"""Reasons of a kind that are told, at most: of many hooks each pair has its own."""
_ASKED = 8
"""Pairs of kinds without common units that are asked why, at most."""


@dataclass
class Relations:
    """How k SAEs are related by a number: matrices over pairs of them, [k, k], symmetric."""

    comparable: Bool[np.ndarray, "k k"]
    """Whether their values mean the same, and nothing but the SAEs moves them."""
    paired: Bool[np.ndarray, "k k"]
    """Whether they are compared unit by unit."""
    repeated: Bool[np.ndarray, "k k"]
    """Whether they are compared by what they did on the same units measured anew."""
    apart: list[str] = field(default_factory=list)
    """Why some cannot be compared."""
    instead: str | None = None
    """Full name of the number to look at instead, if that is because of their sizes alone."""
    unpaired: list[str] = field(default_factory=list)
    """Why some that can be compared are not compared unit by unit."""


def relations(number: str, metric: str, there: Sequence[Contender], known: dict[tuple[str, str], Apart]) -> Relations:
    """What ``Common`` says of each pair of SAEs.

    It is asked about one pair of each two kinds that may differ in the answer, so that hundreds of SAEs that were evaluated in a few ways
    take milliseconds, and so do hundreds that were each evaluated on a text of its own.

    Args:
        number: The number's full name.
        metric: Its metric.
        there: The SAEs that have it.
        known: What was found of each two meanings (``Kind.meaning``) for other numbers; what is found here is added.
    """
    kinds = list({id(each.kind): each.kind for each in there}.values())
    place = {id(kind): i for i, kind in enumerate(kinds)}
    index = np.array([place[id(each.kind)] for each in there])
    asked = _Asked(number, metric, kinds, np.bincount(index).tolist(), known)
    found = asked.relations()
    for name in ("comparable", "paired", "repeated"):
        setattr(found, name, getattr(found, name)[index][:, index])
    return found


class _Asked:
    """The relations of kinds."""

    def __init__(self, number: str, metric: str, kinds: Sequence[Kind], sizes: Sequence[int], known: dict[tuple[str, str], Apart]) -> None:
        self._number, self._metric, self._kinds, self._sizes, self._known = number, metric, kinds, sizes, known

    def relations(self) -> Relations:
        none = np.zeros((len(self._kinds), len(self._kinds)), dtype=bool)
        found = Relations(~none, none.copy(), none.copy())
        self._compare(found)
        self._pair(found)
        found.unpaired = list(dict.fromkeys(found.unpaired))[:_REASONS]
        return found

    def _compare(self, found: Relations) -> None:
        """Which kinds can be compared: asked of each two meanings."""
        instead: set[str | None] = set()
        for first, second in combinations(self._by(lambda kind: kind.meaning), 2):
            meanings = _in_order(self._kinds[first[0]].meaning, self._kinds[second[0]].meaning)
            if meanings not in self._known:
                self._known[meanings] = self._apart(self._common(first[0], second[0]))
            reason, advised = self._known[meanings]
            if reason is not None:
                found.comparable[np.ix_(first, second)] = found.comparable[np.ix_(second, first)] = False
                if len(found.apart) < _REASONS and reason not in found.apart:
                    found.apart.append(reason)
                instead.add(advised)
        found.instead = instead.pop() if len(instead) == 1 else None

    def _apart(self, common: Common) -> Apart:
        if reason := common.left_out(self._metric):
            return reason, None
        if reason := common.differing(self._number):
            return f"it depends on {reason}", None
        if common.other_sizes(self._number):
            why = common.number(self._number).depends_on_size
            return f"it depends on the number of latents, which differs: {why}", common.instead(self._number)
        return None, None

    def _pair(self, found: Relations) -> None:
        """Which kinds are over the same units: asked where they may be, and of a few others why not."""
        for rows in self._by(lambda kind: kind.units):
            if self._kinds[rows[0]].units is not None:
                self._ask(found, combinations_with_replacement(rows, 2))
        others = (
            (i, j)
            for i, j in combinations_with_replacement(range(len(self._kinds)), 2)
            if self._kinds[i].units is None or self._kinds[i].units != self._kinds[j].units
        )
        self._ask(found, (pair for pair, _ in zip(self._told(found, others), range(_ASKED), strict=False)))

    def _ask(self, found: Relations, pairs: Iterator[tuple[int, int]]) -> None:
        for i, j in self._told(found, pairs):
            common, first, second = self._common(i, j), self._kinds[i].example, self._kinds[j].example
            repeated = common.are_repeated(self._metric, first, second)
            reason = None if repeated else common.unpaired(self._metric, first, second)
            found.repeated[i, j] = found.repeated[j, i] = repeated
            found.paired[i, j] = found.paired[j, i] = not repeated and reason is None
            found.unpaired += [] if reason is None else [reason]

    def _told(self, found: Relations, pairs: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """The pairs of kinds of which there are two SAEs that can be compared."""
        return ((i, j) for i, j in pairs if found.comparable[i, j] and (i != j or self._sizes[i] > 1))

    def _by(self, key: Callable[[Kind], str | None]) -> list[list[int]]:
        """Places of kinds that have the same of something."""
        rows: dict[str | None, list[int]] = {}
        for i, kind in enumerate(self._kinds):
            rows.setdefault(key(kind), []).append(i)
        return list(rows.values())

    def _common(self, i: int, j: int) -> Common:
        return Common(self._kinds[i].report, self._kinds[j].report)


def _in_order(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one <= other else (other, one)
