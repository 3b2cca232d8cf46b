"""What is known of an order, given which pairs of things are told apart: who shares a letter, and which ranks are open."""

import numpy as np
from jaxtyping import Bool

__all__ = ["letter_groups", "open_ranks"]


def letter_groups(apart: Bool[np.ndarray, "k k"], most: int | None = None) -> list[list[int]] | None:
    """Groups such that two things are told apart if and only if no group holds both.

    That is a cover of all pairs that are not told apart by sets in which no pair is (Piepho 2004). Each group is grown from the first
    pair that no other one holds yet, by whatever comes next in order and is told apart from none of it (Gramm et al. 2008), so that it
    cannot be larger; groups that tell nothing new are left out. Where things are told apart by how far they stand from each other in
    their order, groups are runs of neighbours, at most k. The fewest groups there may be are not looked for, which takes exponential time.

    Args:
        apart: Whether each pair is told apart, [k, k], symmetric; the diagonal is not looked at.
        most: Groups that are of use to anybody; where pairs are told apart without any order there are up to k² / 4.

    Returns:
        Groups in the order of their members, each of increasing numbers below k; one that is told apart from all others is alone in its
        own. ``None`` where there are more than ``most``.

    Raises:
        ValueError: If the pairs are not told apart symmetrically.
    """
    if not np.array_equal(apart, apart.T):
        raise ValueError("whether two things are told apart must not depend on their order")
    tied = [bits & ~(1 << i) for i, bits in enumerate(map(_bits, ~apart))]
    left, groups = list(tied), []
    for i, others in enumerate(tied):
        if not others:
            groups.append(1 << i)
        while left[i]:
            group = _grown(1 << i | _lowest(left[i]), tied)
            groups.append(group)
            if most is not None and len(groups) > most:
                return None
            for member in _members(group):
                left[member] &= ~group
    return sorted(_needed([_members(group) for group in groups], len(apart)))


def open_ranks(apart: Bool[np.ndarray, "k k"]) -> list[tuple[int, int]]:
    """The best and the worst rank that each thing may have, from 1 to k, if whatever is told apart is in the right order.

    Where the chance of telling apart wrongly is at most α over all pairs, all of these intervals together hold the true ranks with a
    chance of at least 1 - α (Mogstad et al. 2024).

    Args:
        apart: Whether each pair is told apart, [k, k], symmetric, of things in the order in which they were found.
    """
    before, after = np.tril(apart, -1).sum(axis=1), np.triu(apart, 1).sum(axis=1)
    return list(zip((1 + before).tolist(), (len(apart) - after).tolist(), strict=True))


def _bits(row: Bool[np.ndarray, "k"]) -> int:
    """A set of numbers as one whole number, by its bits: sets of hundreds are joined in nanoseconds."""
    return int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little")


def _lowest(bits: int) -> int:
    """The set of the smallest number alone."""
    return bits & -bits


def _members(bits: int) -> list[int]:
    found = []
    while bits:
        found.append(_lowest(bits).bit_length() - 1)
        bits &= bits - 1
    return found


def _grown(group: int, tied: list[int]) -> int:
    """The group with all that are told apart from none of it, one after another."""
    candidates = -1
    for member in _members(group):
        candidates &= tied[member]
    while candidates:
        new = _lowest(candidates)
        group |= new
        candidates &= tied[new.bit_length() - 1]
    return group


def _needed(groups: list[list[int]], k: int) -> list[list[int]]:
    """The groups without those all of whose pairs are in others, the last ones left out first."""
    holding = np.zeros((k, k), dtype=int)
    for group in groups:
        holding[np.ix_(group, group)] += 1
    kept = []
    for group in reversed(groups):
        inside = np.ix_(group, group)
        if (holding[inside] > 1).all():
            holding[inside] -= 1
        else:
            kept.append(group)
    return kept
