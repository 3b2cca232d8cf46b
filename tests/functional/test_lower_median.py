import numpy as np
import pytest
import torch

from sae_lens_metrics.functional.lower_median import bracketed_median, lower_median

KINDS = {
    "gaussian": lambda x: x,
    "heavy tails": lambda x: x**5,
    "ties": lambda x: (3 * x).round(),
    "zeros": torch.zeros_like,
    "few values apart": lambda x: (x > 2).float(),
    "sorted": lambda x: x.sort(-1).values,
    "far from zero": lambda x: x + 1e4,
    "two heaps": lambda x: x + 100 * (x > 0),
    "unlike every 50th": lambda x: x + 5 * (torch.arange(x.shape[-1]) % 50 != 0),
    "infinite": lambda x: x.masked_fill(x > 0.2, torch.inf),
}


def by_sorting(values):
    """NumPy, which sorts."""
    return torch.tensor(np.sort(values.numpy(), axis=-1)[..., (values.shape[-1] - 1) // 2])


@pytest.mark.parametrize("n", [40, 2049, 9000, 50257])
@pytest.mark.parametrize("kind", KINDS)
def test_is_the_median(kind, n):
    values = KINDS[kind](torch.randn(2, 3, n, generator=torch.Generator().manual_seed(n)))
    expected = by_sorting(values)
    assert torch.equal(bracketed_median(values), expected)
    assert torch.equal(values.median(-1).values, expected)
    assert torch.equal(lower_median(values.clone()), expected)


def test_rows_of_every_kind_together():
    generator = torch.Generator().manual_seed(0)
    values = torch.cat([make(torch.randn(4, 20_001, generator=generator)) for make in KINDS.values()])
    assert torch.equal(bracketed_median(values), by_sorting(values))


@pytest.mark.parametrize("share", [0.001, 0.6])
def test_rows_with_nan_spoil_no_others(share):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(6, 9000, generator=generator)
    expected = by_sorting(values)
    values[2].masked_fill_(torch.rand(9000, generator=generator) < share, torch.nan)
    others = torch.arange(6) != 2
    assert torch.equal(bracketed_median(values)[others], expected[others])


def test_nothing():
    assert bracketed_median(torch.zeros(0, 9000)).shape == (0,)
