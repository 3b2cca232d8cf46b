"""Probes on a real model, against slow references and closed forms."""

import dataclasses
import importlib
import math
import re
import zlib
from itertools import pairwise

import numpy as np
import pytest
import torch
from contexts import context_of
from resident import peak_bytes
from saes import D_IN, D_SAE, HOOK, SUPPORTED, training_sae, without_affine_encoder
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

from sae_lens_metrics import MetricsConfig, Subject
from sae_lens_metrics.errors import ConfigError, SubjectError
from sae_lens_metrics.functional.best_probe import best_probes
from sae_lens_metrics.functional.random_directions import RandomDirections
from sae_lens_metrics.functional.splitting import fit_half
from sae_lens_metrics.metrics.probe import search as probe_search
from sae_lens_metrics.metrics.probe.compute import probe
from sae_lens_metrics.metrics.probe.spec import SPEC, ProbeConfig
from sae_lens_metrics.metrics.probe.tasks import LoadedTasks, ProbeTask, generate_task
from sae_lens_metrics.metrics.probe.tasks.task import TaskError
from sae_lens_metrics.metrics.probe.text_activations import TextActivations, text_activations
from sae_lens_metrics.metrics.probe.text_forms import TextForm
from sae_lens_metrics.subject.inference_sae import inference_sae
from sae_lens_metrics.subject.site import Site

probe_module = importlib.import_module("sae_lens_metrics.metrics.probe.compute")  # the package has the metric under the module's name
TASKS = ["base64", "inside_string"]
POOLINGS = ["last", "mean", "max"]


def subject_of(model, architecture="topk", **kwargs):
    return Subject(model, training_sae(architecture, **kwargs))


def probed(subject, *, seed=0, memory_gb=2.0, batch_size=32, tasks=TASKS, examples=80, **options):
    config = MetricsConfig(
        probe=ProbeConfig(tasks=list(tasks), examples=examples, **options), seed=0, memory_gb=memory_gb, batch_size=batch_size
    )
    return probe(context_of("probe", subject, None, config, seed))


def rows_of(subject, **options):
    return probed(subject, **options).tables["tasks"]


def given_tasks(monkeypatch, tasks, missing=()):
    monkeypatch.setattr(probe_module, "load_tasks", lambda *_, **__: LoadedTasks(list(tasks), dict(missing)))


def sequences(model, texts, room):
    """What the model should be run on: BOS, and the end of each text."""
    return [
        torch.tensor([[model.tokenizer.bos_token_id, *model.to_tokens(text, prepend_bos=False, truncate=False)[0, -room:].tolist()]])
        for text in texts
    ]


def on_text(model, tokens):
    """The activation on every token of one text, run alone."""
    return model.run_with_cache(tokens, names_filter=[HOOK])[1][HOOK][0]


