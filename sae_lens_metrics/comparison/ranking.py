"""Many SAEs in the order of a number, and which of them noise cannot tell apart."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from sae_lens_metrics.comparison.comparability import never_tested
from sae_lens_metrics.comparison.contenders import Contender, Contenders
from sae_lens_metrics.comparison.difference_errors import RESOLUTION
from sae_lens_metrics.comparison.relations import Apart, Relations, relations
from sae_lens_metrics.functional.letter_groups import letter_groups, open_ranks
from sae_lens_metrics.functional.pairwise_tests import PairErrors, independent_errors, paired_errors, told_apart
from sae_lens_metrics.metrics.spec import Better
from sae_lens_metrics.results import Estimate, Repeated
from sae_lens_metrics.results.estimate import error_parts

__all__ = ["ALPHA", "Pool", "Ranking", "rankings"]

ALPHA = 0.05
"""Probability, at most, of telling any two SAEs apart by a number that do not differ in it, over all pairs of them."""

_GROUPS = 64
"""Groups that a page holds of whichever SAEs; where differences follow the order there are no more than SAEs, of which it holds all."""


@dataclass(frozen=True)
class Pool:
    """SAEs whose values of a number can be compared with each other."""

    saes: list[int]
    """Their places among all SAEs, the best first."""
    groups: list[list[int]]
    """Places in ``saes``: two SAEs are told apart if and only if no group holds both. Those that were not tested are in none."""
    open: list[tuple[int, int] | None] | None = None
    """Of each of ``saes`` the best and the worst rank that noise leaves open, ``None`` where it was not tested; in place of groups, where
    pairs are told apart so irregularly that groups would be more than a reader or a page can hold. ``None`` where there are groups."""


@dataclass(frozen=True)
class Ranking:
    """SAEs by one number."""

    number: str
    """Its full name."""
    better: Better | None
    """Which way it is better; by one of which that cannot be said the largest come first."""
    pools: list[Pool]
    """Those that can be compared, the pool with the best SAE first."""
    apart: list[str] = field(default_factory=list)
    """Why pools cannot be compared with each other."""
    instead: str | None = None
    """Full name of a number by which they can, if that is because of their sizes."""
    unpaired: list[str] = field(default_factory=list)
    """Why some are not compared unit by unit, but as independent ones."""
    repeated: bool = False
    """Whether some are compared by what they did on the same units measured anew, as on the same tasks with other texts."""
    untested: dict[int, str] = field(default_factory=dict)
    """SAEs that have a value and were not tested, by place, and why."""
    ungrouped: str | None = None
    """Why no SAE is tested by this number."""
    pairs: int = 0
    """How many pairs are tested."""


def rankings(contenders: Contenders, *, alpha: float = ALPHA) -> Iterator[Ranking]:
    """Ranks SAEs by each of their numbers.

    Two SAEs are told apart where the t test of ``compare_reports`` finds their difference to be more than noise: of differences unit by
    unit where both are over the same text or tasks, else of independent values. Each number is a family of tests of its own, of all pairs
    that can be compared (Holm 1979). What is tested of a number that is best near one is how far SAEs are from it.

    Args:
        contenders: The SAEs.
        alpha: The level, above 0 and below 1.
    """
    known: dict[tuple[str, str], Apart] = {}
    for number in contenders.numbers:
        yield _ranking(number, contenders, known, alpha)


def _ranking(number: str, contenders: Contenders, known: dict[tuple[str, str], Apart], alpha: float) -> Ranking:
    there = sorted(contenders.numbers[number], key=lambda each: -each.worth)
    spec, name = contenders.named(number)
    found = relations(number, spec.name, there, known)
    ungrouped = never_tested(spec.name, spec.number(name))
    rows = list(_pools(found.comparable))
    tested = np.zeros_like(found.comparable) if ungrouped else _tested(there, found, rows)
    alone = [] if ungrouped else [there[i] for row in rows for i in row if len(row) > 1 and not tested[i].any()]
    untested = {each.place: _untested(each) for each in alone}
    left_out = {each.place for each in there} if ungrouped else {*untested}
    apart = _apart(there, found, tested, alpha)
    return Ranking(
        number,
        spec.number(name).better,
        [_pool(row, there, apart, left_out) for row in rows],
        found.apart,
        found.instead,
        found.unpaired,
        bool((found.repeated & tested).any()),
        untested,
        ungrouped,
        int(np.triu(tested).sum()),
    )


def _pools(comparable: np.ndarray) -> Iterator[list[int]]:
    """Sets in which all can be compared, in the order of their first; an SAE that several could take is in the first of them."""
    left = list(range(len(comparable)))
    while left:
        pool: list[int] = []
        for i in left:
            if comparable[i, pool].all():
                pool.append(i)
        yield pool
        left = [i for i in left if i not in {*pool}]


def _pool(row: Sequence[int], there: Sequence[Contender], apart: np.ndarray, untested: Collection[int]) -> Pool:
    saes = [there[i].place for i in row]
    places = [place for place, sae in enumerate(saes) if sae not in untested]
    inside = [row[place] for place in places]
    groups = letter_groups(apart[np.ix_(inside, inside)], max(_GROUPS, len(places)))
    if groups is not None:
        return Pool(saes, [[places[each] for each in group] for group in groups])
    left_open = open_ranks(apart[np.ix_(row, row)])
    return Pool(saes, [], [None if sae in untested else ranks for sae, ranks in zip(saes, left_open, strict=True)])


def _tested(there: Sequence[Contender], found: Relations, rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Which pairs are tested: those of one pool of which both have an error, and not both one of 0."""
    pool, own = np.zeros(len(there), dtype=int), np.array([each.estimate.stderr is not None and each.estimate.n > 1 for each in there])
    for number, row in enumerate(rows):
        pool[list(row)] = number
    tested = (pool[:, None] == pool[None]) & (found.repeated | own[:, None] & own[None])
    spread = np.array([bool(each.estimate.stderr) for each in there])
    again = np.array([each.estimate.repeated is not None and each.estimate.repeated.stderr > 0 for each in there])
    tested &= spread[:, None] | spread[None] | found.repeated & (again[:, None] | again[None])
    return tested & ~np.eye(len(there), dtype=bool)


