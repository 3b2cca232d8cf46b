"""The truth about SAEs, and agreement with it, against closed forms and SciPy."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from agreement import agreement, directed, judged_numbers
from ground_truth import World, truths
from scipy.stats import spearmanr

from sae_lens_metrics.metrics.registry import built_in_metrics


def test_rho_is_scipys_and_lies_in_its_interval():
    rng = np.random.default_rng(0)
    truth = {f"{i}": float(value) for i, value in enumerate(rng.random(20))}
    scores = {name: value + float(noise) for (name, value), noise in zip(truth.items(), rng.normal(size=20) / 5, strict=True)}
    found = agreement(scores, truth)
    assert found.rho == pytest.approx(spearmanr(list(scores.values()), list(truth.values())).statistic)
    assert found.low < found.rho < found.high
    assert found.n == 20
    assert agreement(scores, truth) == found  # the same resamples


def test_the_interval_covers_what_another_draw_of_saes_would_give():
    rng = np.random.default_rng(1)
    population = spearmanr(*_correlated(rng, 100_000)).statistic
    covered = 0
    for _ in range(60):
        a, b = _correlated(rng, 24)
        found = agreement(dict(enumerate(a.tolist())), dict(enumerate(b.tolist())))
        covered += found.low <= population <= found.high
    assert covered >= 50  # of 57 expected


def _correlated(rng, n):
    truth = rng.normal(size=n)
    return truth + rng.normal(size=n), truth


def test_what_cannot_be_judged_is_none():
    assert agreement({"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 2.0}) is None
    assert agreement({str(i): 1.0 for i in range(9)}, {str(i): float(i) for i in range(9)}) is None
    assert agreement({str(i): float(i) for i in range(9)}, {str(i): None for i in range(9)}) is None


def test_numbers_are_turned_so_that_more_is_better():
    numbers = judged_numbers(built_in_metrics())
    assert sum(numbers.values()) == len(built_in_metrics())  # every headline says which way it is better
    assert directed("probe/loss", 0.25) == -0.25
    assert directed("n2g/f1", 0.25) == 0.25
    assert directed("shrinkage/ratio", 0.75) == directed("shrinkage/ratio", 1.25) == -0.25


@pytest.fixture
def world():
    """Orthonormal directions."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(500, 6, generator=generator) * (torch.rand(500, 6, generator=generator) < 0.3)
    directions = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    return World(features @ directions, features, directions, torch.zeros(6))


def dictionary(encoder, decoder):
    return SimpleNamespace(encode=lambda x: (x @ encoder).relu(), decoder=decoder)


def test_the_true_dictionary_is_true(world):
    found = truths(dictionary(world.directions.T, world.directions), world)
    assert found == pytest.approx(dict.fromkeys(found, 1.0), abs=1e-4)


def test_units_of_latents_do_not_matter_and_shrinkage_is_found(world):
    found = truths(dictionary(world.directions.T * 0.8 * 5, world.directions / 5), world)
    assert found["mcc_both"] == pytest.approx(1, abs=1e-4)
    assert found["true_ratio"] == pytest.approx(1 / 0.8, abs=1e-4)


def test_a_permuted_decoder_writes_what_it_does_not_read(world):
    found = truths(dictionary(world.directions.T, world.directions.roll(1, 0)), world)
    assert found["mcc"] == pytest.approx(1, abs=1e-4)
    assert found["mcc_activations"] == pytest.approx(1, abs=1e-4)
    assert found["mcc_both"] < 0.1
    assert found["true_ratio"] is None


def test_half_of_the_features_are_half_recovered(world):
    found = truths(dictionary(world.directions[:3].T, world.directions[:3]), world)
    frequency = (world.features > 0).float().mean(0)
    assert found["mcc"] == pytest.approx(1, abs=1e-4)  # of those that are matched
    assert found["recovery"] == pytest.approx(float(frequency[:3].sum() / frequency.sum()), abs=1e-3)
