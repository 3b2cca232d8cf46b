"""The metrics on a real model, against slow references and closed forms."""

import dataclasses

import numpy as np
import pytest
import torch
from datasets import Dataset
from saes import D_IN, D_SAE, SUPPORTED, training_sae
from scipy.optimize import nnls

from sae_lens_metrics import Corpus, MetricsConfig, Subject, evaluate, register_metric
from sae_lens_metrics.errors import ConfigError, CorpusError
from sae_lens_metrics.metrics.ablation.spec import AblationConfig
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.metrics.probe.spec import ProbeConfig
from sae_lens_metrics.metrics.registry import get_metric, metric_names
from sae_lens_metrics.metrics.sanity.compute import sanity_warnings
from sae_lens_metrics.metrics.shrinkage.spec import ShrinkageConfig
from sae_lens_metrics.subject.inference_sae import inference_sae
from sae_lens_metrics.subject.site import Site
from sae_lens_metrics.text.standard_library import standard_library_documents
from sae_lens_metrics.text.tokenization import Tokenization, token_store

PROBE = ProbeConfig(tasks=["base64", "inside_string", "true_sum"], examples=80)
LITTLE = MetricsConfig(probe=PROBE, n2g=N2GConfig(max_length=4), ablation=AblationConfig(sequences=12, positions=4, latents=8, baselines=4))


@pytest.fixture(scope="module")
def corpus(tokens):
    return Corpus.from_tokens(tokens[:16])


def subject_of(model, architecture="topk", **kwargs):
    return Subject(model, training_sae(architecture, **kwargs))


