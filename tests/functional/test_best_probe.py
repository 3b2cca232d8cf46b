"""The chunked search against scikit-learn and closed forms."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from sae_lens_metrics.functional.best_probe import best_probes, held_out
from sae_lens_metrics.functional.probing import ProbeInputError, fit_logistic_1d


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(60, generator=generator) < 0.4
    return torch.randn(60, 50, generator=generator) + torch.rand(50, generator=generator) * y[:, None], y


def scikit_learn(z, y):
    """Loss of the unpenalised fit, and the fitted model, of a column."""
    values = z[:, None].double().numpy()
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(values, y.numpy())
    return log_loss(y.numpy(), fitted.predict_proba(values)), fitted


@pytest.mark.parametrize("at_once", [1, 7, 50, 1000])
def test_the_best_is_the_best_over_all_by_scikit_learn(data, at_once):
    z, y = data
    other = y.flip(0)
    asked = []

    def columns(wanted):
        asked.append(wanted)
        return z[:, wanted]

    for best, labels in zip(best_probes(columns, 50, [y, other], at_once=at_once), (y, other), strict=True):
        losses = [scikit_learn(z[:, i], labels)[0] for i in range(50)]
        assert best.index == int(np.argmin(losses))
        assert best.loss == pytest.approx(min(losses), abs=1e-6)
        fitted = scikit_learn(z[:, best.index], labels)[1]
        assert best.weight == pytest.approx(fitted.coef_[0, 0], rel=1e-3)
        assert best.bias == pytest.approx(fitted.intercept_[0], rel=1e-3)
    # the labellings share what is computed, and nothing is computed twice
    assert [i for wanted in asked for i in range(50)[wanted]] == list(range(50))
    assert all(wanted.stop - wanted.start <= at_once for wanted in asked)


def test_held_out_scores_are_scikit_learns(data):
    z, y = data
    (best,) = best_probes(lambda wanted: z[:30, wanted], 50, [y[:30]], at_once=8)
    fitted = scikit_learn(z[:30, best.index], y[:30])[1]
    values, labels = z[30:, best.index : best.index + 1].double().numpy(), y[30:].numpy()
    scores = held_out(best, z[30:, best.index], y[30:], 30)
    certain = 1 / 32
    assert scores.loss == pytest.approx(log_loss(labels, fitted.predict_proba(values).clip(certain, 1 - certain)), abs=1e-4)
    assert scores.accuracy == pytest.approx(fitted.score(values, labels))
    assert scores.auc == pytest.approx(roc_auc_score(labels, fitted.decision_function(values)))


def test_of_equal_candidates_the_first_is_chosen_whatever_the_chunks(data):
    z, y = data
    separating = torch.where(y, 1.0, -1.0)
    z = torch.stack([z[:, 0], z[:, 1], separating, z[:, 2], separating * 3, separating], 1)
    for at_once in (1, 2, 3, 6):
        (best,) = best_probes(lambda wanted: z[:, wanted], 6, [y], at_once=at_once)
        assert (best.index, best.loss) == (2, 0.0)


def test_a_mistake_on_held_out_examples_is_never_infinitely_bad():
    z = torch.tensor([-2.0, -1.0, 1.0, 2.0])[:, None]
    (best,) = best_probes(lambda wanted: z, 1, [torch.tensor([False, False, True, True])], at_once=1)
    assert best.loss == 0
    scores = held_out(best, torch.tensor([-1.5, 1.5, 3.0, -3.0]), torch.tensor([False, True, False, True]), 4)  # two mistakes
    right, wrong = -math.log(5 / 6), -math.log(1 / 6)
    assert scores.loss == pytest.approx((2 * right + 2 * wrong) / 4, rel=1e-6)
    assert scores.accuracy == 0.5


def test_what_luck_gives():
    """Labels that mean nothing: the fitted minimum is below the entropy by as much for any candidates, the held-out loss is not."""
    generator = torch.Generator().manual_seed(1)
    luck = []
    for _ in range(8):
        y = torch.randperm(200, generator=generator) < 100
        z = torch.randn(200, 1000, generator=generator)
        (best,) = best_probes(lambda wanted, z=z: z[:100, wanted], 1000, [y[:100]], at_once=256)
        luck.append((best.loss, held_out(best, z[100:, best.index], y[100:], 100).loss))
        assert best.loss == pytest.approx(float(fit_logistic_1d(z[:100], y[:100]).loss.min()))
    fitted, tested = torch.tensor(luck).mean(0).tolist()
    # twice n times what is gained is chi-squared of one degree of freedom, of which the largest of 1000 is about 10.8
    assert fitted == pytest.approx(math.log(2) - 10.8 / 200, abs=0.02)
    assert tested > math.log(2)


def test_a_value_that_is_not_finite(data):
    z, y = data
    z = z.clone()
    z[3, 40] = torch.nan
    with pytest.raises(ProbeInputError, match="not finite"):
        best_probes(lambda wanted: z[:, wanted], 50, [y], at_once=16)
