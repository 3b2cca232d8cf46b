"""The study on SAELens's synthetic activations, with the SAE that knows the features and one that knows nothing."""

import pytest
import torch
from graded_saes import oracle, random_sae
from synthetic_study import SyntheticStudy


@pytest.fixture(scope="module")
def study():
    return SyntheticStudy(training=4_096, evaluation=4_096, tasks=3)


def test_activations_are_sums_of_features_and_the_global_generator_is_put_back(study):
    before = torch.get_rng_state()
    again = SyntheticStudy(training=64, evaluation=64, tasks=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(again.seen.x, again.seen.features @ again.seen.directions + again.seen.bias)
    assert torch.equal(again.seen.directions, study.seen.directions)


def test_the_oracle_is_better_than_a_random_dictionary(study):
    best = study.evaluate(oracle(*study.training))["numbers"]
    worst = study.evaluate(random_sae(study.training.x, 160, k=5))["numbers"]
    for number in ("probe/loss", "probe/held_out_loss", "shrinkage/mse_raw", "shrinkage/mse_refined"):
        assert best[number] < worst[number] - 0.1
    assert abs(best["shrinkage/ratio"] - 1) < abs(worst["shrinkage/ratio"] - 1)
    assert best["shrinkage/mse_refined"] <= best["shrinkage/mse_raw"]
