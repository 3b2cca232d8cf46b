import numpy as np
import pytest
import torch
from scipy import stats

from sae_lens_metrics.functional.statistics import histogram, mean_with_error, ratio_with_error


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
