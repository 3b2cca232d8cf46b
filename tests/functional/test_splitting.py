import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_lens_metrics.functional.logistic import ProbeInputError
from sae_lens_metrics.functional.splitting import fit_half, shuffled_within


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_half_of_each_class(positives, negatives, seed):
    y = torch.tensor([True] * positives + [False] * negatives)[torch.randperm(positives + negatives, generator=seeded(seed))]
    fit = fit_half(y, None, seeded(seed))
    assert int(fit[y].sum()) == (positives + 1) // 2
    assert int(fit[~y].sum()) == (negatives + 1) // 2
    shuffled = shuffled_within(y, fit, seeded(seed))
    assert shuffled[fit].sum() == y[fit].sum()
    assert shuffled[~fit].sum() == y[~fit].sum()


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=40, max_size=80), st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_no_group_is_on_both_sides_and_half_of_the_examples_are_in(examples, seed):
    # a group of both classes each time, so that there is a split
    groups = [1000, 1000, 2000, 2000, *(7 * group for group, _ in examples)]
    y = torch.tensor([True, False, True, False, *(label for _, label in examples)])
    fit = fit_half(y, groups, seeded(seed))
    inside = {g for g, i in zip(groups, fit.tolist(), strict=True) if i}
    outside = {g for g, i in zip(groups, fit.tolist(), strict=True) if not i}
    assert not inside & outside
    assert all(len(y[half].unique()) == 2 for half in (fit, ~fit))
    largest = max(groups.count(g) for g in set(groups))
    assert len(y) / 2 <= fit.sum() < len(y) / 2 + largest


def test_the_split_follows_its_seed():
    y = torch.arange(60) % 3 == 0
    groups = [i // 4 for i in range(60)]
    for given_groups in (None, groups):
        first, again, other = (fit_half(y, given_groups, seeded(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        ([True] + [False] * 20, None),
        ([True] * 10 + [False] * 10, [0] * 20),
        ([True] * 10 + [False] * 10, [0] * 10 + list(range(1, 11))),  # all positive examples are in one group
    ],
)
def test_a_class_that_cannot_be_in_both_halves(labels, groups):
    with pytest.raises(ProbeInputError, match=r"at least two (examples|groups) of each"):
        fit_half(torch.tensor(labels), groups, seeded())