def _untested(one: Contender) -> str:
    if one.estimate.stderr is None:
        return one.estimate.reason or "it has no standard error"
    if one.estimate.n < 2:
        return "one unit has no spread"
    return "no other one has a standard error" if one.estimate.stderr else "no spread in it or any other one"


def _apart(there: Sequence[Contender], found: Relations, tested: np.ndarray, alpha: float) -> np.ndarray:
    """Which pairs are told apart."""
    sizes = np.abs([each.estimate.value or 0.0 for each in there])
    smallest = RESOLUTION * np.maximum(sizes[:, None], sizes[None])
    return told_apart(np.array([each.worth for each in there]), _errors(there, found), tested, smallest, alpha)


def _errors(there: Sequence[Contender], found: Relations) -> PairErrors:
    """Errors of all differences, each as the two SAEs are related."""
    stderr = np.array([each.estimate.stderr or 0.0 for each in there])
    errors = independent_errors(stderr, np.array([each.estimate.degrees_of_freedom for each in there], dtype=float))
    own = [(i, each.influence, each.estimate) for i, each in enumerate(there) if each.influence is not None]
    again = [
        (i, each.repeated, each.estimate.repeated)
        for i, each in enumerate(there)
        if each.repeated is not None and each.estimate.repeated is not None
    ]
    for mask, influences in ((found.paired, own), (found.repeated, again)):
        for rows, paired in _paired(influences):
            inside = np.ix_(rows, rows)
            for every, some in zip(errors, paired, strict=True):
                every[inside] = np.where(mask[inside], some, every[inside])
    return errors


def _paired(influences: Sequence[tuple[int, np.ndarray, Estimate | Repeated]]) -> Iterator[tuple[list[int], PairErrors]]:
    """Errors unit by unit, of those that have as many units; which of these are the same ones is not asked here."""
    for units in {len(influence) for _, influence, _ in influences}:
        rows, some, estimates = zip(*(each for each in influences if len(each[1]) == units), strict=True)
        parts = [error_parts(each) for each in estimates]
        drawn = np.array([each.drawn[0] if each.drawn else (0.0, 1.0) for each in parts], dtype=float)
        n = np.array([max(each.n, 2) for each in estimates], dtype=float)  # of one unit nothing is tested
        df = np.array([each.over_units[1] for each in parts], dtype=float)
        yield list(rows), paired_errors(np.stack(some), n, df, drawn[:, 0], drawn[:, 1])
