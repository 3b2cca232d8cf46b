"""Permutations in which nothing keeps its place, against what permutations are."""

from collections import Counter

import pytest
import torch

from sae_lens_metrics.functional.permutations import cyclic_permutation, permuted_directions


@pytest.mark.parametrize("n", [1, 2, 3, 50])
def test_it_is_one_cycle(n):
    permutation = cyclic_permutation(n, torch.Generator().manual_seed(n)).tolist()
    assert sorted(permutation) == list(range(n))
    visited, at = [], 0
    for _ in range(n):
        visited.append(at)
        at = permutation[at]
    assert at == 0
    assert len({*visited}) == n


def test_each_cycle_is_as_likely():
    generator = torch.Generator().manual_seed(0)
    counts = Counter(tuple(cyclic_permutation(4, generator).tolist()) for _ in range(3_000))
    assert len(counts) == 6  # 3!
    assert all(abs(count - 500) < 5 * 500**0.5 for count in counts.values())


def test_directions_move_and_lengths_stay():
    rows = torch.randn(20, 7, generator=torch.Generator().manual_seed(0)) * torch.arange(20)[:, None]
    permutation = cyclic_permutation(20, torch.Generator().manual_seed(1))
    moved = permuted_directions(rows, permutation)
    there = permutation != 0  # whose direction is that of a row without one
    torch.testing.assert_close(moved.norm(dim=-1)[there], rows.norm(dim=-1)[there])
    assert not moved[~there].any()
    cosines = torch.nn.functional.cosine_similarity(moved, rows[permutation])
    torch.testing.assert_close(cosines, (there & rows.any(-1)).float())
