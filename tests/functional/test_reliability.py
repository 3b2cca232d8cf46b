"""Noise over repetitions: closed forms, SciPy, and simulations of what the formulas promise."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from sae_lens_metrics.functional.reliability import (
    error_ratio_interval,
    kendall_tau,
    mean_rank_agreement,
    pooled_deviation,
    same_top,
    signal_to_noise,
    smallest_difference,
    times_as_many,
)


@pytest.mark.parametrize(("runs", "df", "expected"), [(1, 4, 3.93), (3, 4, 2.27), (5, 8, 1.46)])
def test_factors_as_they_are_printed(runs, df, expected):
    """arXiv 2605.18229: one seed of five, three seeds each, five seeds each."""
    assert smallest_difference(runs, df) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("runs", "df"), itertools.product((1, 2, 3, 10), (1, 2, 4, 30)))
def test_the_smallest_difference_is_just_significant(runs, df):
    factor = smallest_difference(runs, df)
    assert factor == pytest.approx(stats.t.ppf(0.975, df) * math.sqrt(2 / runs))
    assert 2 * stats.t.sf(factor / math.sqrt(2 / runs), df) == pytest.approx(0.05)


def test_two_means_at_the_smallest_difference_have_a_p_value_of_five_percent():
    a = np.array([0.3, -1.0, 0.7])
    a = a / a.std(ddof=1)
    b = a + smallest_difference(3, 4)
    assert stats.ttest_ind(a, b).pvalue == pytest.approx(0.05)


def test_no_repetition_has_no_smallest_difference():
    for runs, df in ((0, 4), (1, 0)):
        with pytest.raises(ValueError, match="at least one"):
            smallest_difference(runs, df)
    with pytest.raises(ValueError, match="at least one"):
        error_ratio_interval(1.0, 0)


@pytest.mark.parametrize("df", [1, 2, 4, 9, 50])
def test_interval_of_the_ratio_is_chi_squares(df):
    low, high = error_ratio_interval(1.7, df)
    assert low == pytest.approx(1.7 * math.sqrt(df / stats.chi2.ppf(0.975, df)))
    assert high == pytest.approx(1.7 * math.sqrt(df / stats.chi2.ppf(0.025, df)))
    assert low < 1.7 < high


def test_the_interval_covers_a_true_error_in_95_percent():
    draws = np.random.default_rng(0).standard_normal((20_000, 5))
    intervals = [error_ratio_interval(s, 4) for s in draws.std(axis=1, ddof=1)]
    assert np.mean([low <= 1 <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.006)


def test_pooled_deviation_and_signal_are_numpys():
    values = np.random.default_rng(1).normal(size=(5, 4)) * [1, 2, 3, 4] + [0, 5, 1, -3]
    pooled = math.sqrt(np.mean([np.var(column, ddof=1) for column in values.T]))
    assert pooled_deviation(torch.tensor(values)) == pytest.approx(pooled)
    assert signal_to_noise(torch.tensor(values)) == pytest.approx(np.std(values.mean(axis=0), ddof=1) / pooled)


def test_saes_that_are_alike_have_little_signal_and_exact_ones_have_no_noise():
    noise = torch.tensor(np.random.default_rng(2).normal(size=(5, 2_000)))
    assert signal_to_noise(noise) == pytest.approx(1 / math.sqrt(5), rel=0.05)
    assert signal_to_noise(torch.tensor([[1.0, 2.0], [1.0, 2.0]])) is None


def test_tau_is_scipys_with_ties_and_without():
    rng = np.random.default_rng(3)
    for n, ties in itertools.product((2, 3, 8, 25), (False, True)):
        a, b = (rng.integers(0, 4, n).astype(float) if ties else rng.normal(size=n) for _ in range(2))
        expected, found = stats.kendalltau(a, b).statistic, kendall_tau(torch.tensor(a), torch.tensor(b))
        assert (found is None and math.isnan(expected)) or found == pytest.approx(expected)


def test_agreement_is_the_mean_over_pairs():
    values = torch.tensor([[1.0, 2, 3, 4], [1, 2, 4, 3], [4, 3, 2, 1]])
    expected = np.mean([stats.kendalltau(a, b).statistic for a, b in itertools.combinations(values.numpy(), 2)])
    assert mean_rank_agreement(values) == pytest.approx(expected)
    assert mean_rank_agreement(values[:1].repeat(3, 1)) == pytest.approx(1)
    assert mean_rank_agreement(torch.ones(3, 4)) is None


def test_the_top_of_pairs():
    assert same_top(torch.tensor([[1.0, 2], [1, 3], [5, 0]])) == pytest.approx(1 / 3)
    assert same_top(torch.tensor([[1.0, 2], [1, 3]])) == 1


def test_a_mean_over_so_many_times_as_many_has_the_wanted_deviation():
    assert times_as_many(0.0038, 0.0008) == pytest.approx(22.5625)
    draws = np.random.default_rng(4).normal(size=(20_000, 36))
    few, many = draws[:, :4].mean(axis=1).std(), draws.mean(axis=1).std()
    assert times_as_many(few, many) == pytest.approx(36 / 4, rel=0.04)


def test_five_seeds_at_two_sizes_do_not_tell_the_exponent():
    """Why one half is assumed: s ~ n^-e from five seeds at n and at 4 n gives e to ± 0.8."""
    ratio = stats.f.ppf(0.975, 4, 4)
    assert math.log(ratio) / 2 / math.log(4) == pytest.approx(0.816, abs=1e-3)
