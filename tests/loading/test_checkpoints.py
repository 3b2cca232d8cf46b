"""Checkpoints of training are the inference SAEs that SAELens would have saved at that moment."""

import copy
import json
import re
from importlib.resources import files
from itertools import product

import pytest
import torch
from offline_wandb import fresh_wandb, history
from page_parts import parts_of
from sae_lens import SAE
from saes import D_IN, HOOK, TRAINING_CONFIGS, training_sae
from slow import slow_but

from sae_lens_metrics import Report, load_pretrained
from sae_lens_metrics.cli.main import main
from sae_lens_metrics.demo.shipped import SHIPPED_SAES
from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.saelens import ACTIVATION_SCALER_CFG_FILENAME, ActivationScaler, get_sae_lens_config_from_disk
from sae_lens_metrics.loading.checkpoints import is_checkpoint, load_checkpoint, training_moment
from sae_lens_metrics.results.history import histories_of
from sae_lens_metrics.text.standard_library import standard_library_documents

NORMALIZATIONS = ("none", "layer_norm", "constant_norm_rescale", "expected_average_only_in", "covariance_whitening")


def activations(n=256):
    generator = torch.Generator().manual_seed(1)
    return 3 * torch.randn(n, D_IN, generator=generator) @ torch.randn(D_IN, D_IN, generator=generator) / D_IN**0.5 + 1


def scaler_of(normalization):
    """As SAELens's trainer estimates it."""
    scaler = ActivationScaler()
    batches = iter(activations(2048).split(256))
    if normalization == "expected_average_only_in":
        scaler.estimate_scaling_factor(D_IN, batches, 8)
    elif normalization == "covariance_whitening":
        scaler.estimate_whitening(D_IN, batches, 8)
    return scaler


def checkpoint(folder, architecture, normalization, **kwargs):
    """Writes a checkpoint as SAELens's trainer does; returns the SAE and its scaler."""
    sae, scaler = training_sae(architecture, normalize=normalization, **kwargs), scaler_of(normalization)
    folder.mkdir(parents=True)
    sae.save_model(folder)
    scaler.save(str(folder / ACTIVATION_SCALER_CFG_FILENAME))
    return sae, scaler


def saved_at_the_end(sae, scaler, folder):
    """What SAELens itself writes and reads when a run ends at this moment."""
    sae = copy.deepcopy(sae)
    if scaler.scaling_factor is not None:
        sae.fold_activation_norm_scaling_factor(scaler.scaling_factor)
    if scaler.whitening is not None:
        white = scaler.whitening
        sae.fold_activation_whitening(mean=white.mean, whitening_matrix=white.matrix, unwhitening_matrix=white.inverse_matrix)
    sae.save_inference_model(folder)
    return SAE.load_from_disk(folder)


PRODUCT = [pair for pair in product(TRAINING_CONFIGS, NORMALIZATIONS) if pair != ("matching_pursuit", "covariance_whitening")]
"""Without what SAELens cannot save either: the steps of matching pursuit are not those of the raw activations."""


@pytest.mark.parametrize(("architecture", "normalization"), slow_but(PRODUCT, lambda pair: pair[1] == "expected_average_only_in"))
def test_is_what_the_run_would_have_saved(architecture, normalization, tmp_path):
    sae, scaler = checkpoint(tmp_path / "600", architecture, normalization)
    expected = saved_at_the_end(sae, scaler, tmp_path / "end")
    loaded = load_checkpoint(tmp_path / "600", device="cpu", dtype="float32")
    assert type(loaded) is type(expected)
    x = activations()
    with torch.no_grad():
        assert torch.allclose(loaded.encode(x), expected.encode(x), rtol=1e-5, atol=1e-5)
        assert torch.allclose(loaded(x), expected(x), rtol=1e-5, atol=1e-4)
        assert (expected.encode(x) > 0).any()
    assert is_checkpoint(get_sae_lens_config_from_disk(tmp_path / "600"))
    assert not is_checkpoint(get_sae_lens_config_from_disk(tmp_path / "end"))


