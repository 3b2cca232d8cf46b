import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sae_lens_metrics.functional.sampling import GroupedLargest, GroupedSample, random_keys, splitmix64

MASK = 2**64 - 1
TRIALS = 20_000  # groups of the statistical tests
N, K = 12, 4  # items of a group and places of its sample in the statistical tests
ITEM_SETS = {"small": torch.arange(N), "spread": torch.arange(N) * 2**36, "large": 2**40 - torch.arange(N)}


# an oracle in plain Python


def plain_mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def plain_splitmix64(seed, index):
    return plain_mix((seed + (index + 1) * 0x9E3779B97F4A7C15) & MASK)


def plain_key(seed, group, item):
    key = plain_mix(plain_splitmix64(plain_splitmix64(seed & MASK, 0), group) ^ plain_splitmix64(0, item))
    return key - 2**64 if key >= 2**63 else key


def plain_sample(groups, size, seed, additions):
    """Items and values of each group in order of their keys, from a list of (group, item, value)."""
    members = {group: [] for group in range(groups)}
    for group, item, value in additions:
        members[group].append((int(random_keys(seed, torch.tensor([group]), torch.tensor([item]))), item, value))
    ordered = [sorted(members[group])[:size] for group in range(groups)]
    return [[(item, value) for _, item, value in row] for row in ordered]


def filled(sample):
    """The places of each group up to the first empty one, as (item, value)."""
    rows = zip(sample.item.tolist(), sample.value.tolist(), strict=True)
    return [[(item, value) for item, value in zip(*row, strict=True) if item >= 0] for row in rows]


def columns(additions):
    group, item, value = zip(*additions, strict=True) if additions else ((), (), ())
    return torch.tensor(group, dtype=torch.long), torch.tensor(item, dtype=torch.long), torch.tensor(value, dtype=torch.float32)


def same(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("count", "item", "value"))