def layer_norm(x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (x.std(-1, keepdim=True) + 1e-5)


def assert_same_rows(ours, expected, rel=1e-5):
    for row, reference in zip(ours, expected, strict=True):
        assert row.keys() == reference.keys()
        for key, value in row.items():
            assert value == (pytest.approx(reference[key], rel=rel, abs=rel) if isinstance(value, float) else reference[key]), key


# --- results -------------------------------------------------------------------------------------------------------------------


def test_the_mean_over_tasks_and_families_and_its_error(model):
    result = probed(subject_of(model, "gated"), tasks=["base64", "inside_string", "inside_comment"], seed=5)
    rows = result.tables["tasks"]
    assert [row["task"] for row in rows] == ["base64", "inside_string", "inside_comment"]
    assert all(row["fitted_on"] + row["tested_on"] == 80 for row in rows)
    assert all(40 <= row["fitted_on"] < 60 for row in rows)  # whole files of the standard library are in one half
    assert all(0 <= row["loss"] <= row["entropy"] <= np.log(2) + 1e-9 for row in rows)
    pairs = {name: number.difference_of for name, number in SPEC.numbers.items() if number.difference_of is not None}
    assert len(pairs) == 5
    for key, estimate in result.estimates.items():
        if key in ("family_correlation", "tasks_probed"):
            continue
        first, second = pairs.get(key, (key, None))
        values = torch.tensor([row[first] - (row[second] if second else 0) for row in rows], dtype=torch.float64)
        assert estimate.value == pytest.approx(values.mean().item())
        assert (estimate.n, estimate.of, len(estimate.influence)) == (2, "families", 2)  # base64; the two of code
        shares, means = torch.tensor([1 / 3, 2 / 3]).double(), torch.stack([values[0], values[1:].mean()])
        variances = 1 - 2 * shares + shares.square().sum()
        expected = (shares.square() * (means - values.mean()).square() / variances).sum().sqrt()
        assert estimate.stderr == pytest.approx(float(expected), rel=1e-4)
        assert estimate.degrees_of_freedom == 1  # the least
    assert result.estimates["tasks_probed"].value == 3
    (one, two) = result.tables["families"]
    assert (one["family"], one["tasks"], one["loss"], one["loss_stderr"]) == ("format", 1, rows[0]["loss"], None)
    assert (two["family"], two["tasks"]) == ("code", 2)
    assert two["loss_stderr"] == pytest.approx(abs(rows[1]["loss"] - rows[2]["loss"]) / 2)
    for key in ("loss", "held_out_loss", "channels_loss", "random_loss"):
        assert two[key] == pytest.approx((rows[1][key] + rows[2][key]) / 2)


def test_one_task_has_no_standard_error_over_tasks_but_one_over_its_texts(model):
    estimate = probed(subject_of(model), tasks=["base64"]).estimates["loss"]
    assert (estimate.n, estimate.stderr) == (1, None)
    assert "one task" in estimate.reason
    assert estimate.repeated.stderr > 0


def test_the_error_of_the_same_tasks_with_other_texts_follows_from_what_each_group_did(model):
    found = probed(subject_of(model, "gated"), seed=5)
    again = probed(subject_of(model, "gated"), seed=5, batch_size=7, memory_gb=4e-4)  # in many chunks
    kept = {"loss", "held_out_loss", "held_out_accuracy", "held_out_auc"}
    kept |= {name for name, number in SPEC.numbers.items() if number.difference_of is not None}
    for key, estimate in found.estimates.items():
        if key in ("family_correlation", "tasks_probed"):
            assert estimate.repeated is None
            continue
        error, other = estimate.repeated, again.estimates[key].repeated
        assert (error.of, 2 <= error.n <= 64, 1 <= error.degrees_of_freedom <= 63) == ("groups of texts", True, True)
        assert other.stderr == pytest.approx(error.stderr, rel=1e-3, abs=1e-6)
        assert (error.influence is not None) == (key in kept), key
        if error.influence is not None:
            assert len(error.influence) == 64
            assert error.stderr == pytest.approx((error.n / (error.n - 1) * sum(each**2 for each in error.influence)) ** 0.5, rel=1e-4)
            assert error.influence == pytest.approx(other.influence, rel=1e-2, abs=1e-5)


def test_the_best_latent_has_an_address_where_neuronpedia_has_the_sae(model):
    subject = subject_of(model)
    assert [row["neuronpedia"] for row in rows_of(subject)] == [None, None]
    subject.dictionary.sae.cfg.metadata.neuronpedia_id = "gpt2-small/1-res"
    for row in rows_of(subject):
        assert row["neuronpedia"] == f"https://neuronpedia.org/gpt2-small/1-res/{row['latent']}"
        assert list(row)[:3] == ["task", "family", "fingerprint"]


def test_missing_tasks_are_named_with_what_is_left(model, monkeypatch):
    tasks = [generate_task(name, 80, 0) for name in TASKS]
    given_tasks(monkeypatch, tasks, {"a": "needs a package.", "b": "no network", "c": "needs a package."})
    result = probed(subject_of(model))
    assert result.estimates["loss"].n == 2
    assert "2 of the 5 tasks asked for are missing (needs a package): a, c" in result.notes
    assert "1 of the 5 tasks asked for are missing (no network): b" in result.notes
    assert "the means are over 2 of the 5 tasks asked for" in result.notes
    assert any("5 tasks of the paper" in note for note in probed(subject_of(model), tasks=["all"]).notes)
    given_tasks(monkeypatch, tasks)
    assert not any("missing" in note for note in probed(subject_of(model)).notes)


def test_without_any_task_every_number_is_absent_with_a_reason(model, monkeypatch):
    given_tasks(monkeypatch, [], {"a": "no network"})
    result = probed(subject_of(model))
    assert result.estimates.keys() == probed_names(model, monkeypatch)
    assert all(estimate.value is None and estimate.reason for estimate in result.estimates.values())


def probed_names(model, monkeypatch):
    given_tasks(monkeypatch, [generate_task("base64", 80, 0)])
    return probed(subject_of(model)).estimates.keys()


def task_of(texts, labels, groups=None):
    return ProbeTask("own", "own", "of this test", tuple(texts), tuple(labels), groups)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (task_of([f"text {i}" for i in range(20)], [i == 0 for i in range(20)]), "cannot be split"),
        (task_of([f"text {i}" for i in range(20)], [i < 10 for i in range(20)], (0,) * 10 + (1,) * 10), "cannot be split"),
        (task_of(["", *(f"text {i}" for i in range(19))], [i < 10 for i in range(20)]), "no token after the first: .*has 19 examples"),
    ],
)
def test_a_task_that_cannot_be_used_is_named_or_an_error(task, message, model, monkeypatch):
    given_tasks(monkeypatch, [task, generate_task("base64", 80, 0)])
    result = probed(subject_of(model))
    assert result.estimates["loss"].n == 1
    assert any("own" in note and re.search(message, note) for note in result.notes)
    with pytest.raises(TaskError, match=message):
        probed(subject_of(model), strict=True)


