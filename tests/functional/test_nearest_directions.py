"""Nearest directions, changes of a vocabulary, mean slopes and correlations, each against NumPy or brute force."""

import numpy as np
import pytest
import torch

from sae_lens_metrics.functional.mean_jacobian import mean_jacobian
from sae_lens_metrics.functional.nearest_directions import nearest_directions
from sae_lens_metrics.functional.pair_correlation import PairCorrelation
from sae_lens_metrics.functional.vocabulary_changes import vocabulary_changes


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosines(a, b):
    return (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T


@pytest.mark.parametrize("at_once", [2**11, 2**15, 10**6])
@pytest.mark.parametrize("other", [False, True])
def test_nearest_are_those_of_all_cosines(at_once, other):
    rows, others = drawn(37, 8), drawn(600, 8, seed=1)
    found = nearest_directions(rows, others if other else rows, first=None if other else 0, k=3, at_once=at_once)
    expected = cosines(rows.numpy(), (others if other else rows).numpy())
    if not other:
        np.fill_diagonal(expected, -2)
    assert found.cosine.numpy() == pytest.approx(-np.sort(-expected, axis=1)[:, :3], abs=1e-6)
    assert np.take_along_axis(expected, found.which.numpy(), 1) == pytest.approx(found.cosine.numpy(), abs=1e-6)
    if not other:  # some rows of those that are looked among
        part = nearest_directions(rows[10:20], rows, first=10, k=3, at_once=at_once)
        assert part.which.tolist() == found.which[10:20].tolist()


def test_nearest_of_rows_that_have_no_length_or_no_others():
    rows = torch.tensor([[0.0, 0.0], [3.0, 0.0], [5.0, 0.0]])
    found = nearest_directions(rows, rows, first=0)
    assert found.cosine[:, 0].tolist() == [0.0, 1.0, 1.0]
    assert found.which[1:, 0].tolist() == [2, 1]
    assert nearest_directions(rows[:1], rows[:1], first=0, k=4).which.shape == (1, 0)


def test_cosines_do_not_depend_on_length():
    rows, factors = drawn(20, 5), drawn(20, 1, seed=1).exp()
    own, other = (nearest_directions(each, each, first=0).cosine for each in (rows, rows * factors))
    assert other == pytest.approx(own, abs=1e-6)


@pytest.mark.parametrize("at_once", [1, 1_000, 10**6])
def test_changes_of_a_vocabulary(at_once):
    rows, weight = drawn(9, 4), drawn(4, 700, seed=1)
    found = vocabulary_changes(rows, lambda part: part @ weight, 700, shown=2, at_once=at_once)
    logits = (rows @ weight).double().numpy()
    centred = logits - logits.mean(1, keepdims=True)
    order = np.argsort(centred, axis=1)
    assert found.mean.numpy() == pytest.approx(logits.mean(1), abs=1e-6)
    assert found.sd.numpy() == pytest.approx(logits.std(1), rel=1e-5)
    assert found.tokens[:, 0].tolist() == order[:, :-3:-1].tolist()
    assert found.tokens[:, 1].tolist() == order[:, :2].tolist()
    assert found.by.numpy() == pytest.approx(np.take_along_axis(centred, found.tokens.flatten(1).numpy(), 1).reshape(9, 2, 2), abs=1e-5)


def test_no_directions_change_nothing():
    found = vocabulary_changes(drawn(0, 4), lambda part: part @ drawn(4, 700), 700, shown=2)
    assert [tuple(each.shape) for each in found] == [(0, 2, 2), (0, 2, 2), (0,), (0,)]


@pytest.mark.parametrize("parts", [1, 7])
def test_correlations_are_numpys(parts):
    a, b = drawn(400, 6).relu(), drawn(400, 6, seed=1).relu()
    b[:, 0], b[:, 1], b[:, 2] = a[:, 0] * 7, 0.3, a[:, 2] + 0.1 * b[:, 2]
    both = [PairCorrelation(6, torch.device("cpu")) for _ in range(2)]
    for i, (one, other) in enumerate(zip(a.chunk(parts), b.chunk(parts), strict=True)):
        both[i % 2].add(one, other)
    sums = PairCorrelation.joined(both)
    expected = [np.corrcoef(a[:, i], b[:, i])[0, 1] if i != 1 else np.nan for i in range(6)]
    assert sums.value().numpy() == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert sums.value()[0] == pytest.approx(1)


@pytest.mark.parametrize("at_once", [1, 100, 10**6])
def test_a_mean_slope_is_that_of_small_changes(at_once):
    norm = torch.nn.LayerNorm(5).double()
    norm.weight.data, norm.bias.data = drawn(5).double(), drawn(5, seed=1).double()
    points = drawn(11, 5, seed=2).double()
    small = 1e-6 * torch.eye(5).double()
    with torch.no_grad():
        columns = [(norm(points + each) - norm(points - each)).mean(0) / 2e-6 for each in small]
    assert mean_jacobian(norm, points, at_once=at_once).numpy() == pytest.approx(torch.stack(columns, 1).numpy(), abs=1e-6)
