"""The variance of a number over its draws, against draws of a known variance."""

import pytest
import torch

from sae_lens_metrics.functional.redraws import redrawn_variance

DRAWS, CHOSEN, GROUPS, UNITS = 512, 64, 8, 160


def estimated(generator, noise, *, share=CHOSEN / DRAWS):
    """Replacing a draw of variance 1 changes the number by the difference of two of them, in each unit with noise of its own."""
    changes = (torch.randn(CHOSEN, 2, generator=generator) @ torch.tensor([1.0, -1.0])).view(GROUPS, -1)
    group = torch.arange(UNITS) % GROUPS
    weights = 1 + torch.rand(UNITS, generator=generator)
    each = changes[group] + noise * torch.randn(UNITS, CHOSEN // GROUPS, generator=generator)
    return redrawn_variance(each.sum(1) * weights, weights, group, share=share)


@pytest.mark.parametrize("noise", [0.0, 2.0, 4.0])
def test_it_is_the_sum_of_the_variances_of_all_draws_whatever_units_move(noise):
    """Without taking the units' own share off, noise of 4 made it two fifths too large."""
    generator = torch.Generator().manual_seed(0)
    found = torch.tensor([estimated(generator, noise) for _ in range(400)])
    assert float(found[:, 0].mean()) == pytest.approx(DRAWS, rel=0.08)
    # a variance of that many degrees of freedom is known to so much
    if noise == 0:
        assert float(found[:, 0].std() / found[:, 0].mean()) == pytest.approx((2 / GROUPS) ** 0.5, rel=0.15)
        torch.testing.assert_close(found[:, 1], torch.full((400,), float(GROUPS)))
    else:
        assert 1 <= float(found[:, 1].mean()) < GROUPS


def test_what_moves_nothing_has_no_variance():
    found = redrawn_variance(torch.zeros(20), torch.ones(20), torch.arange(20) % 4, share=0.5)
    assert found == (0.0, 1.0)


def test_a_group_of_one_unit_tells_nothing():
    assert redrawn_variance(torch.ones(5), torch.ones(5), torch.tensor([0, 0, 1, 1, 2]), share=0.5) is None
    assert redrawn_variance(torch.ones(4), torch.tensor([1.0, 1, 1, 0]), torch.tensor([0, 0, 1, 1]), share=0.5) is None