def test_a_text_without_a_token_to_probe_is_left_out_and_its_task_is_not(model, monkeypatch):
    """Without BOS a text of one token has none after the first position, which acts like BOS."""
    whole = generate_task("inside_string", 80, 0)
    short = ("a", "b")  # a token each
    groups = tuple(range(82)) if whole.groups is None else (*whole.groups, 1000, 1001)
    given_tasks(monkeypatch, [task_of((*whole.texts, *short), (*whole.labels, True, False), groups), generate_task("base64", 80, 0)])
    subject = Subject(model, training_sae("topk"), prepend_bos=False)
    result = probed(subject)
    first, second = result.tables["tasks"]
    assert (first["left_out"], second["left_out"]) == (2, 0)
    assert first["fitted_on"] + first["tested_on"] == 80
    assert "texts are left out that have no token after the first: 2 of own" in result.notes
    given_tasks(monkeypatch, [dataclasses.replace(whole, name="own", family="own")])  # as if they had never been there
    (alone,) = probed(subject).tables["tasks"]
    # texts of other tasks in a batch move a number by rounding
    assert alone | {"left_out": 2} == {key: pytest.approx(value) if isinstance(value, float) else value for key, value in first.items()}
    with_bos = probed(subject_of(model))
    assert not any("left out" in note for note in with_bos.notes)


def test_errors_are_over_tasks_where_all_are_of_one_family(model):
    result = probed(subject_of(model), tasks=["inside_string", "inside_comment", "camel_case"][:2])
    losses = torch.tensor([row["loss"] for row in result.tables["tasks"]], dtype=torch.float64)
    estimate = result.estimates["loss"]
    assert (estimate.n, estimate.of) == (2, "tasks")
    assert estimate.stderr == pytest.approx(float(losses.std()) / 2**0.5)
    assert any("all tasks are of the family code: errors are over tasks" in note for note in result.notes)
    assert result.estimates["family_correlation"].value is None
    assert "two families" in result.estimates["family_correlation"].reason


def test_a_model_without_tokenizer(model, monkeypatch):
    subject = subject_of(model)
    monkeypatch.setattr(model, "tokenizer", None)
    with pytest.raises(SubjectError, match="no tokenizer"):
        probed(subject)


# --- splits --------------------------------------------------------------------------------------------------------------------


def test_two_saes_are_probed_on_the_same_splits_whatever_their_size_and_the_other_tasks(model):
    from sae_lens import TopKTrainingSAEConfig
    from sae_lens.saes.topk_sae import TopKTrainingSAE

    def about_inside_string(tasks, sae):
        rows = rows_of(Subject(model, sae), tasks=tasks)
        return next((row["channels_loss"], row["fingerprint"]) for row in rows if row["task"] == "inside_string")

    with torch.random.fork_rng(devices=[]):
        wider = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=D_IN, d_sae=2 * D_SAE, k=8))
    wider.cfg.metadata = training_sae("topk").cfg.metadata
    alone, together = about_inside_string(["inside_string"], training_sae("topk")), about_inside_string(TASKS, wider)
    assert alone == (pytest.approx(together[0]), together[1])


