import math

import numpy as np
import pytest
import torch
from scipy import stats

from sae_lens_metrics.functional.jackknife import GROUPS, jackknife_stderr, jackknife_variance, jackknife_variance_of_mean, random_groups
from sae_lens_metrics.functional.significance import student_quantile, welch_degrees_of_freedom


def test_without_single_units_it_is_the_error_of_the_mean():
    values = np.random.default_rng(0).standard_normal(30)
    assert jackknife_stderr([float(np.delete(values, i).mean()) for i in range(30)]) == pytest.approx(stats.sem(values))
    assert jackknife_stderr([1.0]) is None


def test_groups_are_of_nearly_equal_size_and_whole_units():
    units = torch.arange(53).repeat_interleave(3)
    groups = random_groups(units, GROUPS, seed=1)
    assert torch.equal(groups[::3], groups[1::3])
    assert sorted(torch.bincount(groups).unique().tolist()) == [6, 9]
    assert torch.equal(groups, random_groups(units, GROUPS, seed=1))
    assert not torch.equal(groups, random_groups(units, GROUPS, seed=2))
    assert len(random_groups(torch.arange(3), GROUPS, seed=0).unique()) == 3


@pytest.mark.parametrize("shared", [0.0, 1.0, 3.0])
def test_intervals_cover_where_sampled_latents_share_documents(shared):
    """A score of each of 200 latents on each of 60 documents; documents move all latents at once. The spread alone covers 20 to 95 %."""
    rng = np.random.default_rng(0)
    latents, documents, covered, by_spread, repetitions = 200, 60, 0, 0, 600
    for _ in range(repetitions):
        scores = rng.standard_normal((latents, 1)) + shared * rng.standard_normal(documents) + rng.standard_normal((latents, documents))
        groups = random_groups(torch.arange(documents), GROUPS, seed=0).numpy()
        spread = stats.sem(scores.mean(1))
        jackknife = jackknife_stderr([float(scores[:, groups != group].mean()) for group in range(GROUPS)])
        freedom = welch_degrees_of_freedom((spread, latents - 1), (jackknife, GROUPS - 1))
        covered += abs(scores.mean()) <= student_quantile(0.95, freedom) * math.hypot(spread, jackknife)
        by_spread += abs(scores.mean()) <= 1.96 * spread
    assert 0.93 <= covered / repetitions <= 0.98
    if shared:
        assert by_spread / repetitions < 0.8


def test_what_all_members_share_is_not_divided_by_how_many_they_are():
    generator = torch.Generator().manual_seed(0)
    shared, own = torch.randn(200, 10, 1, generator=generator), 3 * torch.randn(200, 10, 16, generator=generator)
    whole = (shared + own).double()
    some = [jackknife_variance_of_mean(each, 400) for each in whole]
    # of 10 groups the jackknife gives (10 - 1) / 10 times 9 of the variance of what is left out
    expected = 8.1 * (1 + 9 / 400)
    assert abs(sum(some) / 200 / expected - 1) < 0.15
    for each in whole[:5]:  # of all members it is the jackknife of their mean, unless that is below what each moves by itself
        together, least = float(jackknife_variance(each.mean(1))), float(jackknife_variance(each).mean()) / 16
        assert jackknife_variance_of_mean(each, 16) == pytest.approx(max(together, least))
    assert jackknife_variance_of_mean(whole[0, :, :1], 1) == pytest.approx(float(jackknife_variance(whole[0, :, 0])))