def test_what_is_no_checkpoint():
    for name in SHIPPED_SAES:
        assert not is_checkpoint(get_sae_lens_config_from_disk(str(files("sae_lens_metrics.demo") / "saes" / name)))
    old = {"architecture": "standard", "d_in": 4, "d_sae": 8, "l1_coefficient": 1.0, "normalize_activations": "none"}
    assert not is_checkpoint(old)  # the format of SAELens 5 and before
    assert not is_checkpoint({"architecture": "somebody_elses", "metadata": {}, "l1_coefficient": 1.0})
    assert not is_checkpoint({"architecture": None, "metadata": {}})


@pytest.mark.parametrize("normalization", ["expected_average_only_in", "covariance_whitening"])
@pytest.mark.parametrize("lack", ["file", "value"])
def test_a_scaler_that_is_missing_is_refused(normalization, lack, tmp_path, model):
    folder = tmp_path / "600"
    checkpoint(folder, "standard", normalization)
    file = folder / ACTIVATION_SCALER_CFG_FILENAME
    file.unlink()
    if lack == "value":
        ActivationScaler().save(str(file))  # as of a run that was stopped before it had measured it
    said = "there is no such file" if lack == "file" else "it is not in that file"
    with pytest.raises(SubjectError, match=f"normalize_activations='{normalization}'.*activation_scaler.json beside it, and {said}"):
        load_pretrained(str(folder), model=model)


def test_a_run_is_evaluated_checkpoint_by_checkpoint(tmp_path, capsys, monkeypatch):
    """From the command line, in the order of training, the last one with what the trainer has folded in by then; page and W&B draw it."""
    fresh_wandb(tmp_path / "wandb", monkeypatch)
    run, texts, out = tmp_path / "run", tmp_path / "texts.jsonl", tmp_path / "out"
    for samples in (1000, 600):
        checkpoint(run / str(samples), "batchtopk", "expected_average_only_in", seed=samples, hook=HOOK)
    checkpoint(run / "final_1200", "batchtopk", "none", hook=HOOK)
    for folder in run.iterdir():  # beside it, as SAELens writes it
        (folder / "runner_cfg.json").write_text(json.dumps({"train_batch_size_tokens": 100}))
    rows = zip(range(150), standard_library_documents("train"), strict=False)
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for _, text in rows))
    tiny = str(files("sae_lens_metrics.demo") / "tiny_lm")
    settings = ["--metrics", "shrinkage", "--tokens", "1024", "--shrinkage.tokens", "512", "--output", str(out), "--wandb-project", "tests"]
    assert main(["evaluate", str(run), "--model", tiny, "--dataset", str(texts), *settings]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"600.*1000.*final_1200", printed, flags=re.S)
    written = [file.read_text() for file in out.glob("*.json")]
    assert len(written) == 3
    assert all('"jumprelu"' in text and "batchtopk" not in text for text in written)

    reports = {file.stem: Report.load(file) for file in out.glob("*.json")}
    (curve,) = histories_of(reports).values()
    assert [(point.samples, point.step, point.final) for point in curve.points] == [(600, 6, False), (1000, 10, False), (1200, 12, True)]
    figures = json.loads(parts_of(out / "report.html")["figures"])
    assert "training/shrinkage_ratio" in {figure["name"] for figure in figures}
    logged = dict(history(tmp_path / "wandb"))
    assert list(logged) == [6, 10, 12]
    assert [float(item["shrinkage/ratio"]) for item in logged.values()] == [point.values["shrinkage/ratio"] for point in curve.points]


def test_which_moment_of_which_run(tmp_path):
    """SAELens puts its configuration beside an only SAE, and above the folders of several, whatever these are called."""
    one, several = tmp_path / "71817963" / "1280", tmp_path / "a" / "final_3072" / "7"
    for folder in (one, several):
        folder.mkdir(parents=True)
    for folder in (one, several.parent):
        (folder / "runner_cfg.json").write_text('{"train_batch_size_tokens": 256}')
    assert training_moment(one) == {"run": str(one.parent), "sae": None, "n_training_samples": 1280, "step": 5, "final": False}
    expected = {"run": str(tmp_path / "a"), "sae": "7", "n_training_samples": 3072, "step": 12, "final": True}
    assert training_moment(several) == expected
    (one / "runner_cfg.json").write_text("{")
    assert training_moment(one)["step"] == 1280  # steps nobody knows are counted in activations
    assert training_moment(tmp_path / "a") is None
