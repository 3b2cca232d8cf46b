from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_lens_metrics.functional.conditional_means import ConditionalMeans

WIDTH = 3


# an oracle with pandas, in float64


def oracle(key, x, wanted):
    """The mean of each wanted key that comes, and NaN for the others."""
    frame = pd.DataFrame(x.double().numpy()).assign(key=key.numpy())
    return frame.groupby("key").mean().reindex(wanted.tolist()).to_numpy()


def collect(key, x, splits=(), wanted=None):
    """Adds a stream cut at ``splits``; all of its keys are wanted by default."""
    means = ConditionalMeans(key if wanted is None else wanted, x.shape[1])
    bounds = [0, *sorted(splits), len(key)]
    for start, end in pairwise(bounds):
        means.add(key[start:end], x[start:end])
    return means


def check(means, key, x, wanted, tolerance=1e-6):
    """Compares everything that can be seen with the oracle; the tolerance is relative to the largest vector component."""
    asked = torch.from_numpy(np.union1d(key.numpy(), wanted.numpy()))
    got, known = means.lookup(asked)
    expected = oracle(key, x, asked)
    assert len(means) == len(wanted.unique())
    assert torch.equal(known, torch.isin(asked, wanted) & torch.isin(asked, key))
    assert got.dtype == torch.float32
    assert torch.equal(got[~known], torch.zeros_like(got[~known]))
    np.testing.assert_allclose(got[known].numpy(), expected[known.numpy()], rtol=0, atol=tolerance * float(x.abs().max()) if len(x) else 0)


def stream(items, keys, seed=0, width=WIDTH, offset=0.0):
    """Keys of very unequal frequency, scattered over the integers, and random vectors."""
    generator = torch.Generator().manual_seed(seed)
    names = torch.randint(2**40, (keys,), generator=generator)
    key = names[(torch.rand(items, generator=generator) ** 3 * keys).long()]
    return key, offset + torch.randn(items, width, generator=generator)


def state_bytes(means):
    return sum(value.untyped_storage().nbytes() for value in vars(means).values() if isinstance(value, torch.Tensor))


# means of the keys that are wanted


@st.composite
def streams(draw):
    numbers = st.one_of(st.integers(0, 8), st.sampled_from([2**50, 2**63 - 1, -1]), st.integers(-(2**63), 2**63 - 1))
    keys, wanted = draw(st.lists(numbers, max_size=40)), draw(st.lists(numbers, min_size=1, max_size=12))
    splits = draw(st.lists(st.integers(0, len(keys)), max_size=6))
    x = torch.randn(len(keys), WIDTH, generator=torch.Generator().manual_seed(draw(st.integers(0, 1000))))
    return torch.tensor(keys, dtype=torch.long), x, torch.tensor(wanted, dtype=torch.long), splits


@settings(max_examples=300, deadline=None)
@given(streams())
def test_any_stream_split_anyhow_gives_the_oracles_means(case):
    key, x, wanted, splits = case
    check(collect(key, x, splits, wanted), key, x, wanted)


@pytest.mark.parametrize("wanted", [1, 7, 500, None])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_long_streams_give_the_oracles_means(wanted, offset):
    key, x = stream(20_000, 2000, offset=offset)
    some = key.unique()[:wanted]
    check(collect(key, x, range(0, 20_000, 1700), some), key, x, some)


def test_vectors_of_other_keys_are_passed_over():
    key = torch.tensor([9, 5, 1, 1, 1, 9, 0, 5])
    means = collect(key, torch.arange(8.0)[:, None], wanted=torch.tensor([1, 9, 9, 3]))
    got, known = means.lookup(torch.tensor([9, 5, 1, 0, 3]))
    assert known.tolist() == [True, False, True, False, False]
    assert got[:, 0].tolist() == [2.5, 0, 3, 0, 0]
    assert len(means) == 3


@pytest.mark.parametrize("size", [1, 7, 640, 3000])
def test_the_split_over_calls_does_not_matter(size):
    key, x = stream(3000, 300, seed=1, offset=10.0)
    whole, parts = collect(key, x), collect(key, x, range(0, 3000, size))
    (mean, known), (part_mean, part_known) = whole.lookup(key), parts.lookup(key)
    assert torch.equal(known, part_known)
    torch.testing.assert_close(part_mean, mean, rtol=1e-6, atol=0)