def halves_seen(model, monkeypatch, task):
    """The texts of the two halves, as the model was run on them."""
    seen = []

    def spy(subject, parts, *args, **kwargs):
        seen.extend(parts)
        return text_activations(subject, parts, *args, **kwargs)

    monkeypatch.setattr(probe_module, "text_activations", spy)
    given_tasks(monkeypatch, [task])
    subject = subject_of(model)
    probed(subject)
    whole = TextForm.of(subject, 64).tokens(task.texts)
    assert len(seen) == 2
    return [[whole.index(tokens) for tokens in half] for half in seen]


def test_no_example_is_in_both_halves_and_each_class_is_halved(model, monkeypatch):
    task = dataclasses.replace(generate_task("inside_string", 80, 0), groups=None)
    fit, test = halves_seen(model, monkeypatch, task)
    assert sorted(fit + test) == list(range(80))
    assert sum(task.labels[i] for i in fit) == sum(task.labels[i] for i in test) == 20


def test_no_group_is_in_both_halves(model, monkeypatch):
    whole = generate_task("inside_string", 80, 0)
    task = task_of(whole.texts, whole.labels, tuple(i % 11 for i in range(80)))
    fit, test = halves_seen(model, monkeypatch, task)
    assert sorted(fit + test) == list(range(80))
    assert not {task.groups[i] for i in fit} & {task.groups[i] for i in test}
    assert 40 <= len(fit) < 48


# --- the search ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "normalize", "pooling"),
    [(architecture, normalize, "last") for architecture in SUPPORTED for normalize in ("none", "layer_norm", "constant_norm_rescale")]
    + [("topk", "layer_norm", "mean"), ("topk", "layer_norm", "max"), ("gated", "none", "max")],
)
def test_many_chunks_give_what_one_gives(architecture, normalize, pooling, model, monkeypatch):
    subject = subject_of(model, architecture, normalize=normalize)
    sizes = []
    original = TextActivations.columns

    def spy(self, dictionary, candidates):
        sizes.append(candidates.stop - candidates.start)
        return original(self, dictionary, candidates)

    monkeypatch.setattr(TextActivations, "columns", spy)
    options = {"tasks": ["inside_string"], "examples": 40, "max_tokens": 12, "pooling": pooling, "batch_size": 8}
    whole = rows_of(subject, **options)
    assert max(sizes) == D_IN
    sizes.clear()
    chunked = rows_of(subject, memory_gb=1e-4, **options)
    assert max(sizes) < D_SAE / 2
    assert_same_rows(chunked, whole)
    assert [row["latent"] for row in chunked] == [row["latent"] for row in whole]
    assert not any(hasattr(subject.dictionary.sae, name) for name in ("ln_mu", "ln_std", "x_norm_coeff"))


