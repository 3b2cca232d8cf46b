"""SAEs that SAELens trained on the real language model: the paper's findings in small."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from runners import single_runner
from sae_lens import StandardTrainingSAEConfig, TopKTrainingSAEConfig
from scipy.optimize import nnls

from sae_lens_metrics import Corpus, MetricsConfig, Subject, evaluate
from sae_lens_metrics.config import ProbeConfig
from sae_lens_metrics.demo.text import standard_library_documents
from sae_lens_metrics.functional.refinement import kkt_residual, refine_activations

SAES = {
    "L1": StandardTrainingSAEConfig(
        d_in=128, d_sae=512, l1_coefficient=2.5, l1_warm_up_steps=50, normalize_activations="expected_average_only_in"
    ),
    "TopK": TopKTrainingSAEConfig(d_in=128, d_sae=512, k=16, normalize_activations="expected_average_only_in"),
}


@pytest.fixture(scope="module")
def subjects(model, dataset, tmp_path_factory):
    training = {
        "training_tokens": 150_000,
        "train_batch_size_tokens": 512,
        "n_batches_in_buffer": 32,
        "store_batch_size_prompts": 16,
        "lr": 3e-3,
        "dead_feature_window": 50,
        "feature_sampling_window": 50,
        "exclude_special_tokens": True,
    }
    torch.manual_seed(0)
    trained = {name: single_runner(tmp_path_factory.mktemp(name), model, dataset, sae=sae, **training).run() for name, sae in SAES.items()}
    return {name: Subject(model, sae) for name, sae in trained.items()}


@pytest.fixture(scope="module")
def held_out(subjects):
    rows = Dataset.from_dict({"text": list(standard_library_documents("held_out"))[:40]})
    return Corpus.from_dataset(rows, subjects["TopK"], tokens=8_192)


@pytest.fixture(scope="module")
def reports(subjects, held_out):
    config = MetricsConfig(probe=ProbeConfig(tasks=["base64", "camel_case", "inside_comment"], examples=300))
    return {name: evaluate(subject, held_out, config) for name, subject in subjects.items()}


def test_an_l1_penalty_shrinks_activations_and_topk_does_not(reports):
    l1, topk = (reports[name].metrics["shrinkage"].estimates["ratio"] for name in ("L1", "TopK"))
    assert l1.value > 1.2
    assert abs(topk.value - 1) < 0.05
    assert l1.value - topk.value > 10 * (l1.stderr**2 + topk.stderr**2) ** 0.5
    assert reports["L1"].flat()["shrinkage/gamma"] < 0.95 < reports["TopK"].flat()["shrinkage/gamma"]


def test_refinement_lowers_error_and_loss(reports):
    for report in reports.values():
        flat = report.flat()
        assert flat["shrinkage/mse_refined"] < flat["shrinkage/mse_raw"]
        assert flat["shrinkage/ce_gained"] > 3 * flat["shrinkage/ce_gained_stderr"]
        assert flat["shrinkage/kkt_residual"] < 1e-5


@pytest.mark.parametrize("name", SAES)
def test_the_optimum_is_that_of_nnls_on_real_tokens(name, subjects, held_out):
    subject = subjects[name]
    x = next(held_out.activations(subject, 4, progress="")).x[:300]
    z = subject.encode(x)
    _, offset = subject.scale_and_offset(x)
    target = x - offset
    refined = refine_activations(target, subject.decoder, z)
    ours = (target - refined @ subject.decoder).double().square().sum(1).numpy()
    rows = subject.decoder.double().numpy()
    theirs = np.array([nnls(rows[z[i].nonzero()[:, 0].numpy()].T, target[i].double().numpy())[1] ** 2 for i in range(len(x))])
    assert (ours <= theirs * (1 + 1e-5) + 1e-9).all()
    assert float(kkt_residual(target, subject.decoder, z, refined).max()) < 1e-5


def test_latents_beat_channels_on_features_of_code(reports):
    for report in reports.values():
        rows = {row["task"]: row for row in report.metrics["probe"].tables["tasks"]}
        assert rows["base64"]["held_out_accuracy"] > 0.95
        assert all(row["loss"] <= row["shuffled_loss"] for row in rows.values())
        assert report.flat()["probe/loss_minus_channels"] < 0


def test_the_sanity_line_is_quiet_about_good_saes(reports):
    for report in reports.values():
        assert report.warnings == []
        assert report.flat()["sanity/explained_variance"] > 0.5
