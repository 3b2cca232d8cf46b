import numpy as np
import pytest
import torch
from scipy import stats

from sae_lens_metrics.functional.significance import student_quantile
from sae_lens_metrics.functional.statistics import (
    degrees_of_freedom,
    histogram,
    mean_with_error,
    ratio_influence,
    ratio_with_error,
)


def test_mean_matches_scipy():
    values = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value, stderr = mean_with_error(values)
    assert value == pytest.approx(values.mean().item())
    assert stderr == pytest.approx(stats.sem(values.numpy()))


def test_the_ratios_error_is_the_spread_over_repeated_samples():
    rng = np.random.default_rng(0)
    ratios, errors = [], []
    for _ in range(2000):
        counts = rng.integers(5, 50, size=80).astype(float)
        sums = counts * (0.3 + 0.1 * rng.standard_normal(80))  # positions of a sequence are alike
        value, stderr = ratio_with_error(torch.tensor(sums), torch.tensor(counts))
        ratios.append(value)
        errors.append(stderr)
    assert np.mean(ratios) == pytest.approx(0.3, abs=0.002)
    assert np.mean(errors) == pytest.approx(np.std(ratios), rel=0.06)


def test_units_of_weight_zero_do_not_count():
    a, b = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 1.0, 2.0])
    padded = ratio_with_error(torch.cat([a, torch.zeros(3)]), torch.cat([b, torch.zeros(3)]))
    assert padded == ratio_with_error(a, b)


def test_one_unit_has_no_error_and_none_no_ratio():
    assert mean_with_error(torch.tensor([2.0])) == (2.0, None)
    with pytest.raises(ValueError, match="zero"):
        ratio_with_error(torch.zeros(3), torch.zeros(3))


def test_histogram_matches_numpy():
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    edges, counts = histogram(values, low=-2, high=2, bins=20)
    expected, _ = np.histogram(np.clip(values.double().numpy(), -2, 2), bins=np.array(edges))
    assert counts == expected.tolist()
    assert sum(counts) == 1000
    with pytest.raises(ValueError, match="increase"):
        histogram(values, low=1, high=1, bins=3)


@pytest.mark.parametrize("seed", range(5))
def test_influences_give_the_error_and_are_what_leaving_a_unit_out_changes(seed):
    generator = torch.Generator().manual_seed(seed)
    b = torch.randint(0, 4, (200,), generator=generator).double()
    a = torch.randn(200, generator=generator, dtype=torch.float64) * b + 0.3 * b + 7.0 * (b == 0)  # what has no weight does not count
    value, stderr = ratio_with_error(a, b)
    influence = ratio_influence(a, b)
    n = int((b != 0).sum())
    assert float((n / (n - 1) * influence.square().sum()).sqrt()) == pytest.approx(stderr)
    assert float(influence.sum()) == pytest.approx(0, abs=0.01 * stderr)
    assert (influence[b == 0] == 0).all()
    assert value == pytest.approx(float(a[b != 0].sum() / b.sum()))
    for i in range(0, 200, 20):
        rest = torch.arange(200) != i
        without, _ = ratio_with_error(a[rest], b[rest])
        assert value - without == pytest.approx(float(influence[i]), abs=0.03 * float(influence.abs().max()))


def test_differences_of_influences_give_the_error_of_a_difference():
    """Of means over the same units that is the paired t test."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal(30)
    second = first + 0.1 * rng.standard_normal(30) + 0.2
    ones = torch.ones(30, dtype=torch.float64)
    change = ratio_influence(torch.tensor(second), ones) - ratio_influence(torch.tensor(first), ones)
    stderr = float((30 / 29 * change.square().sum()).sqrt())
    assert stderr == pytest.approx(stats.sem(second - first))
    assert (second - first).mean() / stderr == pytest.approx(stats.ttest_rel(second, first).statistic)


def test_one_unit_has_no_influence_on_its_own_ratio():
    assert ratio_influence(torch.tensor([2.0, 5.0]), torch.tensor([4.0, 0.0])).tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="zero"):
        ratio_influence(torch.zeros(2), torch.zeros(2))


def test_of_equal_weights_the_error_is_the_usual_one_and_the_freedom_n_minus_one():
    a, b = torch.randn(40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.full((40,), 3.0)
    assert ratio_with_error(a, b).stderr == pytest.approx(stats.sem(a.numpy() / 3))
    assert degrees_of_freedom(b) == 39
    assert degrees_of_freedom(torch.tensor([5.0, 5.0, 0.0])) == 1
    assert degrees_of_freedom(torch.tensor([1000.0, 1.0, 1.0])) == 1
    with pytest.raises(ValueError, match="zero"):
        degrees_of_freedom(torch.zeros(2))


def test_the_squared_error_has_no_bias_however_unequal_the_weights():
    """The usual formula gives half of it here."""
    generator = torch.Generator().manual_seed(0)
    b = torch.tensor([10.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    ratios, squares = [], []
    for _ in range(4000):
        found = ratio_with_error(b * torch.randn(6, generator=generator, dtype=torch.float64), b)
        ratios.append(found.value)
        squares.append(found.stderr**2)
    assert np.mean(squares) == pytest.approx(np.var(ratios), rel=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("log_sd", [0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("documents", [10, 20, 50, 200, 500])
def test_intervals_of_ratios_cover(documents, log_sd):
    """Documents of unequal length, alike within themselves. Normal intervals from the usual error cover as little as 72 %."""
    rng = np.random.default_rng(documents)
    covered, repetitions = 0, 1500
    for _ in range(repetitions):
        lengths = np.maximum(1, np.round(30 * np.exp(log_sd * rng.standard_normal(documents))))
        means = rng.standard_normal(documents) + 3 * rng.standard_normal(documents) / np.sqrt(lengths)
        b = torch.tensor(lengths)
        value, stderr = ratio_with_error(b * torch.tensor(means), b)
        covered += abs(value) <= student_quantile(0.95, degrees_of_freedom(b)) * stderr
    assert 0.93 <= covered / repetitions <= 0.98
