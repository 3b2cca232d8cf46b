import pytest
import torch
from scipy.stats import f_oneway

from sae_lens_metrics.functional.intraclass_correlation import intraclass_correlation

SIZES = [1, 4, 5, 4, 1, 8, 21, 2, 1, 4, 9, 1]


def normal_groups(sizes, rho, generator):
    """Normal values of variance 1, of which two of one group have the correlation rho."""
    groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    common = torch.randn(len(sizes), generator=generator, dtype=torch.float64)[groups]
    return rho**0.5 * common + (1 - rho) ** 0.5 * torch.randn(len(groups), generator=generator, dtype=torch.float64), groups


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_it_follows_from_scipys_f(rho):
    values, groups = normal_groups(SIZES, rho, torch.Generator().manual_seed(3))
    f = f_oneway(*(values[groups == group].numpy() for group in groups.unique())).statistic
    n, k = len(values), len(SIZES)
    typical = (n - sum(size**2 for size in SIZES) / n) / (k - 1)
    assert intraclass_correlation(values, groups) == pytest.approx((f - 1) / (f + typical - 1))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    assert intraclass_correlation(values[order], 3 * groups[order]) == pytest.approx(intraclass_correlation(values, groups))


@pytest.mark.parametrize("rho", [0.0, 0.2, 0.5])
def test_it_finds_the_correlation(rho):
    generator = torch.Generator().manual_seed(1)
    found = [intraclass_correlation(*normal_groups(4 * SIZES, rho, generator)) for _ in range(400)]
    assert sum(found) / 400 == pytest.approx(rho, abs=0.03)


def test_closed_forms():
    alike, opposed = torch.tensor([1.0, 1.0, 2.0, 2.0]), torch.tensor([1.0, 2.0, 1.0, 2.0])
    groups = torch.tensor([0, 0, 1, 1])
    assert intraclass_correlation(alike, groups) == pytest.approx(1)
    assert intraclass_correlation(opposed, groups) == pytest.approx(-1)  # the least of pairs


@pytest.mark.parametrize(
    ("values", "groups"),
    [([1.0, 2.0, 3.0], [0, 0, 0]), ([1.0, 2.0, 3.0], [0, 1, 2]), ([1.0, 1.0, 1.0], [0, 0, 1]), ([1.0], [0])],
)
def test_where_nothing_can_be_known(values, groups):
    assert intraclass_correlation(torch.tensor(values), torch.tensor(groups)) is None
