import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegressionCV
from sklearn.preprocessing import StandardScaler

from sae_lens_metrics.functional.dense_probe import PENALTIES, fit_dense_probe


def examples(n, d, seed=0, noise=1.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator) @ torch.randn(d, d, generator=generator) * torch.logspace(1, -1, d) + 3
    score = (x[:, 0] - 3) / x[:, 0].std() + (x[:, 1] - 3) / x[:, 1].std()
    return x, score + noise * torch.randn(n, generator=generator) > 0


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("n", "d", "noise"), [(200, 10, 1.0), (100, 150, 1.0), (200, 20, 0.0)])
def test_it_is_scikit_learns_with_cross_validation(n, d, noise):
    x, y = examples(n, d, noise=noise)
    folds = torch.arange(n) % 5
    splits = [(np.nonzero(folds.numpy() != fold)[0], np.nonzero(folds.numpy() == fold)[0]) for fold in range(5)]
    scaler = StandardScaler().fit(x.double().numpy())
    z = scaler.transform(x.double().numpy())
    choices = LogisticRegressionCV(
        Cs=[1 / penalty for penalty in PENALTIES], cv=splits, scoring="neg_log_loss", tol=1e-8, max_iter=10_000, l1_ratios=(0,)
    ).fit(z, y.numpy())
    probe = fit_dense_probe(x, y, folds)
    assert probe.penalty == pytest.approx(1 / float(np.ravel(choices.C_)[0]))
    np.testing.assert_allclose(probe.log_odds(x).numpy(), choices.decision_function(z), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("n", "d"), [(120, 8), (60, 100)])
def test_neither_units_nor_offsets_of_channels_nor_their_order_matter(n, d):
    x, y = examples(n, d)
    folds = torch.arange(n) % 5
    order = torch.randperm(d, generator=torch.Generator().manual_seed(0))
    other = (x * torch.logspace(-2, 3, d) - 7)[:, order]
    probe, moved = fit_dense_probe(x, y, folds), fit_dense_probe(other, y, folds)
    assert probe.penalty == moved.penalty
    torch.testing.assert_close(moved.log_odds(other), probe.log_odds(x), rtol=1e-2, atol=1e-2)


def test_a_constant_channel_gets_no_weight():
    x, y = examples(100, 6)
    x[:, 3] = 2.5
    probe = fit_dense_probe(x, y, torch.arange(100) % 5)
    assert probe.weight[3] == 0
    assert probe.log_odds(x).isfinite().all()


@pytest.mark.parametrize("d", [3, 60])
def test_channels_that_are_all_constant_leave_the_labels_log_odds(d):
    y = torch.arange(40) % 4 == 0
    probe = fit_dense_probe(torch.full((40, d), 1.5), y, torch.arange(40) // 8)
    assert not probe.weight.any()
    np.testing.assert_allclose(probe.log_odds(torch.full((2, d), 1.5)).numpy(), np.log(1 / 3), atol=1e-3)


def test_without_information_the_probe_says_little():
    """A large penalty is chosen, so that the log-odds stay near those of the labels."""
    x, _ = examples(200, 60)
    y = torch.rand(200, generator=torch.Generator().manual_seed(8)) < 0.5
    probe = fit_dense_probe(x, y, torch.arange(200) % 5)
    assert probe.penalty >= 1e3
    assert probe.log_odds(x).abs().mean() < 0.5


def test_folds_keep_a_penalty_from_being_chosen_by_copies():
    """Each example is there five times: folds of examples see their copies, folds of groups do not."""
    x, _ = examples(40, 30, seed=1)
    y = torch.rand(40, generator=torch.Generator().manual_seed(2)) < 0.5
    group = torch.arange(200) // 5
    apart = fit_dense_probe(x[group], y[group], torch.arange(200) % 5)
    together = fit_dense_probe(x[group], y[group], group % 5)
    assert together.penalty > 100 * apart.penalty
