import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_lens_metrics.functional.best_probe import best_probes
from sae_lens_metrics.functional.logistic import ProbeInputError
from sae_lens_metrics.functional.splitting import fit_half, fold_numbers, shuffled_within


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_half_of_each_class(positives, negatives, seed):
    y = torch.tensor([True] * positives + [False] * negatives)[torch.randperm(positives + negatives, generator=seeded(seed))]
    fit = fit_half(y, None, seeded(seed))
    assert int(fit[y].sum()) == (positives + 1) // 2
    assert int(fit[~y].sum()) == (negatives + 1) // 2
    shuffled = shuffled_within(y, fit, None, seeded(seed))
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


# --- folds ---------------------------------------------------------------------------------------------------------------------


@given(st.integers(5, 40), st.integers(5, 40), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_folds_of_examples_have_their_share_of_each_class(positives, negatives, seed):
    y = (torch.arange(positives + negatives) < positives)[torch.randperm(positives + negatives, generator=seeded(seed))]
    folds = fold_numbers(y, None, seeded(seed))
    for kind in (folds, folds[y], folds[~y]):
        counts = kind.bincount(minlength=5)
        assert counts.max() - counts.min() <= 1


@given(st.lists(st.integers(1, 9), min_size=10, max_size=40), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_folds_of_groups_have_whole_groups_and_like_sizes(sizes, seed):
    groups = [7 * number for number, size in enumerate(sizes) for _ in range(2 * size)]
    y = torch.arange(len(groups)) % 2 == 0
    folds = fold_numbers(y, groups, seeded(seed))
    assert set(folds.tolist()) == set(range(5))
    assert all(len({fold for fold, g in zip(folds.tolist(), groups, strict=True) if g == group}) == 1 for group in set(groups))
    assert folds.bincount().max() - folds.bincount().min() <= 2 * max(sizes)


def test_groups_are_split_where_whole_ones_leave_one_class():
    y = torch.arange(40) < 20
    folds = fold_numbers(y, [0] * 20 + [1] * 20, seeded())
    assert folds.bincount().tolist() == [8] * 5
    assert all(len(y[folds != fold].unique()) == 2 for fold in range(5))


# --- shuffled labels -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=8, max_size=40), st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_whole_groups_change_their_labels_where_labels_are_constant_in_groups(groups, seed):
    groups = [(1, True), (1, False), (1, True), (1, False), *groups]
    members = [number for number, (size, _) in enumerate(groups) for _ in range(size)]
    y = torch.tensor([label for size, label in groups for _ in range(size)])
    fit = fit_half(y, members, seeded(seed))
    shuffled = shuffled_within(y, fit, members, seeded(seed))
    of_group = {member: set() for member in members}
    for member, label in zip(members, shuffled.tolist(), strict=True):
        of_group[member].add(label)
    assert all(len(labels) == 1 for labels in of_group.values())
    for half in (fit, ~fit):
        inside = [member for member in of_group if half[members.index(member)]]
        before, after = ([bool(labels[members.index(member)]) for member in inside] for labels in (y, shuffled))
        assert sum(before) == sum(after)  # as many groups are positive


def test_groups_of_several_sizes_keep_the_balance_nearly():
    sizes = [1, 2, 3, 5, 8, 13] * 10
    members = [number for number, size in enumerate(sizes) for _ in range(size)]
    y = torch.tensor([number % 2 == 0 for number in members])
    fit = torch.tensor(members) < 30
    for seed in range(10):
        shuffled = shuffled_within(y, fit, members, seeded(seed))
        for half in (fit, ~fit):
            assert abs(int(shuffled[half].sum() - y[half].sum())) <= 0.02 * int(half.sum())


def test_labels_that_vary_in_groups_are_shuffled_one_by_one():
    y = torch.arange(200) % 3 == 0
    members = [i // 10 for i in range(200)]
    fit = torch.tensor(members) % 2 == 0
    assert torch.equal(shuffled_within(y, fit, members, seeded(4)), shuffled_within(y, fit, None, seeded(4)))


def test_shuffled_luck_is_real_luck_where_labels_are_constant_in_groups():
    """Latents that know the group and nothing of the label: what is found by luck depends on the groups, not on the texts."""
    members = [i // 20 for i in range(2000)]
    real, shuffled, singly = [], [], []
    for seed in range(12):
        generator = seeded(seed)
        of_groups = torch.randperm(100, generator=generator) < 50
        y = of_groups[members]
        fit = fit_half(y, members, generator)
        z = torch.randn(100, 100, generator=generator)[members] + 0.3 * torch.randn(2000, 100, generator=generator)
        labellings = [y[fit], shuffled_within(y, fit, members, generator)[fit], shuffled_within(y, fit, None, generator)[fit]]
        found = best_probes(lambda wanted, z=z, fit=fit: z[fit][:, wanted], 100, labellings, at_once=100)
        for losses, best in zip((real, shuffled, singly), found, strict=True):
            losses.append(best.loss)
    real, shuffled, singly = (torch.tensor(losses, dtype=torch.float64) for losses in (real, shuffled, singly))
    difference = shuffled - real
    assert abs(float(difference.mean())) < 3 * float(difference.std()) / 12**0.5
    assert float((singly - real).mean()) > 10 * float((singly - real).std()) / 12**0.5  # what it was: luck of single texts, too little
    assert float(singly.mean() - real.mean()) > 0.03