def test_the_mean_of_a_key_does_not_depend_on_which_others_are_wanted():
    key, x = stream(3000, 300, seed=1, offset=10.0)
    few = key.unique()[::7]
    assert torch.equal(collect(key, x, [1000], few).lookup(few)[0], collect(key, x, [1000]).lookup(few)[0])


def test_no_keys_are_refused():
    with pytest.raises(ValueError, match="no keys"):
        ConditionalMeans(torch.empty(0, dtype=torch.long), WIDTH)


# accuracy


@pytest.fixture(scope="module")
def frequent():
    """A million vectors of mean 1000 and spread 1."""
    return 1000 + torch.randn(1_000_000, 4, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("calls", [1, 4])
def test_a_million_items_far_from_zero_keep_their_mean(frequent, calls):
    key = torch.zeros(len(frequent), dtype=torch.long)
    means = collect(key, frequent, range(0, len(key), len(key) // calls))
    error = means.lookup(key[:1])[0].double() - frequent.double().mean(0)
    assert error.abs().max() < 1e-4


def test_error_grows_with_the_number_of_calls_no_faster_than_promised(frequent):
    calls = 100
    key = torch.zeros(len(frequent), dtype=torch.long)
    means = collect(key, frequent, range(0, len(key), len(key) // calls))
    error = means.lookup(key[:1])[0].double() - frequent.double().mean(0)
    unit = 2.0**-14  # between float32 numbers next to 1000
    assert error.abs().max() < 5 * calls**0.5 / 6 * unit  # five times the typical error, 5e-4


def test_a_first_vector_far_out_costs_no_accuracy():
    x = torch.randn(30_000, 4, generator=torch.Generator().manual_seed(3))
    x[0] = 3000.0
    mean, _ = collect(torch.zeros(30_000, dtype=torch.long), x).lookup(torch.tensor([0]))
    np.testing.assert_allclose(mean[0].numpy(), x.double().mean(0).numpy(), rtol=0, atol=1e-6)


def test_equal_vectors_have_themselves_as_mean_exactly():
    x = torch.full((5000, WIDTH), 0.1)
    key = torch.arange(5000) % 7
    assert torch.equal(collect(key, x, range(0, 5000, 300)).lookup(key)[0], x)


def test_a_vector_that_is_not_finite_harms_its_own_key_only():
    key, x = torch.tensor([1, 2, 1, 2]), torch.ones(4, WIDTH)
    x[0] = torch.inf
    mean, known = collect(key, x).lookup(torch.tensor([1, 2]))
    assert not mean[0].isfinite().any()
    assert torch.equal(mean[1], torch.ones(WIDTH))
    assert known.all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_vectors_of_other_precisions_are_averaged_in_float32(dtype):
    key, x = stream(500, 20)
    check(collect(key, x.to(dtype)), key, x.to(dtype).float(), key)


def test_vectors_that_need_gradients_leave_no_graph():
    means = collect(torch.tensor([1]), torch.ones(1, WIDTH, requires_grad=True))
    assert not means.lookup(torch.tensor([1]))[0].requires_grad


# edges


def test_lookup_before_any_add_knows_nothing():
    got, known = ConditionalMeans(torch.tensor([0, 7]), WIDTH).lookup(torch.tensor([0, 2**63 - 1]))
    assert torch.equal(got, torch.zeros(2, WIDTH))
    assert not known.any()


@pytest.mark.parametrize("before", [[], [3, 4]])
def test_empty_adds_and_lookups_are_allowed(before):
    means = collect(torch.tensor(before, dtype=torch.long), torch.ones(len(before), WIDTH), wanted=torch.tensor([3, 4]))
    nothing = torch.empty(0, dtype=torch.long)
    means.add(nothing, torch.empty(0, WIDTH))
    got, known = means.lookup(nothing)
    assert (got.shape, known.shape, known.dtype) == ((0, WIDTH), (0,), torch.bool)
    assert means.lookup(torch.tensor([3, 4]))[1].tolist() == [bool(before)] * 2


def test_unknown_keys_among_known_ones_and_around_them():
    means = collect(torch.tensor([5, 10]), torch.tensor([[1.0], [2.0]]))
    got, known = means.lookup(torch.tensor([10, 4, 5, 7, 10, 11, 2**50, 0]))
    assert got[:, 0].tolist() == [2, 0, 1, 0, 2, 0, 0, 0]
    assert known.tolist() == [True, False, True, False, True, False, False, False]


def test_huge_keys_that_float64_would_confuse_are_told_apart():
    key = torch.tensor([2**50, 2**50 + 1, 2**62, 2**62 + 1, 2**63 - 1, 2**63 - 2])
    means = collect(key, torch.arange(6.0)[:, None])
    assert means.lookup(key)[0][:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_keys_of_int32_are_accepted():
    means = collect(torch.tensor([1, 2, 1], dtype=torch.int32), torch.tensor([[1.0], [5.0], [3.0]]))
    assert means.lookup(torch.tensor([1, 2], dtype=torch.int32))[0].tolist() == [[2.0], [5.0]]


def test_what_lookup_returned_does_not_change_later():
    means = collect(torch.tensor([1]), torch.ones(1, WIDTH))
    got, _ = means.lookup(torch.tensor([1]))
    means.add(torch.tensor([1]), torch.zeros(1, WIDTH))
    assert torch.equal(got, torch.ones(1, WIDTH))


# memory


def test_memory_is_as_promised_whatever_comes():
    width = 16
    means = ConditionalMeans(torch.arange(1000).repeat(2), width)
    for start in range(0, 5000, 300):
        means.add(torch.arange(start, start + 300), torch.ones(300, width))
        assert state_bytes(means) == 1000 * ConditionalMeans.bytes_per_key(width)


# pairs of tokens


def test_pairs_packed_into_one_key_give_the_means_of_the_pairs():
    vocabulary, items = 50_257, 20_000
    generator = torch.Generator().manual_seed(4)
    previous = vocabulary - 1 - torch.randint(40, (items,), generator=generator)
    current = vocabulary - 1 - torch.randint(60, (items,), generator=generator)
    x = torch.randn(items, WIDTH, generator=generator)
    means = collect(previous * vocabulary + current, x, range(0, items, 3000))

    frame = pd.DataFrame(x.double().numpy()).assign(previous=previous.numpy(), current=current.numpy())
    expected = frame.groupby(["previous", "current"]).mean()
    pairs = torch.tensor(expected.index.tolist())
    got, known = means.lookup(pairs[:, 0] * vocabulary + pairs[:, 1])
    assert known.all()
    assert len(means) == len(expected)
    np.testing.assert_allclose(got.numpy(), expected.to_numpy(), rtol=0, atol=1e-6)


def test_means_of_parts_combined_are_those_of_the_whole():
    """Far from zero, where sums would lose digits; with keys that are in one part only, or in none."""
    generator = torch.Generator().manual_seed(0)
    key, x = torch.randint(12, (600,), generator=generator), 1e4 + torch.randn(600, WIDTH, generator=generator)
    key[:200] = key[:200].clamp_max(8)
    wanted = torch.arange(14)
    parts = [collect(key[part], x[part], wanted=wanted) for part in (slice(0, 200), slice(200, 450), slice(450, 600))]
    inside: list[list[torch.Tensor]] = [[], []]  # what each call asks the sum of, from all parts
    for part in parts:
        inside[0].append(part._count.clone())
    count = torch.stack(inside[0]).sum(0)
    for part in parts:
        inside[1].append(part._mean * (part._count / count.clamp_min(1))[:, None])
    mean = torch.stack(inside[1]).sum(0)
    for part in parts:
        sums = iter((count, mean))
        part.combine(lambda tensor, sums=sums: next(sums))
        check(part, key, x, wanted)
    alone = collect(key, x, wanted=wanted)
    before = alone.lookup(wanted)[0]
    alone.combine(lambda tensor: tensor)
    assert torch.equal(alone.lookup(wanted)[0], before)