def random_additions(groups, items, seed=0):
    """Distinct items of random groups, of which the value names the item."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.randint(0, groups, (items,), generator=generator)
    item = torch.randperm(items, generator=generator)
    return group, item, item.float()


def added(groups, size, *additions, seed=0):
    sample = GroupedSample(groups, size, seed=seed)
    for addition in additions:
        sample.add(*addition)
    return sample


# exactness


def test_splitmix64_gives_the_published_numbers():
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert [number & MASK for number in splitmix64(1234567, torch.arange(5)).tolist()] == published


@given(st.integers(-(2**70), 2**70), st.integers(0, 2**31), st.integers(0, 2**40))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_the_keys_match_arithmetic_on_plain_integers(seed, group, item):
    assert random_keys(seed, torch.tensor([group]), torch.tensor([item])).tolist() == [plain_key(seed, group, item)]


@st.composite
def batches(draw):
    """Items in any order, distinct within a group, and where to cut them into calls."""
    groups, size = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    items = st.one_of(st.integers(0, 12), st.integers(0, 2**40))
    pairs = draw(st.lists(st.tuples(st.integers(0, groups - 1), items), unique=True, max_size=60))
    values = draw(st.lists(st.floats(-1e3, 1e3, width=32), min_size=len(pairs), max_size=len(pairs)))
    cuts = sorted(draw(st.lists(st.integers(0, len(pairs)), max_size=5)))
    additions = [(*pair, value) for pair, value in zip(pairs, values, strict=True)]
    return groups, size, [additions[a:b] for a, b in zip([0, *cuts], [*cuts, len(pairs)], strict=True)]


@given(batches(), st.integers(0, 2**64))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_sample_is_the_smallest_keys_in_order(drawn, seed):
    groups, size, parts = drawn
    sample = added(groups, size, *(columns(part) for part in parts), seed=seed)
    additions = [addition for part in parts for addition in part]
    assert filled(sample) == plain_sample(groups, size, seed, additions)
    assert sample.count.tolist() == [sum(group == g for group, _, _ in additions) for g in range(groups)]


@pytest.mark.parametrize("chunk", [1, 7, 100, 999])
def test_neither_order_nor_batches_matter(chunk):
    group, item, value = random_additions(groups=20, items=1000)
    at_once = added(20, 8, (group, item, value))
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(chunk))
    parts = [(group[part], item[part], value[part]) for part in order.split(chunk)]
    assert same(added(20, 8, *parts), at_once)


def test_the_largest_key_is_not_taken_for_an_empty_place(monkeypatch):
    keys = {5: 2**63 - 1, 6: 0}
    monkeypatch.setattr(
        "sae_lens_metrics.functional.sampling.random_keys",
        lambda seed, group, item: torch.tensor([keys[i] for i in item.tolist()], dtype=torch.long),
    )
    largest, smallest = (columns([(0, item, 1.0)]) for item in (5, 6))
    for parts in [(largest, smallest), (smallest, largest), (columns([(0, 5, 1.0), (0, 6, 1.0)]),)]:
        assert added(1, 3, *parts).item.tolist() == [[6, 5, -1]]
        assert added(1, 1, *parts).item.tolist() == [[6]]


def test_a_longer_sample_begins_with_the_shorter():
    additions = random_additions(groups=10, items=500)
    assert torch.equal(added(10, 9, additions).item[:, :4], added(10, 4, additions).item)


# what is stored


def test_empty_places_hold_minus_one_and_zero_after_all_the_items():
    sample = added(4, 3, columns([(0, 7, 1.5), (2, 9, 2.5), (2, 8, 3.5)]))
    assert sample.count.tolist() == [1, 0, 2, 0]
    assert sample.item[[0, 1, 3]].tolist() == [[7, -1, -1], [-1, -1, -1], [-1, -1, -1]]
    assert sample.value[[0, 1, 3]].tolist() == [[1.5, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert set(zip(sample.item[2].tolist(), sample.value[2].tolist(), strict=True)) == {(9, 2.5), (8, 3.5), (-1, 0.0)}
    assert sample.item[2, 2] == -1


def test_adding_nothing_changes_nothing():
    nothing, additions = columns([]), random_additions(groups=3, items=50)
    assert same(added(3, 4, nothing, additions, nothing), added(3, 4, additions))
    assert added(0, 4, nothing).item.shape == (0, 4)


def test_samples_hold_no_duplicate_and_only_items_of_their_group_with_their_values():
    group, item, value = random_additions(groups=50, items=5000)
    sample = added(50, 20, *zip(group.split(300), item.split(300), value.split(300), strict=True))
    assert (sample.item >= 0).all()
    assert all(len(row.unique()) == 20 for row in sample.item)
    assert torch.equal(sample.value, sample.item.float())
    group_of_item = torch.empty_like(group).scatter_(0, item, group)
    assert torch.equal(group_of_item[sample.item], torch.arange(50)[:, None].expand(50, 20))
    assert torch.equal(sample.count, group.bincount())


def test_narrow_dtypes_are_accepted():
    group, item, value = random_additions(groups=5, items=100)
    assert same(added(5, 4, (group.int(), item.int(), value.bfloat16())), added(5, 4, (group, item, value.bfloat16())))


def test_the_state_does_not_grow():
    sample = GroupedSample(10, 5, seed=0)

    def state_bytes():
        return sum(t.untyped_storage().nbytes() for t in vars(sample).values() if isinstance(t, torch.Tensor))

    at_first = state_bytes()
    assert at_first == 10 * 5 * 20 + 10 * 8
    for start in range(0, 5000, 500):
        sample.add(torch.arange(500) % 10, torch.arange(start, start + 500), torch.ones(500))
        assert state_bytes() == at_first


@pytest.mark.parametrize("group", [-1, 2])
def test_an_unknown_group_is_refused_and_leaves_the_sample_alone(group):
    sample = added(2, 3, columns([(0, 1, 1.0)]))
    with pytest.raises((IndexError, RuntimeError)):
        sample.add(torch.tensor([0, group]), torch.tensor([5, 6]), torch.ones(2))
    assert same(sample, added(2, 3, columns([(0, 1, 1.0)])))


def test_a_sample_has_room():
    with pytest.raises(ValueError, match="room"):
        GroupedSample(3, 0, seed=0)


# uniformity


def positions_sampled(items, *, seed=0):
    """Which of the items, as indices into them, each of TRIALS groups draws from the same items, [TRIALS, K]."""
    every_item = items.repeat(TRIALS)
    sample = added(TRIALS, K, (torch.arange(TRIALS).repeat_interleave(N), every_item, torch.ones(len(every_item))), seed=seed)
    order = items.argsort()
    return order[torch.searchsorted(items[order], sample.item)].numpy()


def included(positions):
    return np.stack([(positions == i).any(1) for i in range(N)], axis=1)


def assert_plausible(p_value):
    assert 1e-3 < p_value < 1 - 1e-3


def assert_simple_random_sampling(inclusion):
    """Chi-square with the covariance of sampling without replacement, under which it has N - 1 degrees of freedom."""
    trials, share = len(inclusion), K / N
    observed = inclusion.sum(0)
    chi_square = ((observed - trials * share) ** 2).sum() * (N - 1) / (N * trials * share * (1 - share))
    assert_plausible(stats.chi2.sf(chi_square, N - 1))


def assert_independent(inclusion, other):
    """The overlap of two independent samples from the same N items is hypergeometric."""
    overlap = np.bincount((inclusion & other).sum(1), minlength=K + 1)
    expected = stats.hypergeom(N, K, K).pmf(np.arange(K + 1)) * len(inclusion)
    assert_plausible(stats.chisquare(overlap, expected).pvalue)


@pytest.mark.parametrize("items", ITEM_SETS.values(), ids=ITEM_SETS)
def test_every_item_is_included_equally_often_over_groups(items):
    assert_simple_random_sampling(included(positions_sampled(items)))


def test_every_item_is_included_equally_often_over_seeds():
    items, group, value = torch.arange(N), torch.zeros(N, dtype=torch.long), torch.ones(N)
    drawn = np.concatenate([added(1, K, (group, items, value), seed=seed).item.numpy() for seed in range(2000)])
    assert_simple_random_sampling(included(drawn))


@pytest.mark.parametrize("items", ITEM_SETS.values(), ids=ITEM_SETS)
def test_every_place_of_the_random_order_is_uniform(items):
    positions = positions_sampled(items)
    for place in range(K):
        assert_plausible(stats.chisquare(np.bincount(positions[:, place], minlength=N)).pvalue)


def test_pairs_are_included_equally_often():
    inclusion = included(positions_sampled(torch.arange(N))).astype(float)
    share = K * (K - 1) / (N * (N - 1))
    together = (inclusion.T @ inclusion)[np.triu_indices(N, 1)]
    z = (together - TRIALS * share) / np.sqrt(TRIALS * share * (1 - share))
    assert np.abs(z).max() < 4


@pytest.mark.parametrize("shift", [0, 1])
def test_neighbouring_groups_draw_independently_from_the_same_items(shift):
    inclusion = included(positions_sampled(torch.arange(N)))
    assert_independent(inclusion[0::2], np.roll(inclusion[1::2], shift, axis=1))


@pytest.mark.parametrize("seed", [1, 2, 2**32, -1])
def test_seeds_draw_independently(seed):
    assert_independent(included(positions_sampled(torch.arange(N))), included(positions_sampled(torch.arange(N), seed=seed)))


# the largest values


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-4, 4, width=16).filter(bool)), max_size=60), st.integers(1, 5), st.integers(1, 9))
def test_the_largest_are_kept_however_they_come(entries, size, step):
    additions = [(group, item, value) for item, (group, value) in enumerate(entries)]
    expected = [
        sorted(((item, value) for of, item, value in additions if of == group), key=lambda pair: (-abs(pair[1]), pair[0]))[:size]
        for group in range(4)
    ]
    for order in (additions, additions[::-1]):
        largest = GroupedLargest(4, size)
        for start in range(0, len(order), step):
            largest.add(*columns(order[start : start + step]))
        assert filled(largest) == expected
        for group, kept in enumerate(expected):
            assert largest.least[group] == (abs(kept[-1][1]) if len(kept) == size else 0)


def test_what_least_rules_out_is_not_kept():
    group, item, value = random_additions(5, 400)
    whole, filtered = GroupedLargest(5, 6), GroupedLargest(5, 6)
    for part in range(0, len(group), 50):
        some = slice(part, part + 50)
        whole.add(group[some], item[some], value[some])
        large = value[some].abs() >= filtered.least[group[some]]
        filtered.add(group[some][large], item[some][large], value[some][large])
    assert int(filtered.count.sum()) < int(whole.count.sum())
    assert torch.equal(whole.item, filtered.item)
    assert torch.equal(whole.value, filtered.value)


@pytest.mark.parametrize("kind", [GroupedSample, GroupedLargest])
def test_samples_of_parts_taken_together_are_the_sample_of_all(kind):
    """Whichever takes the others, and in whatever pieces of groups; the same part taken by none is left as it was."""
    generator = torch.Generator().manual_seed(3)
    group, value = torch.randint(7, (400,), generator=generator), torch.randn(400, generator=generator)
    group = group.where(group != 5, 4)  # one has none, and another is in one part alone
    item = torch.arange(400)
    made = (lambda: kind(7, 4, seed=9)) if kind is GroupedSample else (lambda: kind(7, 4))
    whole, parts = made(), [made() for _ in range(3)]
    whole.add(group, item, value)
    for i, part in enumerate(parts):
        mine = (item % 3 == i) & ((group != 6) | (i == 1))
        part.add(group[mine], item[mine], value[mine])
    missing = (group == 6) & (item % 3 != 1)
    parts[1].add(group[missing], item[missing], value[missing])
    kept = [[part.kept(slice(start, min(start + 3, 7))) for start in range(0, 7, 3)] for part in parts]
    for i, part in enumerate(parts):
        for j, pieces in enumerate(kept):
            for start, piece in zip(range(0, 7, 3), pieces, strict=True):
                if i != j:
                    part.take(slice(start, min(start + 3, 7)), piece)
        assert torch.equal(part.item, whole.item)
        assert torch.equal(part.value, whole.value)
        assert torch.equal(part.count, whole.count)
