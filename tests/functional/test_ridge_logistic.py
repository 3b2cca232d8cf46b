import warnings

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sae_lens_metrics.functional.ridge_logistic import fit_ridge_logistic, log_odds


def examples(n, d, seed, steepness=2.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64) * torch.logspace(0.5, -1.5, d, dtype=torch.float64)
    odds = steepness * x[:, : min(d, 4)].sum(1) + 0.5
    return x, torch.rand(n, generator=generator) < torch.sigmoid(odds)


def scikit_learns(x, y, penalty):
    fitted = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(x.numpy(), y.numpy())
    return torch.tensor([*fitted.coef_[0], fitted.intercept_[0]])


@pytest.mark.parametrize(("n", "d"), [(60, 1), (200, 5), (150, 40), (40, 90)])
@pytest.mark.parametrize("steepness", [0.0, 2.0, 100.0])
def test_every_fit_is_scikit_learns(n, d, steepness):
    x, y = examples(n, d, n + d, steepness)
    penalties = torch.tensor([1e4, 10.0, 1.0, 0.01], dtype=torch.float64)
    used = torch.rand(n, 4, generator=torch.Generator().manual_seed(1)) < 0.8
    weights = fit_ridge_logistic(x, y, used, penalties, tolerance=1e-12)
    for fit, penalty in enumerate(penalties.tolist()):
        expected = scikit_learns(x[used[:, fit]], y[used[:, fit]], penalty)
        torch.testing.assert_close(log_odds(x, weights)[:, fit], x @ expected[:-1] + expected[-1], rtol=1e-4, atol=1e-4)


def test_the_gradient_vanishes_and_the_bias_is_not_penalised():
    x, y = examples(300, 20, 0)
    weights = fit_ridge_logistic(x, y, torch.ones(300, 1, dtype=torch.bool), torch.tensor([3.0], dtype=torch.float64), tolerance=1e-14)
    wrong = torch.sigmoid(log_odds(x, weights)[:, 0]) - y.double()
    assert (x.T @ wrong + 3 * weights[:-1, 0]).abs().max() < 1e-4
    assert wrong.sum().abs() < 1e-4


def test_fits_do_not_depend_on_those_beside_them():
    x, y = examples(100, 10, 2)
    used = torch.ones(100, 3, dtype=torch.bool)
    penalties = torch.tensor([100.0, 1.0, 0.01], dtype=torch.float64)
    together = fit_ridge_logistic(x, y, used, penalties, tolerance=1e-12)
    for fit in range(3):
        alone = fit_ridge_logistic(x, y, used[:, :1], penalties[fit : fit + 1], tolerance=1e-12)
        torch.testing.assert_close(alone[:, 0], together[:, fit], rtol=1e-4, atol=1e-5)


def test_what_is_left_of_the_loss_is_below_the_tolerance():
    x, y = examples(200, 30, 5, steepness=30.0)
    every, penalty = torch.ones(200, 1, dtype=torch.bool), torch.tensor([0.01], dtype=torch.float64)

    def loss(weights):
        odds = log_odds(x, weights)[:, 0]
        return float(torch.nn.functional.softplus(torch.where(y, -odds, odds)).mean() + 0.005 / 200 * weights[:-1].square().sum())

    best = loss(fit_ridge_logistic(x, y, every, penalty, tolerance=1e-14))
    for tolerance in (1e-3, 1e-5, 1e-7):
        assert 0 <= loss(fit_ridge_logistic(x, y, every, penalty, tolerance=tolerance)) - best + 1e-13 < tolerance


def test_columns_of_zeros_and_one_class_end():
    x, _ = examples(50, 3, 1)
    x[:, 1] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weights = fit_ridge_logistic(x, torch.ones(50, dtype=torch.bool), torch.ones(50, 1, dtype=torch.bool), torch.ones(1).double())
    assert weights.isfinite().all()
    assert weights[1] == 0
    assert (log_odds(x, weights) > 5).all()