def orthonormal(model, scale=0.5):
    """An SAE whose decoder is orthonormal and whose encoder gives ``scale`` times the best values; latents come in ± pairs."""
    sae = inference_sae(training_sae("standard", randomize=False))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        basis = torch.linalg.qr(torch.randn(D_IN, D_SAE // 2))[0]
    sae.W_dec.data = torch.cat([basis.T, -basis.T])
    sae.W_enc.data = sae.W_dec.data.T * scale
    sae.b_enc.data.zero_()
    sae.b_dec.data.zero_()
    return Subject(model, sae)


# --- sanity --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", SUPPORTED)
def test_sanity_equals_saelenss_own_evaluation(architecture, model, dataset):
    from sae_lens.evals import EvalConfig, run_evals
    from sae_lens.training.activation_scaler import ActivationScaler

    sae = inference_sae(training_sae(architecture))
    tokenization = Tokenization(64, True, False, "bos")
    store = token_store(dataset, model, tokenization)
    config = EvalConfig(
        batch_size_prompts=8,
        n_eval_reconstruction_batches=2,
        n_eval_sparsity_variance_batches=2,
        compute_ce_loss=True,
        compute_kl=True,
        compute_sparsity_metrics=True,
        compute_variance_metrics=True,
    )
    # the store goes on where it stands, so the two halves of SAELens's evaluation read rows 0-15 and 16-31
    theirs, _ = run_evals(sae, store, model, ActivationScaler(), config)
    fresh = token_store(dataset, model, tokenization).get_batch_tokens(32)
    subject = Subject(model, sae)
    none = MetricsConfig(names=[], batch_size=5)
    losses = evaluate(subject, Corpus.from_tokens(fresh[:16]), none).flat()
    quality = evaluate(subject, Corpus.from_tokens(fresh[16:]), none).flat()
    expected = theirs["model_performance_preservation"]
    assert losses["sanity/ce_clean"] == pytest.approx(expected["ce_loss_without_sae"], rel=1e-4)
    assert losses["sanity/ce_reconstructed"] == pytest.approx(expected["ce_loss_with_sae"], rel=1e-4)
    assert losses["sanity/ce_zeroed"] == pytest.approx(expected["ce_loss_with_ablation"], rel=1e-4)
    assert losses["sanity/kl_divergence"] == pytest.approx(theirs["model_behavior_preservation"]["kl_div_with_sae"], rel=1e-3)
    assert losses["sanity/loss_recovered"] == pytest.approx(expected["ce_loss_score"], rel=1e-3)
    assert quality["sanity/l0"] == pytest.approx(theirs["sparsity"]["l0"], rel=1e-5)
    assert quality["sanity/explained_variance"] == pytest.approx(theirs["reconstruction_quality"]["explained_variance"], rel=1e-4)


def test_sanity_warns_of_an_sae_that_loads_wrongly(model, corpus):
    subject = subject_of(model, "standard")
    subject.expected = {"l0": 1.0, "explained_variance": 0.9}
    report = evaluate(subject, corpus, MetricsConfig(names=[]))
    assert report.flat()["sanity/explained_variance"] < 0
    text = " ".join(report.warnings)
    assert "worse than the mean" in text
    assert "1.0 according to" in text
    assert "0.90 according to" in text
    dead = dataclasses.replace(
        report.sanity, estimates=report.sanity.estimates | {"l0": dataclasses.replace(report.sanity.estimates["l0"], value=0.0)}
    )
    assert any("no latent ever fires" in warning for warning in sanity_warnings(dead, {}))


# --- shrinkage -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", SUPPORTED)
@pytest.mark.parametrize("normalize", ["none", "layer_norm"])
def test_shrinkage_equals_a_loop_over_nnls(architecture, normalize, model, tokens):
    subject = subject_of(model, architecture, normalize=normalize)
    corpus = Corpus.from_tokens(tokens[:3])
    config = MetricsConfig(names=["shrinkage"], batch_size=2, shrinkage=ShrinkageConfig(tokens=10**6))
    ours = evaluate(subject, corpus, config).flat()

    prefix = subject.site.prefix(tokens[:3])
    valid = subject.site.valid(tokens[:3])
    x = subject.site.activations(prefix)[valid]
    z = subject.dictionary.sae.encode(x)
    raw = subject.dictionary.decode(z, x)
    refined, z_refined = torch.empty_like(raw), torch.zeros_like(z)
    for i in range(len(x)):
        support = z[i].nonzero()[:, 0]
        rows = subject.dictionary.latent_directions(x[i][None], support[None])[0] * z[i, support].sign()[:, None]
        best, _ = nnls(rows.T.double().numpy(), (x[i] - subject.dictionary.decode(torch.zeros_like(z[i]), x[i])).double().numpy())
        z_refined[i, support] = torch.tensor(best, dtype=torch.float32) * z[i, support].sign()
        refined[i] = subject.dictionary.decode(z_refined[i][None], x[i][None])[0]
    spread = (x - x.mean(0)).square().sum()
    lengths = subject.dictionary.sae.W_dec.norm(dim=1)
    before, after = z.abs() * lengths, z_refined.abs() * lengths
    assert ours["shrinkage/ratio"] == pytest.approx(float(after.sum() / before.sum()), rel=1e-4)
    assert ours["shrinkage/ratio_mean"] == pytest.approx(float((z_refined / z)[z != 0].mean()), rel=1e-4)
    for name, reconstruction in (("raw", raw), ("refined", refined)):
        error = x - reconstruction
        assert ours[f"shrinkage/mse_{name}_activation"] == pytest.approx(float(error.square().sum() / spread), rel=1e-4)
        trained = x if normalize == "none" else (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)
        error = error if normalize == "none" else error / x.std(1, keepdim=True)
        variance = (trained - trained.mean(0)).square().sum()
        assert ours[f"shrinkage/mse_{name}"] == pytest.approx(float(error.square().sum() / variance), rel=1e-4)
    assert ours["shrinkage/gamma"] == pytest.approx(float(raw.square().sum() / (raw * x).sum()), rel=1e-4)
    change = (after - before)[z != 0]
    assert ours["shrinkage/change_mean"] == pytest.approx(float(change.mean()), rel=1e-3, abs=1e-5)
    assert ours["shrinkage/change_sd"] == pytest.approx(float(change.std(correction=0)), rel=1e-3)
    full = torch.zeros(*valid.shape, D_IN)
    full[valid] = refined
    losses = subject.site.losses(prefix, full)[valid[:, :-1]]
    assert ours["shrinkage/ce_refined"] == pytest.approx(float(losses.mean()), rel=1e-4)
    assert ours["shrinkage/kkt_residual"] < 1e-5
    assert ours["shrinkage/mse_refined"] <= ours["shrinkage/mse_raw"]


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0, 2.0])
def test_an_orthonormal_decoder_is_shrunken_by_exactly_its_scale(scale, model, corpus):
    config = MetricsConfig(names=["shrinkage"])
    report = evaluate(orthonormal(model, scale), corpus, config)
    ratio = report.metrics["shrinkage"].estimates["ratio"]
    assert ratio.value == pytest.approx(1 / scale, rel=1e-4)
    assert ratio.stderr < 1e-4
    assert report.flat()["shrinkage/gamma"] == pytest.approx(scale, rel=1e-4)
    histogram = report.metrics["shrinkage"].histograms["change"]
    positions = int((corpus.tokens != model.tokenizer.bos_token_id).sum())
    assert sum(histogram.counts) == round(report.flat()["sanity/l0"] * positions)
    edges, counts = np.array(histogram.edges), np.array(histogram.counts)
    assert (counts * (edges[1:] + edges[:-1]) / 2).sum() / counts.sum() == pytest.approx(1 / scale - 1, abs=0.06)


