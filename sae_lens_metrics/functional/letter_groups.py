"""Which things share a letter, given which pairs of them are told apart: a compact letter display."""

import numpy as np
from jaxtyping import Bool

__all__ = ["letter_groups"]


def letter_groups(apart: Bool[np.ndarray, "k k"]) -> list[list[int]]:
    """Groups such that two things are told apart if and only if no group holds both.

    That is a cover of all pairs that are not told apart by sets in which no pair is (Piepho 2004). Each group is grown from the first
    pair that no other one holds yet, by whatever comes next in order and is told apart from none of it (Gramm et al. 2008), so that it
    cannot be larger; groups that tell nothing new are left out. Where things are told apart by how far they stand from each other in
    their order, groups are runs of neighbours. The fewest groups there may be are not looked for, which takes exponential time.

    Args:
        apart: Whether each pair is told apart, [k, k], symmetric; the diagonal is not looked at.

    Returns:
        Groups in the order of their members, each of increasing numbers below k; one that is told apart from all others is alone in its
        own. None for k = 0.

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
            for member in _members(group):
                left[member] &= ~group
    return sorted(map(_members, _needed(groups)))


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


def _needed(groups: list[int]) -> list[int]:
    """The groups without those all of whose pairs are in others, the last ones left out first."""
    kept = list(groups)
    for group in reversed(groups):
        others = [each for each in kept if each != group]
        if all(_together(member, others) & group == group for member in _members(group)):
            kept = others
    return kept


def _together(member: int, groups: list[int]) -> int:
    """Everything that any of the groups holds together with a member."""
    union = 0
    for group in groups:
        if group >> member & 1:
            union |= group
    return union
