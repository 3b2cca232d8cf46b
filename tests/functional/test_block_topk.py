import pytest
import torch

from sae_lens_metrics.functional.block_topk import largest_by_blocks


@pytest.mark.parametrize("n", [5, 700, 5000, 50257])
@pytest.mark.parametrize("k", [1, 5])
def test_is_topk(n, k):
    values = torch.randn(7, n, generator=torch.Generator().manual_seed(n))
    values[0] = -values[0].abs()
    values[1] = values[1].sort().values  # all of the largest in the last block
    expected = values.topk(k)
    found = largest_by_blocks(values, k)
    assert torch.equal(found[0], expected.values)
    assert torch.equal(found[1], expected.indices)


def test_equal_numbers_are_named_once_and_never_padding():
    values = torch.full((2, 3000), -1.0)
    values[1, 100:2900] = 4.0
    found, where = largest_by_blocks(values, 5)
    assert torch.equal(values.gather(1, where), found)
    assert found.tolist() == [[-1.0] * 5, [4.0] * 5]
    assert all(len(row.unique()) == 5 for row in where)
