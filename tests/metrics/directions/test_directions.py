"""What latents write, and which others they are like, against brute force."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from other_units import in_other_units
from saes import D_SAE, training_sae
from small_transformers import KINDS, SMALL, small_transformer

from sae_lens_metrics import Corpus, MetricsConfig, Subject
from sae_lens_metrics.errors import ConfigError, SubjectError
from sae_lens_metrics.evaluation.check_metric import check_metric
from sae_lens_metrics.evaluation.controls import report_with_controls
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.metrics.directions.memory import directions_memory
from sae_lens_metrics.metrics.directions.spec import DirectionsConfig
from sae_lens_metrics.metrics.memory_scale import MemoryScale
from sae_lens_metrics.subject.inference_sae import inference_sae

LAST = f"blocks.{SMALL['n_layers'] - 1}.hook_resid_post"
TOKENS = torch.randint(0, SMALL["d_vocab"], (12, 20), generator=torch.Generator().manual_seed(3))


def subject_of(kind="RMS norm", hook=LAST, **options):
    sae = training_sae("standard", d_in=SMALL["d_model"], hook=hook, **options)
    return Subject(small_transformer(kind), sae, context_size=20, prepend_bos=False)


def computed(subject, tokens=TOKENS, controls=(), **settings):
    config = MetricsConfig(names=["directions"], controls=list(controls), directions=DirectionsConfig(**settings))
    return EvaluationRun(subject, Corpus.from_tokens(tokens), config).compute("directions")


def column(result, name):
    return [row[name] for row in result.tables["latents"]]


def by_brute_force(subject):
    """Logits of whole runs with and without a little of each decoder row, averaged over positions, around the mean of the vocabulary."""
    prefix = subject.site.prefix(TOKENS)
    x, small = subject.site.activations(prefix), 1e-2
    found = []
    for row in torch.nn.functional.normalize(subject.dictionary.decoder, dim=1):
        up, down = (subject.site.logits(prefix, x + sign * small * row).double() for sign in (1, -1))
        found.append((up - down).flatten(0, 1).mean(0) / (2 * small))
    return torch.stack(found) - torch.stack(found).mean(1, keepdim=True)


@pytest.mark.parametrize("kind", ["RMS norm", "learned positions"])
def test_what_is_written_is_what_whole_runs_show(kind):
    """The hook is at the end of the model, so that the direct effect is all there is."""
    subject = subject_of(kind)
    result = computed(subject)
    expected = by_brute_force(subject).numpy()
    spread = expected.std(1)
    assert column(result, "written") == pytest.approx(expected.max(1) / spread, rel=1e-2)
    x = subject.site.activations(subject.site.prefix(TOKENS)).flatten(0, 1)
    z = subject.dictionary.encode(x).double().numpy()
    lengths = subject.dictionary.decoder.norm(dim=1).double().numpy()
    added = np.where((z > 0).any(0), z.sum(0) / np.maximum(1, (z > 0).sum(0)) * lengths, (z * lengths).sum() / (z > 0).sum())
    for latent, effects in enumerate(result.effects):
        order = np.argsort(expected[latent])
        assert [each.by for each in effects.raised] == pytest.approx(expected[latent][order[:-6:-1]] * added[latent], rel=0.03, abs=1e-4)
        assert [each.by for each in effects.lowered] == pytest.approx(expected[latent][order[:5]] * added[latent], rel=0.03, abs=1e-4)
        assert effects.raised[0].token == order[-1]

    following = torch.cat([TOKENS[:, 1:], TOKENS[:, :1]], 1).flatten().numpy()
    counts = np.arange(TOKENS.numel()) % 20 < 19
    standardised = expected / spread[:, None]
    usual = np.bincount(following[counts], minlength=SMALL["d_vocab"]) / counts.sum()
    lift = (standardised[:, following].T - standardised @ usual)[counts]
    fires = z[counts] > 0
    assert result.estimates["next_token"].value == pytest.approx((lift * fires).sum() / fires.sum(), abs=2e-3)
    each = np.where(fires.any(0), (lift * fires).sum(0) / np.maximum(1, fires.sum(0)), np.nan)
    assert np.array(column(result, "next_token"), dtype=float) == pytest.approx(each, abs=2e-2, nan_ok=True)
    assert column(result, "fires") == (z > 0).sum(0).tolist()


def test_nearest_latents_are_those_of_all_cosines():
    subject = subject_of()
    result = computed(subject)
    rows = subject.dictionary.decoder.numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T - 3 * np.eye(D_SAE)
    order = np.argsort(-cosines, axis=1)
    assert [column(result, name) for name in ("nearest", "nearest_2", "nearest_3")] == order[:, :3].T.tolist()
    assert column(result, "cosine_2") == pytest.approx(cosines[np.arange(D_SAE), order[:, 1]], abs=1e-3)
    largest = cosines.max(1)
    estimate = result.estimates["max_cosine"]
    assert (estimate.value, estimate.stderr) == pytest.approx((largest.mean(), largest.std(ddof=1) / D_SAE**0.5), rel=1e-5)
    assert result.estimates["duplicates"].value == (largest > 0.9).mean()


@pytest.fixture
def second(tmp_path):
    """The same SAE whose latents stand in another order, a third of them turned elsewhere; and the order."""

    def save(hook=LAST, d_in=SMALL["d_model"]):
        sae = inference_sae(training_sae("standard", d_in=d_in, hook=hook))
        order = torch.randperm(D_SAE, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            sae.W_dec.data, sae.W_enc.data, sae.b_enc.data = sae.W_dec[order], sae.W_enc[:, order], sae.b_enc[order]
            sae.W_dec[: D_SAE // 3] = torch.randn(D_SAE // 3, d_in, generator=torch.Generator().manual_seed(2))
        sae.save_model(tmp_path / "second")
        return str(tmp_path / "second"), order

    return save


def test_matches_in_a_second_sae(second):
    folder, order = second()
    subject = subject_of()
    result = computed(subject, against=folder)
    same = {int(own): place for place, own in enumerate(order.tolist()) if place >= D_SAE // 3}
    rows = result.tables["latents"]
    assert all(rows[own]["match"] == place for own, place in same.items())
    assert all(rows[own]["match_cosine"] == pytest.approx(1, abs=1e-3) for own in same)
    other = Subject(subject.site.model, inference_sae(training_sae("standard", d_in=16, hook=LAST)), context_size=20, prepend_bos=False)
    x = subject.site.activations(subject.site.prefix(TOKENS)).flatten(0, 1)
    own, second_z = subject.dictionary.encode(x).numpy(), other.dictionary.encode(x)[:, order].numpy()
    for latent, row in enumerate(rows):
        a, b = own[:, latent], second_z[:, row["match"]]
        if a.std() == 0 or b.std() == 0:
            assert row["match_correlation"] is None
        else:
            assert row["match_correlation"] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-3)
    known = [row["match_correlation"] for row in rows if row["match_correlation"] is not None]
    assert result.estimates["match_correlation"].value == pytest.approx(np.mean(known), abs=1e-3)
    assert result.estimates["matched"].value == np.mean([row["match_cosine"] > 0.7 for row in rows])
    assert result.estimates["random_match_cosine"].value < result.estimates["match_cosine"].value


def test_a_second_sae_of_another_place_is_refused(second):
    folder, _ = second(hook="blocks.0.hook_resid_post")
    with pytest.raises(ConfigError, match=r"sits at blocks\.0\.hook_resid_post, expected an SAE at blocks\.2"):
        computed(subject_of(), against=folder)
    with pytest.raises(SubjectError, match="nowhere"):
        computed(subject_of(), against="nowhere")


def test_it_passes_the_check_of_metrics(second):
    config = MetricsConfig(batch_size=6, directions=DirectionsConfig(tokens=160, against=second()[0]))
    check_metric("directions", subject_of(), Corpus.from_tokens(TOKENS), config)


def test_nothing_depends_on_the_units_of_latents():
    subject = subject_of()
    own, other = computed(subject), computed(in_other_units(subject))
    for name, estimate in own.estimates.items():
        assert other.estimates[name].value == pytest.approx(estimate.value, rel=1e-4), name
    for name in own.tables["latents"][0]:
        values = [np.array(column(each, name), dtype=float) for each in (own, other)]
        # one that always fires raises nothing above the mean
        assert values[1] == pytest.approx(values[0], rel=2e-3, abs=1e-5, nan_ok=True), name
    for effects, again in zip(own.effects, other.effects, strict=True):
        assert [each.token for each in again.raised] == [each.token for each in effects.raised]
        assert [each.by for each in again.raised] == pytest.approx([each.by for each in effects.raised], rel=2e-3)


@pytest.mark.parametrize("hook", ["blocks.1.attn.hook_z", "blocks.1.hook_mlp_out"])
def test_what_is_not_in_the_residual_stream_is_not_read(hook):
    result = computed(subject_of(hook=hook))
    absent = result.estimates["next_token"].value is None
    assert absent == hook.endswith("hook_z")
    assert bool(result.effects) != absent
    if absent:
        assert "blocks.1.attn.hook_z is not in the residual stream" in result.estimates["next_token"].reason
        assert {"written", "next_token"}.isdisjoint(result.tables["latents"][0])
    assert result.estimates["max_cosine"].value is not None


def test_a_model_without_a_final_norm():
    KINDS["no norm"] = {"normalization_type": None}
    try:
        subject = subject_of("no norm")
    finally:
        del KINDS["no norm"]
    expected = by_brute_force(subject).numpy()
    assert column(computed(subject), "written") == pytest.approx(expected.max(1) / expected.std(1), rel=1e-2)


def test_special_tokens_are_no_next_tokens():
    subject = subject_of()
    subject.language.special_tokens = torch.tensor([4])
    tokens = TOKENS.clone()
    tokens[:, 1::2] = 4
    estimate = computed(subject, tokens).estimates["next_token"]
    assert (estimate.value, estimate.reason) == (None, "no latent is active where another token follows")


def test_a_trained_sae_writes_what_comes_next_and_beats_its_controls(trained, tokens):
    """Half a second each, and the encoder of the frozen decoder is left out, which takes longer than all else."""
    config = MetricsConfig(names=["directions"], controls=["permuted_decoder", "random"])
    report = report_with_controls(EvaluationRun(trained["TopK"], Corpus.from_tokens(tokens[:12]), config))
    own = report.metrics["directions"].estimates["next_token"]
    assert own.value > 5 * own.stderr
    for name, control in report.controls.items():
        assert control.verdicts["directions"].outcome == "as expected", name
    permuted = report.controls["permuted_decoder"].results["directions"].estimates
    assert abs(permuted["next_token"].value) < 0.2 * own.value
    for name in ("max_cosine", "duplicates"):  # the same directions, in another order
        assert permuted[name].value == pytest.approx(report.metrics["directions"].estimates[name].value, rel=1e-5)


def test_more_latents_take_memory_for_rows_but_not_for_all_pairs():
    scale = MemoryScale(65_536, 128, 16, 768, 24_576, 12, 50_257, 2**31)
    settings = DirectionsConfig()
    small, large = (directions_memory(settings, replace(scale, d_sae=n), {}) for n in (2**15, 2**17))
    assert large - small < 4 * 2**17 * (4 * 768 + 100) < 4 * 2**34 / 20
    assert directions_memory(replace(settings, against="a"), scale, {}) > directions_memory(settings, scale, {})
