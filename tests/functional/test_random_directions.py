import pytest
import torch

from sae_lens_metrics.functional.random_directions import BLOCK, RandomDirections

CPU = torch.device("cpu")


@pytest.mark.parametrize("width", [1, 7, 512, BLOCK, 1500])
def test_they_do_not_depend_on_how_they_are_asked_for(width):
    whole = RandomDirections(6, 3, CPU).columns(slice(0, 3 * BLOCK))
    directions = RandomDirections(6, 3, CPU, keep_bytes=4 * BLOCK * 6)
    for start in range(BLOCK - 20, BLOCK + 20, width):
        assert torch.equal(directions.columns(slice(start, start + width)), whole[:, start : start + width])
    assert directions.kept == [0]  # there is room for one block


def test_they_are_unit_vectors_in_all_directions():
    directions = RandomDirections(8, 0, CPU).columns(slice(0, 4096))
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(4096))
    torch.testing.assert_close(directions @ directions.T / 4096, torch.eye(8) / 8, atol=0.01, rtol=0)
    assert directions.mean(1).abs().max() < 0.03
    # no block repeats another one, nor another seed's
    other = RandomDirections(8, 1, CPU).columns(slice(0, 4096))
    assert torch.cat([directions, other], 1).T.unique(dim=0).shape[0] == 8192


def test_nothing_is_kept_without_memory_and_the_global_state_is_untouched():
    before = torch.get_rng_state()
    directions = RandomDirections(8, 0, CPU, keep_bytes=100)
    directions.columns(slice(0, 10))
    assert not directions.kept
    assert torch.equal(before, torch.get_rng_state())
