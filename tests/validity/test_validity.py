"""Each metric tells an SAE with the true directions from one that was trained for a moment, and that from a random one."""

import pytest
from agreement import directed
from graded_saes import Recipe, oracle, permuted, random_sae, train
from planted_study import PlantedStudy

from sae_lens_metrics.metrics.registry import built_in_metrics

LATENTS, K = 160, 5

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Numbers and truth of each SAE."""
    study = PlantedStudy(tmp_path_factory.mktemp("tasks"), training=512, evaluation=256, tasks=6)
    [(_, trained)] = train(Recipe("topk", K, LATENTS, (250,)), study.training.x)
    saes = {
        "oracle": oracle(*study.training),
        "trained": trained,
        "random": random_sae(study.training.x, LATENTS, k=K),
        "permuted": permuted(trained),
    }
    return {name: study.evaluate(sae) for name, sae in saes.items()}


def values(found, number):
    return {name: each["numbers"][number] for name, each in found.items()}


def test_the_truth_is_in_order(found):
    for truth in ("mcc", "mcc_activations", "mcc_both", "recovery"):
        of = {name: each["truth"][truth] for name, each in found.items()}
        assert of["oracle"] > 0.9
        assert of["oracle"] > of["trained"] + 0.1
        assert of["trained"] > of["random"] + 0.05
    assert found["permuted"]["truth"]["mcc_both"] < 0.5 * found["trained"]["truth"]["mcc_both"]


@pytest.mark.parametrize(
    "number",
    [
        "sanity/explained_variance",
        "probe/loss",
        "probe/held_out_loss",
        "probe/loss_minus_random",
        "n2g/f1",
        "ablation/sparsity",
        "ablation/sparsity_minus_random",
        "shrinkage/ratio",
        "shrinkage/mse_refined",
    ],
)
def test_the_oracle_is_better_than_trained_and_trained_better_than_random(found, number):
    of = {name: directed(number, value) for name, value in values(found, number).items()}
    assert of["oracle"] > of["trained"] > of["random"]


def test_explanations_tell_more_of_what_was_learnt_than_of_random_latents(found):
    """Not more of the oracle's than of the trained SAE's: sixteen examples cannot show all members of a class of 48 tokens."""
    loss = values(found, "explanation/ce_explanation")
    assert max(loss["oracle"], loss["trained"]) < loss["random"] - 0.3
    assert abs(loss["oracle"] - loss["trained"]) < 0.1


def test_every_metric_is_computed(found):
    assert {name.split("/")[0] for name in found["oracle"]["numbers"]} == {"sanity", *built_in_metrics()}


def test_a_permuted_decoder_leaves_probes_and_explanations_as_they_were_and_ruins_the_rest(found):
    for same in ("probe/loss", "probe/held_out_loss", "n2g/f1"):
        assert values(found, same)["permuted"] == pytest.approx(values(found, same)["trained"], abs=1e-6)
    for ruined in ("sanity/ce_reconstructed", "explanation/ce_explanation", "ablation/sparsity", "shrinkage/mse_refined"):
        assert values(found, ruined)["permuted"] > values(found, ruined)["trained"]


def test_the_oracle_neither_shrinks_nor_is_said_to(found):
    assert found["oracle"]["truth"]["true_ratio"] == pytest.approx(1, abs=0.02)
    assert values(found, "shrinkage/ratio")["oracle"] == pytest.approx(1, abs=0.02)