def test_the_papers_own_procedure_agrees(model, corpus):
    subject = subject_of(model, "topk")
    exact, pgd = (
        evaluate(subject, corpus, MetricsConfig(names=["shrinkage"], shrinkage=ShrinkageConfig(solver=solver))).flat()
        for solver in ("exact", "pgd")
    )
    for key in ("ratio", "mse_refined", "ce_refined"):
        assert pgd[f"shrinkage/{key}"] == pytest.approx(exact[f"shrinkage/{key}"], rel=1e-3)


def test_more_active_latents_than_dimensions_are_not_refined(model, tokens):
    """Where the best values are not unique there is no ratio, only a reason."""
    with torch.random.fork_rng(devices=[]):
        sae = training_sae("standard", hook="blocks.1.attn.hook_z", d_in=32)
    sae.cfg.metadata.hook_head_index = 1
    sae.b_enc.data.fill_(100.0)
    report = evaluate(Subject(model, sae), Corpus.from_tokens(tokens[:4]), MetricsConfig(names=["shrinkage"]))
    assert report.flat()["sanity/l0"] > 32
    assert report.flat()["shrinkage/not_refined"] == 1
    ratio = report.metrics["shrinkage"].estimates["ratio"]
    assert ratio.value is None
    assert "not unique" in ratio.reason


def test_an_sae_that_never_fires(model, corpus):
    sae = inference_sae(training_sae("standard"))
    sae.b_enc.data.fill_(-1e4)
    report = evaluate(Subject(model, sae), corpus, MetricsConfig(names=["shrinkage"]))
    assert report.flat()["sanity/l0"] == 0
    assert report.flat()["sanity/dead_latents"] == 1
    assert report.metrics["shrinkage"].estimates["ratio"].value is None
    assert any("no latent ever fires" in text for text in report.warnings)


# --- probe ---------------------------------------------------------------------------------------------------------------------


# --- reports -------------------------------------------------------------------------------------------------------------------


def test_same_seed_same_numbers_and_the_global_state_untouched(model, corpus):
    subject = subject_of(model)
    config = dataclasses.replace(LITTLE, seed=3)
    before = torch.get_rng_state()
    first, second = (evaluate(subject, corpus, config) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert first.flat() == second.flat()
    other = evaluate(subject, corpus, dataclasses.replace(config, seed=4))
    assert other.flat()["probe/loss"] != first.flat()["probe/loss"]
    assert other.flat()["shrinkage/ratio"] == first.flat()["shrinkage/ratio"]  # nothing in it is drawn


def test_the_batch_size_changes_nothing(model, corpus):
    subject = subject_of(model)
    one, many = (evaluate(subject, corpus, dataclasses.replace(LITTLE, batch_size=size)).flat() for size in (3, 16))
    assert one.keys() == many.keys()
    for key in one:
        if "kkt" not in key:
            assert one[key] == pytest.approx(many[key], rel=1e-3, abs=1e-5), key


def test_every_number_has_an_error_or_a_reason(model, corpus):
    report = evaluate(subject_of(model), corpus, LITTLE)
    for name, estimate in report.estimates():
        assert estimate.stderr is not None or estimate.reason, name


def test_provenance(model, corpus):
    provenance = evaluate(subject_of(model), corpus, MetricsConfig(names=[])).provenance
    assert provenance["corpus"]["tokens"] == 16 * 64
    assert provenance["sae"]["architecture"] == "topk"
    assert provenance["config"]["seed"] == 0
    assert provenance["versions"]["sae-lens"]


def test_a_metric_of_another_package(model, corpus, tmp_path, monkeypatch):
    (tmp_path / "others_metric.py").write_text(
        "from sae_lens_metrics.results import Estimate, MetricResult\n"
        "def evaluate(context):\n"
        "    return MetricResult({'d_sae': Estimate(context.subject.d_sae, None, 1, 'SAEs', 'exact')})\n"
    )
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sae_lens_metrics.metrics]\nwidth = others_metric:evaluate\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "width" in metric_names()
    assert evaluate(subject_of(model), corpus, MetricsConfig(names=["width"])).flat()["width/d_sae"] == D_SAE


