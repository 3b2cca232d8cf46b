"""Thresholds against counting."""

import pytest
import torch

from sae_lens_metrics.functional.firing_thresholds import firing_thresholds, overall_threshold


def test_each_column_exceeds_its_threshold_as_often_as_wanted():
    values = torch.randn(200, 50, generator=torch.Generator().manual_seed(0)) + torch.arange(50) / 10
    wanted = torch.randint(0, 201, (50,), generator=torch.Generator().manual_seed(1))
    wanted[:3] = torch.tensor([0, 200, 1])
    thresholds = firing_thresholds(values, wanted)
    assert torch.equal((values > thresholds).sum(0), wanted)


def test_rounding_of_the_values_changes_nothing():
    """Thresholds lie between two values, as another order of summation gives slightly other ones."""
    values = torch.arange(100.0)[:, None].expand(-1, 3) + torch.tensor([0.0, 5.0, -200.0])
    wanted = torch.tensor([1, 50, 99])
    thresholds = firing_thresholds(values, wanted)
    for shift in (-0.4, 0.4):
        assert torch.equal((values + shift > thresholds).sum(0), wanted)


@pytest.mark.parametrize("part", [1, 7, 1000])
@pytest.mark.parametrize("wanted", [1, 31, 2_998])
def test_one_threshold_for_all_in_whatever_parts_they_come(part, wanted):
    values = torch.randn(1_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ordered = sorted(values.flatten().tolist(), reverse=True)
    found = overall_threshold(values.split(part), wanted)
    assert found == pytest.approx((ordered[wanted - 1] + ordered[wanted]) / 2)
    assert int((values > found).sum()) == wanted


@pytest.mark.parametrize("parts", [[], [torch.zeros(2, 3)]])
def test_more_than_there_are_cannot_be_above(parts):
    with pytest.raises(ValueError, match="cannot have 6"):
        overall_threshold(parts, 6)
