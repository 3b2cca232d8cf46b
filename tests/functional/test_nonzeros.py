import torch

from sae_lens_metrics.functional.nonzeros import nonzeros


def test_parts_are_bounded_and_give_every_entry_once():
    mask = torch.rand(200, 30, generator=torch.Generator().manual_seed(0)) < 0.3
    for at_once in (1, 50, 10**6):
        parts = list(nonzeros(mask, at_once))
        again = torch.zeros_like(mask)
        for row, column in parts:
            assert not again[row, column].any()
            again[row, column] = True
            assert len(row) <= max(3 * at_once, 30)
        assert torch.equal(again, mask)


def test_nothing():
    assert [len(row) for row, _ in nonzeros(torch.zeros(4, 3, dtype=torch.bool))] == [0]
    assert sum(len(row) for row, _ in nonzeros(torch.zeros(0, 3, dtype=torch.bool))) == 0