def test_the_registry_refuses_what_cannot_be():
    assert {"probe", "shrinkage"} <= set(metric_names())
    for name, message in (("probe", "already"), ("sanity", "already"), ("a/b", "cannot name")):
        with pytest.raises(ConfigError, match=message):
            register_metric(name, lambda *_: None)
    with pytest.raises(ConfigError, match=r"no metric 'prob'.*probe, n2g"):
        get_metric("prob")


def test_an_unknown_metric_fails_before_any_work(model, corpus, monkeypatch):
    monkeypatch.setattr(Site, "prefix", lambda *_: pytest.fail("the model was run"))
    with pytest.raises(ConfigError, match="no metric 'nothing'"):
        evaluate(object.__new__(Subject), corpus, MetricsConfig(names=["nothing"]))


@pytest.mark.parametrize(
    "tokens_", [torch.zeros(1, 8, dtype=torch.long), torch.zeros(8, 1, dtype=torch.long), torch.zeros(8, dtype=torch.long)]
)
def test_a_corpus_that_is_too_small(tokens_):
    with pytest.raises(CorpusError, match="two"):
        Corpus.from_tokens(tokens_)


@pytest.mark.slow
def test_the_standard_error_is_the_spread_over_draws_of_the_text(model):
    """Sequences of one document are alike; the error must not take them for independent."""
    rows = Dataset.from_dict({"text": list(standard_library_documents("held_out"))})
    subject = subject_of(model)
    reports = [evaluate(subject, Corpus.from_dataset(rows, subject, tokens=4096, seed=seed), MetricsConfig(names=[])) for seed in range(10)]
    losses = [report.sanity.estimates["ce_clean"] for report in reports]
    spread, claimed = np.std([loss.value for loss in losses], ddof=1), np.mean([loss.stderr for loss in losses])
    assert losses[0].of == "documents"
    assert 0.5 < spread / claimed < 1.7


def test_sequences_are_drawn_from_many_documents(model, documents):
    subject = subject_of(model)
    corpus = Corpus.from_dataset(Dataset.from_dict({"text": documents}), subject, tokens=64 * 64)
    assert int(corpus.units.max()) + 1 >= 32
    short = Corpus.from_dataset(Dataset.from_dict({"text": documents[:2]}), subject, tokens=64 * 16)
    assert int(short.units.max()) + 1 == 2
    assert len(short) == 16


def test_tokens_of_another_model(model):
    with pytest.raises(CorpusError, match="token 5000 is not in the model's vocabulary of 4096"):
        evaluate(subject_of(model), Corpus.from_tokens(torch.full((4, 8), 5000)), MetricsConfig(names=[]))


def test_text_of_special_tokens_only(model):
    report = evaluate(subject_of(model), Corpus.from_tokens(torch.zeros(4, 8, dtype=torch.long)), MetricsConfig(names=["shrinkage"]))
    assert report.sanity.estimates["l0"].value is None
    assert report.metrics["shrinkage"].estimates["ratio"].value is None


def test_the_corpus_follows_its_seed(model, dataset):
    subject = subject_of(model)
    first, again, other = (Corpus.from_dataset(dataset, subject, tokens=640, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.tokens, again.tokens)
    assert not torch.equal(first.tokens, other.tokens)
    assert (first.tokens[:, 0] == model.tokenizer.bos_token_id).all()


# --- SAELens's own function ----------------------------------------------------------------------------------------------------


def test_the_drop_in_for_run_evals(model, dataset):
    from sae_lens.evals import EvalConfig
    from sae_lens.evals import run_evals as theirs
    from sae_lens.training.activation_scaler import ActivationScaler

    from sae_lens_metrics.evaluation.run_evals import run_evals

    sae = training_sae("topk", normalize="expected_average_only_in")
    scaler = ActivationScaler(scaling_factor=1.5)
    config = EvalConfig(batch_size_prompts=4, n_eval_reconstruction_batches=1, compute_ce_loss=True, compute_l2_norms=True)

    def store():
        return token_store(dataset, model, Tokenization(64, True, False, "bos"))

    metrics = MetricsConfig(tokens=512, probe=PROBE)
    ours, per_latent = run_evals(sae, store(), model, scaler, config, metrics=metrics)
    expected, expected_per_latent = theirs(sae, store(), model, scaler, config)
    for category, values in expected.items():
        assert ours[category].items() >= values.items()
    assert per_latent.keys() == expected_per_latent.keys()
    assert ours["shrinkage"].keys() >= {"l2_ratio", "ratio", "ratio_stderr"}
    assert ours["probe"].keys() >= {"loss", "loss_stderr"}
    with pytest.raises(ConfigError, match="not folded"):
        run_evals(inference_sae(sae), store(), model, scaler, config, metrics=metrics)
