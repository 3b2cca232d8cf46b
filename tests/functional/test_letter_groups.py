"""Letters say who is told apart from whom, no more and no less; open ranks hold every order that agrees."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_lens_metrics.functional.letter_groups import letter_groups, open_ranks


@st.composite
def relations(draw, largest=9):
    k = draw(st.integers(0, largest))
    pairs = {pair: draw(st.booleans()) for pair in combinations(range(k), 2)}
    return np.array([[pairs.get((min(i, j), max(i, j)), False) for j in range(k)] for i in range(k)], dtype=bool).reshape(k, k)


def told_by(groups, k):
    """The relation that letters show, pair by pair."""
    return {(i, j): not any({i, j} <= {*group} for group in groups) for i, j in combinations(range(k), 2)}


@settings(max_examples=150, deadline=None)
@given(relations())
def test_two_share_a_letter_if_and_only_if_they_are_not_told_apart(apart):
    k, groups = len(apart), letter_groups(apart)
    assert told_by(groups, k) == {(i, j): bool(apart[i, j]) for i, j in combinations(range(k), 2)}
    assert {each for group in groups for each in group} == {*range(k)}
    assert groups == sorted(groups)
    for group in groups:
        assert group == sorted(group)
        assert not any(all(not apart[other, each] for each in group) for other in {*range(k)} - {*group}), "a group is as large as can be"
        left = [each for each in groups if each != group]
        assert len(group) == 1 or told_by(left, k) != told_by(groups, k), "no group is there for nothing"


@settings(max_examples=30, deadline=None)
@given(relations(6))
def test_there_are_no_fewer_groups_than_it_takes_and_seldom_more(apart):
    """The smallest cover by brute force, over all sets in which no pair is told apart."""
    k, groups = len(apart), letter_groups(apart)
    sets = [
        each for size in range(1, k + 1) for each in combinations(range(k), size) if not any(apart[i, j] for i, j in combinations(each, 2))
    ]
    wanted = {*((i,) for i in range(k)), *((i, j) for i, j in combinations(range(k), 2) if not apart[i, j])}
    covers = {each: {part for part in wanted if {*part} <= {*each}} for each in sets}
    largest = [each for each in sets if not any({*each} < {*other} for other in sets)]
    fewest = next(
        n for n in range(k * k + 1) for chosen in combinations(largest, n) if set().union(*(covers[each] for each in chosen)) == wanted
    )
    assert fewest <= len(groups) <= fewest + 1


@given(st.lists(st.floats(0, 10), min_size=1, max_size=12), st.floats(0.1, 5))
def test_by_distance_groups_are_the_longest_runs_of_neighbours(values, least):
    values = np.sort(values)
    runs = {tuple(np.flatnonzero((values >= low) & (values - low <= least))) for low in values}
    longest = {run for run in runs if not any({*run} < {*other} for other in runs)}
    apart = np.abs(values[:, None] - values[None]) > least
    assert {*map(tuple, letter_groups(apart, most=len(values)))} == longest


def test_a_limit_and_what_is_no_relation():
    apart = np.ones((3, 3), dtype=bool)
    assert letter_groups(apart) == [[0], [1], [2]]
    ladder = np.add.outer(np.arange(12), np.arange(12)) % 2 == 0  # those of one kind are told apart: every other pair is a group
    assert len(letter_groups(ladder)) == 36
    assert letter_groups(ladder, most=35) is None
    with pytest.raises(ValueError, match="order"):
        letter_groups(np.triu(apart))


@settings(max_examples=40, deadline=None)
@given(relations(6))
def test_open_ranks_hold_every_order_that_agrees(apart):
    """Brute force over all orders; where things are told apart by distance nothing else is open."""
    k = len(apart)
    before = [(i, j) for i, j in combinations(range(k), 2) if apart[i, j]]
    orders = [order for order in permutations(range(k)) if all(order.index(i) < order.index(j) for i, j in before)]
    places = [[order.index(each) + 1 for order in orders] for each in range(k)]
    found = open_ranks(apart)
    assert all(best <= min(some) and max(some) <= worst for (best, worst), some in zip(found, places, strict=True))
    transitive = all(apart[i, j] for i, m in before for n, j in before if m == n)
    if transitive:
        assert found == [(min(some), max(some)) for some in places]
