"""How far examples move a probe's scores: against refits by scikit-learn, and closed forms by NumPy."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sae_lens_metrics.functional.best_probe import best_probes, held_out_influences, held_out_scores
from sae_lens_metrics.functional.example_influence import auc_influence, mean_influence, summed_by_group
from sae_lens_metrics.functional.statistics import ratio_with_error


def examples(n=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3 == 0
    return torch.randn(n, generator=generator, dtype=torch.float64) + 1.2 * y, y


def alone(y):
    """Each example by itself."""
    return torch.arange(len(y))


def probe_of(z, y):
    (best,) = best_probes(lambda wanted: z[:, None][:, wanted], 1, [y], at_once=1)
    return best


def refitted_loss(z, y, weights):
    """The least loss with weighted examples, whose classes keep their shares."""
    weights = weights.clone()
    for members in (y, ~y):
        weights[members] *= members.sum() / weights[members].sum()
    model = LogisticRegression(C=1e10, tol=1e-12, max_iter=10_000).fit(z[:, None].numpy(), y.numpy(), sample_weight=weights.numpy())
    p = model.predict_proba(z[:, None].numpy())[np.arange(len(y)), y.int().numpy()]
    return float(-(weights.numpy() * np.log(p)).mean())


def test_an_example_moves_the_fitted_loss_as_refits_with_more_of_it_say():
    """The envelope theorem: that the probe itself moves too changes nothing to first order."""
    z, y = examples()
    found = probe_of(z, y).influence(y, alone(y))
    for i in (0, 1, 7, 33):
        weights = torch.ones(len(y), dtype=torch.float64)
        weights[i] = 1 + 1e-3
        more = refitted_loss(z, y, weights)
        weights[i] = 1 - 1e-3
        slope = (more - refitted_loss(z, y, weights)) / 2e-3
        m = int((y == y[i]).sum())
        assert float(found[i]) == pytest.approx(slope * (m / (m - 1)) ** 0.5, rel=2e-3, abs=1e-7)


def test_squares_add_up_to_the_error_of_a_stratified_mean():
    values, y = examples(seed=1)
    found = mean_influence(values, y, alone(y))
    expected = sum((m.double().mean() ** 2 * values[m].var() / m.sum()) for m in (y, ~y)).sqrt()
    assert float(found.square().sum().sqrt()) == pytest.approx(float(expected))
    assert float(found[y].sum()) == pytest.approx(0, abs=1e-12)
    assert float(mean_influence(values[:2], torch.tensor([True, False]), torch.arange(2)).abs().sum()) == 0  # one of each class: no spread


def test_of_examples_that_belong_together_the_sums_of_units_give_the_error_of_a_ratio():
    values, y = examples(seed=5)
    units = torch.randint(7, (len(y),), generator=torch.Generator().manual_seed(0))
    found = summed_by_group(mean_influence(values, y, units)[y], units[y], 7)
    counts = units[y].bincount(minlength=7)
    expected = ratio_with_error(torch.zeros(7, dtype=torch.float64).index_add(0, units[y], values[y]), counts).stderr
    assert float(found.square().sum().sqrt()) == pytest.approx(expected * float(y.double().mean()))
    assert float(mean_influence(values, y, torch.zeros_like(units)).abs().max()) == 0  # all of one unit: no spread
    area = summed_by_group(auc_influence(values, y, units)[~y], units[~y], 7)
    below = (values[y][:, None] > values[~y]).double().mean(0)
    sums = torch.zeros(7, dtype=torch.float64).index_add(0, units[~y], below)
    assert float(area.square().sum().sqrt()) == pytest.approx(ratio_with_error(sums, units[~y].bincount(minlength=7)).stderr)


def test_squares_add_up_to_the_error_of_an_area_by_delong():
    z, y = examples(seed=2)
    z = (z * 4).round()  # with ties
    pairs = (z[y][:, None] > z[~y]).double() + 0.5 * (z[y][:, None] == z[~y]).double()
    expected = (pairs.mean(1).var() / y.sum() + pairs.mean(0).var() / (~y).sum()).sqrt()
    found = auc_influence(z, y, alone(y))
    assert float(found.square().sum().sqrt()) == pytest.approx(float(expected))
    assert torch.allclose(auc_influence(-z, y, alone(y)), -found)


def test_removing_an_example_moves_held_out_scores_by_its_influence():
    z, y = examples(n=402, seed=3)
    scores, found = held_out_scores(z, y, 400), held_out_influences(z, y, 400, alone(y))
    losses, correct = torch.nn.functional.softplus(torch.where(y, -z, z)), ((z > 0) == y).double()
    for i in (0, 5, 300):
        kept = torch.arange(len(y)) != i
        for key, values in (("loss", losses), ("accuracy", correct)):
            without = sum(members.double().mean() * values[kept & members].mean() for members in (y, ~y))
            assert getattr(scores, key) - float(without) == pytest.approx(float(getattr(found, key)[i]), rel=0.02, abs=1e-9)
        assert scores.auc - held_out_scores(z[kept], y[kept], 400).auc == pytest.approx(float(found.auc[i]), rel=0.02, abs=1e-9)


def test_separable_examples_move_nothing():
    z, y = torch.tensor([0.0, 1.0, 5.0, 6.0]), torch.tensor([False, False, True, True])
    best = probe_of(z, y)
    assert best.loss == 0
    assert float(best.influence(y, alone(y)).abs().max()) < 1e-6


def test_it_depends_on_neither_units_nor_order():
    z, y = examples(seed=4)
    found = probe_of(z, y).influence(y, alone(y))
    assert torch.allclose(probe_of(1000 - 37 * z, y).influence(y, alone(y)), found, atol=1e-7)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(probe_of(z[order], y[order]).influence(y[order], alone(y)), found[order], atol=1e-7)


def test_sums_by_group():
    assert summed_by_group(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([3, 0, 3]), 5).tolist() == [2, 0, 0, 5, 0]
