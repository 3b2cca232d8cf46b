"""Rows of patterns against rows that are put together pattern by pattern."""

import random

import pytest
import torch

from sae_lens_metrics.functional.pattern_runs import Merger, NodePatterns, numbers

PATTERNS, NODES, ROWS = 60, 7, 40


def int32(values):
    return torch.tensor(values, dtype=torch.int32)


def test_numbers():
    of, number = numbers(int32([5, 0, 9, 2]), int32([2, 0, 3, 1]))
    assert of.tolist() == [0, 0, 2, 2, 2, 3]
    assert number.tolist() == [5, 6, 9, 10, 11, 2]


def test_node_patterns():
    end = torch.tensor([3, 1, 3, 0, 1])
    listed = NodePatterns(end, 5)
    assert listed.pattern.tolist() == [3, 1, 4, 0, 2]
    assert [column.tolist() for column in listed.at(int32([1, 2, 3, 1]))] == [[0, 0, 2, 2, 3, 3], [1, 4, 0, 2, 1, 4]]
    some = NodePatterns(end, 5, torch.tensor([True, True, False, False, True]))
    assert [column.tolist() for column in some.at(int32([3, 0, 1]))] == [[0, 2, 2], [0, 1, 4]]


def written(merger, listed, nodes, changes):
    """The rows that a merger makes."""
    row = [r for r, of_row in enumerate(changes) for _ in range(1 + len(of_row))]
    pattern = [p for of_row in changes for p in (-1, *of_row)]
    runs = merger.runs(int32(nodes), int32(row), int32(pattern))
    of, place = numbers(runs.first, runs.size)
    rows = [[] for _ in nodes]
    for r, p in zip(runs.row[of.long()].tolist(), listed.pattern[place.long()].tolist(), strict=True):
        rows[r].append(p)
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_patterns_go_in_and_out(seed):
    """Of patterns without rivals."""
    draw = random.Random(seed)
    end = [draw.randrange(NODES) for _ in range(PATTERNS)]
    nodes = [draw.randrange(NODES) for _ in range(ROWS)]
    changes = [sorted(draw.sample(range(PATTERNS), draw.choice([0, 1, 5, PATTERNS]))) for _ in nodes]
    listed = NodePatterns(torch.tensor(end), NODES)
    expected = [sorted({p for p in range(PATTERNS) if end[p] == node} ^ set(of_row)) for node, of_row in zip(nodes, changes, strict=True)]
    assert written(Merger(listed, torch.arange(PATTERNS, dtype=torch.int32)), listed, nodes, changes) == expected


@pytest.mark.parametrize("seed", range(20))
def test_the_first_rival_stays(seed):
    """Of four rivals each, which end at different nodes."""
    draw = random.Random(seed)
    rival = [p // 4 for p in range(PATTERNS)]
    end = [node for _ in range(PATTERNS // 4) for node in draw.sample(range(NODES), 4)]
    nodes = [draw.choice(end) for _ in range(ROWS)]
    others = [[p for p in range(PATTERNS) if end[p] != node] for node in nodes]
    changes = [sorted(draw.sample(of_row, draw.choice([0, 1, 5, len(of_row)]))) for of_row in others]
    listed = NodePatterns(torch.tensor(end), NODES)
    expected = []
    for node, of_row in zip(nodes, changes, strict=True):
        row = sorted([*(p for p in range(PATTERNS) if end[p] == node), *of_row])
        expected.append([p for i, p in enumerate(row) if i == 0 or rival[row[i - 1]] != rival[p]])
    assert written(Merger(listed, int32(rival)), listed, nodes, changes) == expected
