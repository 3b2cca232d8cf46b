"""SAEs that SAELens trained on the real language model: the paper's findings in small."""

import numpy as np
import pytest
from datasets import Dataset
from scipy.optimize import nnls

from sae_lens_metrics import Corpus, MetricsConfig, evaluate
from sae_lens_metrics.demo.shipped import SHIPPED_SAES
from sae_lens_metrics.functional.refinement import kkt_residual, refine_activations
from sae_lens_metrics.metrics.probe.spec import ProbeConfig
from sae_lens_metrics.text.standard_library import standard_library_documents


@pytest.fixture(scope="module")
def held_out(trained):
    rows = Dataset.from_dict({"text": list(standard_library_documents("held_out"))[:40]})
    return Corpus.from_dataset(rows, trained["TopK"], tokens=4_096)


@pytest.fixture(scope="module")
def reports(trained, held_out):
    config = MetricsConfig(names=["probe", "shrinkage"], probe=ProbeConfig(tasks=["base64", "camel_case", "inside_comment"], examples=300))
    return {name: evaluate(subject, held_out, config) for name, subject in trained.items()}


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


@pytest.mark.parametrize("name", SHIPPED_SAES)
def test_the_optimum_is_that_of_nnls_on_real_tokens(name, trained, held_out):
    subject = trained[name]
    x = next(held_out.activations(subject, 4, progress="")).x[:300]
    z = subject.dictionary.encode(x)
    _, offset = subject.dictionary.scale_and_offset(x)
    target = x - offset
    refined = refine_activations(target, subject.dictionary.decoder, z)
    ours = (target - refined @ subject.dictionary.decoder).double().square().sum(1).numpy()
    rows = subject.dictionary.decoder.double().numpy()
    theirs = np.array([nnls(rows[z[i].nonzero()[:, 0].numpy()].T, target[i].double().numpy())[1] ** 2 for i in range(len(x))])
    assert (ours <= theirs * (1 + 1e-5) + 1e-9).all()
    assert float(kkt_residual(target, subject.dictionary.decoder, z, refined).max()) < 1e-5


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