@pytest.mark.parametrize("architecture", ["gated", "topk"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_sae_that_encodes_everything_or_nothing_gives_the_same(architecture, pooling, model):
    options = {"tasks": ["inside_string"], "examples": 40, "max_tokens": 24, "pooling": pooling}
    expected = rows_of(subject_of(model, architecture, normalize="layer_norm"), **options)
    subject = without_affine_encoder(subject_of(model, architecture, normalize="layer_norm"))
    assert subject.dictionary.capabilities.affine_encoder is None
    assert_same_rows(rows_of(subject, **options), expected, rel=1e-3)
    assert_same_rows(rows_of(subject, **options, memory_gb=2e-3), expected, rel=1e-3)


def test_the_best_latent_is_scikit_learns(model):
    """The chosen probe against a loop over scikit-learn, on the metric's own split."""
    subject = subject_of(model, "standard")
    task = generate_task("inside_string", 80, 0)
    (row,) = rows_of(subject, tasks=["inside_string"], seed=9)
    x = torch.stack([on_text(model, tokens)[-1] for tokens in sequences(model, task.texts, 63)])
    z, y = subject.dictionary.pre_activations(x), torch.tensor(task.labels)
    fit = fit_half(y, task.groups, torch.Generator().manual_seed(9 ^ zlib.crc32(b"inside_string"))).numpy()
    losses = []
    for latent in range(D_SAE):
        values = z[:, latent : latent + 1].double().numpy()
        values = (values - values[fit].mean()) / values[fit].std()
        fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(values[fit], y[fit])
        losses.append(log_loss(y[fit], fitted.predict_proba(values[fit])))
        if latent == row["latent"]:
            certain = 1 / (fit.sum() + 2)
            held_out = log_loss(y[~fit], fitted.predict_proba(values[~fit]).clip(certain, 1 - certain))
    assert row["loss"] == pytest.approx(min(losses), abs=1e-4)
    assert row["latent"] == int(np.argmin(losses))
    assert row["held_out_loss"] == pytest.approx(held_out, abs=1e-2)


def test_a_planted_latent_solves_its_task_and_shuffled_labels_are_learnt_by_nothing(model):
    """A latent along the direction that separates base64 from text, for every text of both halves."""
    sae = inference_sae(training_sae("standard"))
    task = generate_task("base64", 400, 0)
    x = torch.cat([on_text(model, tokens)[-1:] for tokens in sequences(model, task.texts, 63)])
    y = torch.tensor(task.labels)
    separator = LogisticRegression(C=np.inf, max_iter=1000).fit(x.numpy(), y.numpy())
    direction = torch.tensor(separator.coef_[0], dtype=torch.float32)
    assert (((x @ direction + float(separator.intercept_[0])) > 0) == y).all()
    sae.W_enc.data[:, 7] = direction / direction.norm()
    (row,) = rows_of(Subject(model, sae), tasks=["base64"], examples=400)
    assert (row["latent"], row["loss"]) == (7, 0)
    assert row["held_out_accuracy"] > 0.98
    assert row["held_out_auc"] > 0.999
    assert row["held_out_loss"] < 0.05
    assert 0.6 < row["shuffled_loss"] < np.log(2)
    assert 0.3 < row["shuffled_held_out_accuracy"] < 0.7


def test_what_the_minimum_gives_by_luck(model):
    """With shuffled labels the SAE's latents are as lucky as random directions, and no better than chance on the other half."""
    names = ["inside_string", "inside_comment", "true_sum", "true_comparison", "ascending_numbers", "camel_case"]
    subject = subject_of(model)
    result = probed(subject, tasks=names, examples=200)
    assert result.estimates["shuffled_held_out_loss"].value >= math.log(2)
    random = []
    for name in names:
        task = generate_task(name, 200, 0)
        tokens = TextForm.of(subject, 64).tokens(task.texts[:100])
        (x,) = text_activations(subject, [tokens], "last", batch_size=32, keep_bytes=0)
        of = probe_search.Dictionaries.of(subject, 1, probe_search.Memory(1.0)).random
        y = torch.randperm(100, generator=torch.Generator().manual_seed(len(name))) < 50
        random.append(best_probes(lambda wanted, of=of, x=x: x.columns(of, wanted), of.count, [y], at_once=64)[0].loss)
    luck, random_luck = math.log(2) - result.estimates["shuffled_loss"].value, math.log(2) - np.mean(random)
    assert 0.01 < luck < 0.1
    assert luck == pytest.approx(random_luck, rel=0.5)


# --- baselines -----------------------------------------------------------------------------------------------------------------


def test_baselines_read_what_the_encoder_of_a_layer_norm_sae_reads(model):
    """Random directions and channels of LN(x), by hand; and not of x, which the latents do not see."""
    sae = training_sae("topk", normalize="layer_norm")
    task = generate_task("inside_string", 80, 0)
    (row,) = rows_of(Subject(model, sae), tasks=["inside_string"], seed=9)
    x = torch.stack([on_text(model, tokens)[-1] for tokens in sequences(model, task.texts, 63)])
    y, fit = (
        torch.tensor(task.labels),
        fit_half(torch.tensor(task.labels), task.groups, torch.Generator().manual_seed(9 ^ zlib.crc32(b"inside_string"))),
    )
    directions = RandomDirections(D_IN, 9, torch.device("cpu")).columns(slice(0, D_SAE))

    def best(z):
        return best_probes(lambda wanted: z[fit][:, wanted], z.shape[1], [y[fit]], at_once=1000)[0].loss

    assert row["random_loss"] == pytest.approx(best(layer_norm(x) @ directions), abs=1e-5)
    assert row["channels_loss"] == pytest.approx(best(layer_norm(x)), abs=1e-5)
    assert abs(row["random_loss"] - best(x @ directions)) > 1e-4
    plain = rows_of(subject_of(model), tasks=["inside_string"], seed=9)[0]
    assert plain["random_loss"] == pytest.approx(best(x @ directions), abs=1e-5)


def test_the_ceiling_is_scikit_learns_with_the_penalty_that_was_chosen(model):
    task = generate_task("inside_string", 160, 0)
    (row,) = rows_of(subject_of(model), tasks=["inside_string"], examples=160, seed=9)
    x = torch.stack([on_text(model, tokens)[-1] for tokens in sequences(model, task.texts, 63)]).double()
    y = torch.tensor(task.labels).numpy()
    fit = fit_half(torch.tensor(task.labels), task.groups, torch.Generator().manual_seed(9 ^ zlib.crc32(b"inside_string"))).numpy()
    z = StandardScaler().fit(x.numpy()[fit]).transform(x.numpy())
    fitted = LogisticRegression(C=1 / row["dense_penalty"], tol=1e-9, max_iter=10_000).fit(z[fit], y[fit])
    certain = 1 / (fit.sum() + 2)
    probability = fitted.predict_proba(z[~fit]).clip(certain, 1 - certain)
    assert row["dense_held_out_loss"] == pytest.approx(log_loss(y[~fit], probability), abs=1e-2)
    assert row["dense_held_out_accuracy"] == pytest.approx(fitted.score(z[~fit], y[~fit]), abs=0.013)  # one text on the edge
    assert row["dense_held_out_auc"] == pytest.approx(roc_auc_score(y[~fit], fitted.decision_function(z[~fit])), abs=1e-3)
    assert row["dense_held_out_loss"] < min(row["held_out_loss"], row["channels_held_out_loss"], row["random_held_out_loss"])


@pytest.mark.slow
def test_trained_saes_know_more_than_luck(trained):
    for subject in trained.values():
        result = probed(subject, tasks=["base64", "code_against_prose", "hexadecimal"], examples=200)
        assert result.estimates["held_out_loss"].value < 0.5
        assert result.estimates["loss_minus_shuffled"].value < -0.2


# --- text to activations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", ["none", "layer_norm"])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("keep_bytes", [0, 10**9])
def test_pooling_equals_a_loop_over_texts(normalize, pooling, affine, keep_bytes, model):
    """Long texts lose their beginning, BOS stays in front and never counts."""
    subject = subject_of(model, "standard", normalize=normalize)
    subject = subject if affine else without_affine_encoder(subject)
    texts = [f"{i} " + "word " * (i + 1) * 4 + "end" for i in range(12)]
    tokens = TextForm.of(subject, 24).tokens(texts)
    first, second = text_activations(subject, [tokens[:5], tokens], pooling, batch_size=5, keep_bytes=keep_bytes)
    assert (first.n, second.n) == (5, 12)
    activations = second
    one_vector = pooling == "last" or (pooling == "mean" and affine)
    assert activations.kept == (one_vector or keep_bytes > 0)
    dictionaries = probe_search.Dictionaries.of(subject, 3, probe_search.Memory(1.0))
    directions = RandomDirections(D_IN, 3, torch.device("cpu")).columns(slice(0, D_SAE))
    pool = {"last": lambda v: v[-1], "mean": lambda v: v.mean(0), "max": lambda v: v.amax(0)}[pooling]
    latents, channels, random = (
        activations.columns(of, wanted) for of, wanted in zip(dictionaries, (slice(10, 50), slice(0, D_IN), slice(3, 96)), strict=True)
    )
    for i, sequence in enumerate(sequences(model, texts, 23)):
        assert tokens[i] == sequence[0].tolist()
        activations_of_text = on_text(model, sequence)[1:]
        x = activations_of_text if normalize == "none" else layer_norm(activations_of_text)  # what the SAE's encoder reads
        torch.testing.assert_close(channels[i], pool(x), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(random[i], pool(x @ directions)[3:], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(latents[i], pool(subject.dictionary.pre_activations(activations_of_text))[10:50], rtol=1e-3, atol=1e-3)


def test_the_model_runs_once_on_each_text(model, monkeypatch):
    subject = subject_of(model)
    rows = []
    original = Site.prefix
    monkeypatch.setattr(Site, "prefix", lambda self, tokens: rows.append(len(tokens)) or original(self, tokens))
    at = Site.activations_at
    monkeypatch.setattr(Site, "activations_at", lambda self, tokens, position: rows.append(len(tokens)) or at(self, tokens, position))
    for pooling in POOLINGS:
        rows.clear()
        probed(subject, pooling=pooling, examples=40, batch_size=16)
        assert sum(rows) == 2 * 40
        assert 80 / 16 <= len(rows) <= 2 * 2 * 5
        assert max(rows) <= 16
    rows.clear()
    probed(subject, pooling="max", examples=40, memory_gb=0.002)
    assert sum(rows) > 2 * 40  # the activations of all tokens do not fit


def test_texts_are_cut_to_what_the_model_and_the_sae_take(model):
    text = "word " * 4000
    assert len(TextForm.of(subject_of(model), 24).tokens([text])[0]) == 24
    assert len(TextForm.of(subject_of(model, context_size=16), 24).tokens([text])[0]) == 16
    sae = training_sae("topk")
    sae.cfg.metadata.context_size = None
    assert len(TextForm.of(Subject(model, sae), 10**6).tokens([text])[0]) == model.cfg.n_ctx
    without = TextForm.of(Subject(model, sae, prepend_bos=False), 24).tokens([text])[0]
    assert len(without) == 24
    assert without[0] != model.tokenizer.bos_token_id


# --- memory --------------------------------------------------------------------------------------------------------------------


def test_too_little_memory_is_an_error_that_says_what_would_do(model):
    with pytest.raises(ConfigError, match=r"memory_gb is 1e-06, .*raise it to 0\.0\d\d or more, or lower probe.examples"):
        probed(subject_of(model), memory_gb=1e-6)


@pytest.mark.parametrize("gib", [0.01, 0.1, 1.0, 4.0])
def test_what_is_planned_fits(gib):
    """A chunk, its fits and what computing it takes, for the sizes of the paper's largest suites."""
    for n, d_in in ((50, 64), (1000, 768), (2000, 4096)):
        halves = [TextActivations(n // 2, tuple, "last", True, n // 2 * d_in * 8, n // 2)] * 2
        memory = probe_search.Memory(gib)
        try:
            columns = memory.columns(*halves, d_in)
        except ConfigError:
            assert 2 * halves[0].nbytes + 4 * 1024 * (4 * n + d_in) > gib * 2**30 / 4
            continue
        chunk, fitting = 4 * columns * n // 2, 6 * 4 * min(columns * n // 2, 2**19)
        block = 4 * min(columns, 1024) * (n // 2 + d_in)
        assert chunk + fitting + block + memory.directions + 2 * halves[0].nbytes < gib * 2**30
        assert columns == 1024 * (columns // 1024) or columns < 1024


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["last", "max"])
def test_a_wide_sae_stays_below_the_limit(pooling, model):
    """The process's own peak, where the system can start its count again."""
    from sae_lens import StandardSAEConfig
    from sae_lens.saes.standard_sae import StandardSAE

    def reset():
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")

    try:
        reset()
    except OSError:
        pytest.skip("only Linux counts peaks anew")
    options = {"tasks": ["true_sum"], "examples": 600, "max_tokens": 8, "pooling": pooling, "batch_size": 64}
    probed(subject_of(model), **options)  # what is made once
    width, gib = 65_536, 0.06
    with torch.random.fork_rng(devices=[]):
        sae = StandardSAE(StandardSAEConfig(d_in=D_IN, d_sae=width))
    sae.cfg.metadata = training_sae("topk").cfg.metadata
    subject = Subject(model, sae)
    all_latents = 300 * width * 4
    assert all_latents > gib * 2**30
    reset()
    before = peak_bytes()
    rows_of(subject, memory_gb=gib, **options)
    assert peak_bytes() - before < gib * 2**30


def test_a_chunk_is_a_whole_number_of_blocks_so_that_products_are_of_the_same_shape():
    one = TextActivations(500, tuple, "last", True, 0, 500)
    sizes = [probe_search.Memory(gib).columns(one, one, 768) for gib in (0.05, 0.5, 5.0)]
    assert all(size % 1024 == 0 for size in sizes)
    assert all(a < b for a, b in pairwise(sizes))
