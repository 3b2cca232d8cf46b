"""Explanation reconstruction: planted latents with known answers, plain references on a real model, and SAEs that SAELens trained."""

import dataclasses
import importlib
import math
import re
import subprocess
import sys
import textwrap
from io import StringIO
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from contexts import context_of
from datasets import Dataset
from planted import PlantedTokenizer, fires_after, fires_after_any, fires_on_first, planted_subject, planted_tokens
from rich.console import Console
from saes import D_SAE, HOOK, SUPPORTED, training_sae
from simulated import cut_ngrams, explanations_of, no_latents, sliced, sparse
from slow import slow_but

from sae_lens_metrics import Corpus, MetricsConfig, Subject, evaluate
from sae_lens_metrics.demo.shipped import SHIPPED_SAES
from sae_lens_metrics.errors import ConfigError, CorpusError, ExplanationError
from sae_lens_metrics.functional.ngrams import Patterns
from sae_lens_metrics.metrics.explanation.by_rules import SimulationByRules, simulation_by_rules
from sae_lens_metrics.metrics.explanation.compute import explanation
from sae_lens_metrics.metrics.explanation.simulation import Simulation
from sae_lens_metrics.metrics.explanation.spec import ExplanationConfig
from sae_lens_metrics.metrics.explanation.token_means import TokenMeans
from sae_lens_metrics.metrics.explanation.token_state import TokenState
from sae_lens_metrics.metrics.n2g import building, shared
from sae_lens_metrics.metrics.n2g.building import explain, texts
from sae_lens_metrics.metrics.n2g.scores import score
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.metrics.rules.shared import learned_rules_of
from sae_lens_metrics.metrics.rules.written import latent_rules
from sae_lens_metrics.results import Report
from sae_lens_metrics.results.estimate import error_parts
from sae_lens_metrics.subject.dictionary import Dictionary
from sae_lens_metrics.subject.inference_sae import inference_sae
from sae_lens_metrics.text.standard_library import standard_library_documents
from sae_lens_metrics.text.tokenization import Tokenization, token_store
from sae_lens_metrics.views.terminal import print_reports

MODULE = importlib.import_module("sae_lens_metrics.metrics.explanation.compute")
REPLACEMENTS = ["reconstruction", "explanation", "explained_latents", "bias", "zeroed", "mean", "unigram", "bigram"]
PAD = 11
OF_RULES = {"ce_rules", "recovered_rules", "rules_minus_bigram", "rules_minus_explanation"}
"""Numbers that are absent where the metric of rules is not asked for."""


def configured(batch_size=8, seed=0, names=("explanation",), min_f1=0.5, baseline_tokens=0, memory_gb=2.0, **n2g):
    return MetricsConfig(
        names=list(names),
        seed=seed,
        batch_size=batch_size,
        memory_gb=memory_gb,
        n2g=N2GConfig(**({"max_length": 3, "examples": 4} | n2g)),
        explanation=ExplanationConfig(min_f1=min_f1, baseline_tokens=baseline_tokens),
    )


def measured(subject, corpus, config=None):
    """The metric alone, without the sanity line."""
    return explanation(context_of("explanation", subject, corpus, config or configured())).estimates


def values(estimates):
    return {name: estimate.value for name, estimate in estimates.items()}


@pytest.fixture(scope="module")
def corpus(model, tokens):
    """Real text in which documents end within the sequences too, two sequences a document."""
    tokens = tokens[:20].clone()
    tokens[torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)) < 0.05] = model.tokenizer.bos_token_id
    return Corpus(tokens, documents=torch.arange(20) // 2)


@pytest.fixture
def cut(monkeypatch, corpus):
    """Explanations are cut from the text at random, which is much faster than building them."""

    def explained(context):
        subject, (text, _) = context.subject, context.once(shared.texts_of)
        return explanations_of(
            cut_ngrams(corpus.tokens, subject.d_sae, each=12), subject.d_sae, tokens=int(subject.site.valid(text.tokens).sum())
        )

    def scores_of(context):
        return SimpleNamespace(f1=torch.linspace(0, 1, len(context.once(explained).latents)))

    monkeypatch.setattr(MODULE, "explanations_of", explained)
    monkeypatch.setattr(MODULE, "scores_of", scores_of)
    monkeypatch.setattr(MODULE, "rebuilt_of", lambda context: None)


# --- what the losses are when the simulation is known --------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", SUPPORTED)
def test_true_latents_in_place_of_simulated_ones_lose_what_the_sae_loses(architecture, model, corpus, cut, monkeypatch):
    monkeypatch.setattr(Simulation, "simulate", lambda self, batch: sparse(batch.subject.dictionary.encode(batch.x)))
    found = measured(Subject(model, training_sae(architecture)), corpus)
    assert found["ce_explanation"].value == pytest.approx(found["ce_reconstruction"].value, rel=1e-6)
    assert found["ce_explanation"].stderr == pytest.approx(found["ce_reconstruction"].stderr, rel=1e-4)
    assert found["recovered_explanation"].value == pytest.approx(found["recovered_reconstruction"].value, abs=1e-6)
    assert abs(found["explanation_minus_reconstruction"].value) < 1e-5
    assert found["ce_reconstruction"].value != pytest.approx(found["ce_bias"].value, rel=1e-3)


def test_so_do_true_latents_in_place_of_those_from_rules(model, corpus, cut, monkeypatch):
    monkeypatch.setattr(SimulationByRules, "simulate", lambda self, batch: sparse(batch.subject.dictionary.encode(batch.x)))
    subject = Subject(model, training_sae("topk", normalize="layer_norm"))
    found = measured(subject, corpus, configured(names=("explanation", "rules")))
    assert found["ce_rules"].value == pytest.approx(found["ce_reconstruction"].value, rel=1e-6)
    assert found["recovered_rules"].value == pytest.approx(found["recovered_reconstruction"].value, abs=1e-6)
    for name in ("bigram", "explanation"):
        difference = found[f"rules_minus_{name}"]
        assert difference.value == pytest.approx(found["ce_rules"].value - found[f"ce_{name}"].value, abs=1e-6)
        assert difference.stderr > 0


def test_latents_are_simulated_from_the_rules_that_were_learned(model, corpus, cut):
    """What each token gets is what the rules in words predict, without any further scale."""
    subject = Subject(model, training_sae("topk"))
    context = context_of("explanation", subject, corpus, configured(names=("explanation", "rules")))
    simulation, (_, scoring) = simulation_by_rules(context), context.once(shared.texts_of)
    batch = next(scoring.activations(subject, None, progress=""))
    simulated = torch.zeros(len(batch.x), D_SAE)
    row, latent, value = simulation.simulate(batch)
    assert torch.equal(row, row.sort().values)
    simulated[row, latent] = value
    special = subject.language.special_tokens.tolist()
    for own in latent_rules(context.once(learned_rules_of).rules, 16, special):
        predicted = torch.tensor([own.predict(tokens) for tokens in batch.prefix.tokens]).flatten()[batch.position]
        torch.testing.assert_close(simulated[:, own.latent], predicted, rtol=1e-4, atol=1e-6)


def test_rules_are_neither_learned_nor_told_of_where_nobody_asks_for_them(model, corpus, cut, monkeypatch):
    monkeypatch.delattr("sae_lens_metrics.metrics.rules.learning.RuleLearner")
    found = measured(Subject(model, training_sae("topk")), corpus)
    for name in OF_RULES:
        assert found[name].value is None
        assert "ask for the metric rules" in found[name].reason


@pytest.mark.parametrize("normalize", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("hook", ["hook_resid_post", "hook_mlp_out", "attn.hook_z"])
def test_so_they_do_at_any_hook_and_with_any_normalisation(hook, normalize, model, corpus, cut, monkeypatch):
    monkeypatch.setattr(Simulation, "simulate", lambda self, batch: sparse(batch.subject.dictionary.encode(batch.x)))
    found = values(measured(Subject(model, training_sae("topk", hook=f"blocks.1.{hook}", normalize=normalize)), corpus))
    assert found["ce_explanation"] == pytest.approx(found["ce_reconstruction"], rel=1e-6)


@pytest.mark.parametrize("architecture", ["standard", "topk", "gated"])
@pytest.mark.parametrize("nothing", ["none at all", "zeros"])
def test_latents_of_zero_lose_what_the_bias_loses(nothing, architecture, model, corpus, cut, monkeypatch):
    def simulate(self, batch):
        return (
            no_latents()
            if nothing == "none at all"
            else sparse(torch.ones(len(batch.x), D_SAE))._replace(value=torch.zeros(len(batch.x) * D_SAE))
        )

    monkeypatch.setattr(Simulation, "simulate", simulate)
    found = measured(Subject(model, training_sae(architecture, normalize="layer_norm")), corpus)
    assert found["ce_explanation"].value == pytest.approx(found["ce_bias"].value, rel=1e-9)
    assert found["recovered_explanation"].value == pytest.approx(found["recovered_bias"].value, abs=1e-9)


def test_with_the_true_activation_put_back_the_loss_is_clean_after_the_last_block(model, corpus, cut, monkeypatch):
    monkeypatch.setattr(MODULE, "decode_sparse", lambda subject, latents, x: x)
    found = measured(Subject(model, training_sae("topk", hook="blocks.3.hook_resid_post")), corpus)
    assert found["ce_explanation"].value == pytest.approx(found["ce_clean"].value, rel=1e-6)
    assert found["recovered_explanation"].value == pytest.approx(1, abs=1e-6)
    assert found["explained_variance"].value == 1
    assert found["mse"].value == 0
    # zeros there leave the unembedding's bias only
    assert found["ce_zeroed"].value > found["ce_clean"].value + 1


def test_which_latents_count_as_explained(model, corpus, cut):
    """The stand-in gives latent i an F1 of i / 95."""
    subject = Subject(model, training_sae("standard"))
    everything = values(measured(subject, corpus, configured(min_f1=0)))
    assert everything["ce_explained_latents"] == pytest.approx(everything["ce_reconstruction"], rel=1e-9)
    subject.dictionary.sae.W_enc.data[:, -1] = 0  # the one latent whose F1 is 1 never fires
    subject.dictionary.sae.b_enc.data[-1] = -1
    nothing = values(measured(subject, corpus, configured(min_f1=1)))
    assert nothing["ce_explained_latents"] == pytest.approx(nothing["ce_bias"], rel=1e-6)
    some = values(measured(subject, corpus, configured(min_f1=0.5)))
    assert some["ce_explained_latents"] != pytest.approx(some["ce_bias"], rel=1e-3)
    assert some["ce_explained_latents"] != pytest.approx(some["ce_reconstruction"], rel=1e-3)


def test_neither_the_batch_size_nor_the_memory_for_latents_changes_a_number(model, corpus, cut, monkeypatch):
    subject = Subject(model, training_sae("standard"))
    whole = measured(subject, corpus, configured(batch_size=10))
    monkeypatch.setattr(Dictionary, "chunk", property(lambda self: 37))
    parts = measured(subject, corpus, configured(batch_size=4))
    assert whole.keys() == parts.keys()
    for name, estimate in whole.items():
        if name in OF_RULES:
            continue
        assert parts[name].value == pytest.approx(estimate.value, rel=1e-4, abs=1e-5), name
        if estimate.stderr is not None:
            assert parts[name].stderr == pytest.approx(estimate.stderr, rel=1e-3, abs=1e-6), name


# --- every number from plain per-sequence losses -------------------------------------------------------------------------------


def plain_activations(subject, corpus):
    """Activations [sequences, pos, d_in], and which positions count."""
    x = subject.site.model.run_with_cache(corpus.tokens, names_filter=[subject.hook_name])[1][subject.hook_name]
    return x, ~torch.isin(corpus.tokens, subject.language.special_tokens)


def plain_losses(subject, tokens, replacement=None, where=None):
    """Loss of each prediction [sequences, pos - 1], by TransformerLens's own hooks."""
    hooks = [] if replacement is None else [(subject.hook_name, lambda x, hook: torch.where(where[..., None], replacement, x))]
    with torch.no_grad():
        logits = subject.site.model.run_with_hooks(tokens, fwd_hooks=hooks)
    return -logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]


def normalised(x, kind):
    """What an SAE's normalisation makes of activations, and the mean and scale that it takes away, in SAELens's words."""
    mean, scale = torch.zeros_like(x[..., :1]), torch.ones_like(x[..., :1])
    if kind == "layer_norm":
        mean = x.mean(-1, keepdim=True)
        scale = (x - mean).std(-1, keepdim=True)
    elif kind == "constant_norm_rescale":
        scale = x.norm(dim=-1, keepdim=True) / x.shape[-1] ** 0.5
    return (x - mean) / scale, mean, scale


def frame(tokens, counts, x=None):
    """A row for each position that counts: the token, the one before it (-1 for none), and the activation."""
    before = torch.nn.functional.pad(tokens, (1, 0), value=-1)[:, :-1]
    rows = pd.DataFrame({"before": before[counts].numpy(), "token": tokens[counts].numpy()})
    return rows if x is None else rows.join(pd.DataFrame(x[counts].double().numpy()).add_prefix("x"))


def plain_means(train, test, kept_pairs=None):
    """Baselines for the test rows, by pandas, and where the pair is unknown."""
    columns = [name for name in train if name.startswith("x")]
    overall = train[columns].mean().to_numpy()
    tokens = train.groupby("token")[columns].mean()
    pairs = train.groupby(["before", "token"])[columns].mean()
    if kept_pairs is not None:
        pairs = pairs[pairs.index.isin(kept_pairs)]
    unigram = tokens.reindex(test["token"]).to_numpy()
    unigram = np.where(np.isnan(unigram), overall, unigram)
    bigram = pairs.reindex(pd.MultiIndex.from_frame(test[["before", "token"]])).to_numpy()
    unknown = np.isnan(bigram[:, 0])
    bigram = np.where(unknown[:, None], unigram, bigram)
    means = {"mean": np.broadcast_to(overall, unigram.shape), "unigram": unigram, "bigram": bigram}
    return {name: torch.tensor(mean, dtype=torch.float32) for name, mean in means.items()}, unknown


def ratio(numerators, denominators, documents):
    """Ratio of sums over sequences, and its standard error over documents, without bias where their ratios have one variance."""
    sums = pd.DataFrame({"a": numerators.double(), "b": denominators.double()}).groupby(documents.numpy()).sum()
    value = sums["a"].sum() / sums["b"].sum()
    shares = sums["b"] / sums["b"].sum()
    deviations = np.eye(len(sums)) - shares.to_numpy()  # of each document from the ratio, in terms of all documents' own ratios
    squares = ((sums["a"] / sums["b"] - value) * shares) ** 2
    return value, math.sqrt((squares / (deviations**2).sum(1)).sum())


@pytest.mark.parametrize(
    ("architecture", "hook", "normalize"),
    [
        ("topk", "hook_resid_post", "none"),
        ("standard", "hook_mlp_out", "layer_norm"),
        ("topk", "hook_resid_post", "constant_norm_rescale"),
        ("abstopk", "hook_resid_pre", "none"),
    ],
)
def test_every_number_follows_from_plain_losses(architecture, hook, normalize, model, corpus):
    subject = Subject(model, training_sae(architecture, hook=f"blocks.1.{hook}", normalize=normalize))
    text, scoring = texts(subject, corpus, configured())
    explained = explain(subject, text, configured())
    f1 = score(explained, subject, text, scoring, configured()).f1
    min_f1 = float(f1[f1 > 0].median())
    found = measured(subject, corpus, configured(min_f1=min_f1))

    # what is put in the place of each activation
    (x_text, counts_text), (x, counts) = (plain_activations(subject, half) for half in (text, scoring))
    z_text, z = subject.dictionary.encode(x_text), subject.dictionary.encode(x)
    dense = []
    for half in (text, scoring):
        matches = explained.matcher().match(half.tokens, torch.isin(half.tokens, subject.language.special_tokens))
        predicted = torch.zeros(half.tokens.numel(), D_SAE)
        predicted[matches.position, matches.latent] = matches.value
        dense.append(predicted.view(*half.tokens.shape, D_SAE))
    s, a = dense[0][counts_text].double(), z_text[counts_text].double()
    squares = s.square().sum(0)
    scale = torch.where(squares > 0, (s * a).sum(0) / squares.clamp_min(1e-9), 0).float()
    (x_normalised, _, _), (_, own_mean, own_scale) = normalised(x_text, normalize), normalised(x, normalize)
    baselines, unknown = plain_means(frame(text.tokens, counts_text, x_normalised), frame(scoring.tokens, counts))
    placed = {}
    for name, mean in baselines.items():
        placed[name] = torch.zeros_like(x)
        placed[name][counts] = mean * own_scale[counts] + own_mean[counts]
    placed |= {
        "reconstruction": subject.dictionary.decode(z, x),
        "explanation": subject.dictionary.decode(dense[1] * scale, x),
        "explained_latents": subject.dictionary.decode(z * (f1 >= min_f1), x),
        "bias": subject.dictionary.decode(torch.zeros_like(z), x),
        "zeroed": torch.zeros_like(x),
    }
    everywhere = torch.ones_like(counts)
    losses = {"clean": plain_losses(subject, scoring.tokens)} | {
        name: plain_losses(subject, scoring.tokens, value, everywhere if name == "zeroed" else counts) for name, value in placed.items()
    }
    losses = {name: (loss * counts[:, :-1]).sum(1) for name, loss in losses.items()}
    n = counts[:, :-1].sum(1)

    # and what follows
    expected = {f"ce_{name}": (loss, n) for name, loss in losses.items()}
    for name in REPLACEMENTS:
        if name != "zeroed":
            expected[f"recovered_{name}"] = (losses["zeroed"] - losses[name], losses["zeroed"] - losses["clean"])
    for other in ("bigram", "reconstruction"):
        expected[f"explanation_minus_{other}"] = (losses["explanation"] - losses[other], n)
    spread = ((x - x[counts].mean(0)).square().sum(-1) * counts).sum(1)
    error = ((x - placed["explanation"]).square().sum(-1) * counts).sum(1)
    expected["mse"] = (error, spread)
    expected["explained_variance"] = (spread - error, spread)
    backoff = torch.zeros(counts.shape)
    backoff[counts] = torch.tensor(unknown).float()
    expected["bigram_backoff"] = (backoff.sum(1), counts.sum(1))
    assert set(found) == set(expected) | {"used", "unscaled", "baseline_tokens"} | OF_RULES
    assert 0 < unknown.mean() < 1
    for name, (numerators, denominators) in expected.items():
        value, stderr = ratio(numerators, denominators, scoring.documents)
        assert found[name].value == pytest.approx(value, rel=1e-4, abs=2e-5), name
        assert error_parts(found[name]).over_units[0] == pytest.approx(stderr, rel=1e-3, abs=1e-5), name
        assert (found[name].n, found[name].of) == (5, "documents")
    has_patterns = torch.zeros(D_SAE, dtype=torch.bool)
    has_patterns[explained.patterns.latent] = True
    assert found["used"].value == (has_patterns & (scale != 0)).sum()
    assert found["used"].value + found["unscaled"].value == has_patterns.sum()
    assert (found["used"].n, found["baseline_tokens"].value) == (D_SAE, int(counts_text.sum()))


def test_recovered_fractions_and_differences_fit_the_losses(model, corpus, cut):
    found = values(measured(Subject(model, training_sae("topk")), corpus))
    for name in REPLACEMENTS:
        if name != "zeroed":
            expected = (found["ce_zeroed"] - found[f"ce_{name}"]) / (found["ce_zeroed"] - found["ce_clean"])
            assert found[f"recovered_{name}"] == pytest.approx(expected, rel=1e-6), name
    for name in ("bigram", "reconstruction"):
        assert found[f"explanation_minus_{name}"] == pytest.approx(found["ce_explanation"] - found[f"ce_{name}"], abs=1e-9)
    assert found["explained_variance"] == pytest.approx(1 - found["mse"])
    assert not {"recovered_zeroed", "recovered_clean"} & found.keys()


def test_a_paired_difference_is_surer_than_its_parts(model, corpus, cut):
    found = measured(Subject(model, training_sae("topk")), corpus)
    unpaired = math.hypot(found["ce_explanation"].stderr, found["ce_bigram"].stderr)
    assert 0 < found["explanation_minus_bigram"].stderr < unpaired


def test_clean_and_zeroed_losses_are_saelenss_own(model, dataset, tokens, cut):
    from sae_lens.evals import EvalConfig, run_evals
    from sae_lens.training.activation_scaler import ActivationScaler

    sae = inference_sae(training_sae("topk"))
    tokenization = Tokenization(64, True, False, "bos")
    config = EvalConfig(batch_size_prompts=8, n_eval_reconstruction_batches=2, compute_ce_loss=True)
    theirs, _ = run_evals(sae, token_store(dataset, model, tokenization), model, ActivationScaler(), config)
    scored = token_store(dataset, model, tokenization).get_batch_tokens(16)
    corpus = Corpus.from_tokens(torch.cat([tokens[:16], scored]))
    subject = Subject(model, sae)
    assert torch.equal(texts(subject, corpus, configured())[1].tokens, scored)
    found = values(measured(subject, corpus))
    expected = theirs["model_performance_preservation"]
    assert found["ce_clean"] == pytest.approx(expected["ce_loss_without_sae"], rel=1e-4)
    assert found["ce_zeroed"] == pytest.approx(expected["ce_loss_with_ablation"], rel=1e-4)
    assert found["ce_reconstruction"] == pytest.approx(expected["ce_loss_with_sae"], rel=1e-4)
    assert found["recovered_reconstruction"] == pytest.approx(expected["ce_loss_score"], rel=1e-3)


def test_a_slice_of_positions_is_replaced_and_counted_alone(model, corpus, cut):
    subject = Subject(model, sliced(training_sae("topk"), 10, 40))
    found = values(measured(subject, corpus))
    _, scoring = texts(subject, corpus, configured())
    x, counts = plain_activations(subject, scoring)
    counts[:, :10] = counts[:, 40:] = False
    for name, replacement in (("clean", None), ("bias", subject.dictionary.decode(torch.zeros(*x.shape[:2], D_SAE), x))):
        losses = plain_losses(subject, scoring.tokens, replacement, counts)
        assert found[f"ce_{name}"] == pytest.approx(float(losses[counts[:, :-1]].double().mean()), rel=1e-5)


# --- means given one or two tokens ---------------------------------------------------------------------------------------------


def fitted(subject, train, test, batch_size=7):
    means = TokenMeans(subject, test.tokens)
    for batch in train.activations(subject, batch_size, progress=""):
        means.learn(batch)
    (batch,) = test.activations(subject, len(test), progress="")
    return means.predict(batch)


def assert_means(predicted, expected):
    assert predicted.keys() == expected.keys()
    for name, mean in expected.items():
        torch.testing.assert_close(predicted[name], mean, rtol=1e-5, atol=2e-5)


def test_means_given_tokens_are_those_of_a_group_by(model, corpus):
    subject = Subject(model, training_sae("topk"))
    train, test = corpus.halves()
    (x, counts), (_, counts_test) = (plain_activations(subject, half) for half in (train, test))
    expected, unknown = plain_means(frame(train.tokens, counts, x), frame(test.tokens, counts_test))
    predicted, backoff = fitted(subject, train, test)
    assert_means(predicted, expected)
    assert np.array_equal(backoff.numpy(), unknown.astype(np.float32))
    # on the training text itself nothing backs off, and the baselines get better with every token that they know
    predicted, backoff = fitted(subject, train, train)
    assert backoff.sum() == 0
    error = {name: float((mean - x[counts]).square().sum()) for name, mean in predicted.items()}
    assert error["bigram"] < error["unigram"] < error["mean"]


def test_the_first_token_of_a_sequence_has_a_pair_of_its_own():
    """Without BOS; token 0 is a token like any other, and not the token before the first."""
    rules = [fires_after(0), fires_after(0, 1), fires_after(None, 1, value=3.0), fires_after(2, None, 1), fires_on_first(1, value=0.5)]
    subject = planted_subject(rules)
    train = Corpus.from_tokens(planted_tokens(subject, 20, first=0, vocabulary=5))
    # with tokens that the training text lacks
    test = Corpus.from_tokens(planted_tokens(subject, 10, first=0, vocabulary=8, seed=1))
    (batch,) = train.activations(subject, 20, progress="")
    x = batch.x.view(20, 16, -1)
    everywhere, there = torch.ones_like(train.tokens, dtype=torch.bool), torch.ones_like(test.tokens, dtype=torch.bool)
    rows = frame(train.tokens, everywhere, x)
    assert (rows["before"] == -1).sum() == 20
    expected, unknown = plain_means(rows, frame(test.tokens, there))
    predicted, backoff = fitted(subject, train, test)
    assert_means(predicted, expected)
    assert np.array_equal(backoff.numpy(), unknown.astype(np.float32))


@pytest.mark.parametrize("architecture", SUPPORTED)
def test_without_a_state_of_the_token_means_are_those_of_the_activations_to_the_last_bit(architecture, model, corpus, monkeypatch):
    subject = Subject(model, training_sae(architecture))
    train, test = corpus.halves()
    ours, _ = fitted(subject, train, test)
    monkeypatch.setattr(TokenState, "remove", lambda self, y: y)
    monkeypatch.setattr(TokenState, "restore", lambda self, y: y)
    plain, _ = fitted(subject, train, test)
    for name, mean in plain.items():
        assert torch.equal(ours[name], mean), name


@pytest.mark.parametrize("normalize", ["layer_norm", "constant_norm_rescale"])
def test_means_keep_what_normalisation_takes_away_from_each_token(normalize, model, corpus):
    """As reconstructions do: each token's own scale, and with layer_norm its mean over channels."""
    subject = Subject(model, training_sae("topk", normalize=normalize))
    train, test = corpus.halves()
    (x, counts), (x_test, counts_test) = (plain_activations(subject, half) for half in (train, test))
    (x, _, _), (_, mean, scale) = normalised(x, normalize), normalised(x_test, normalize)
    expected, _ = plain_means(frame(train.tokens, counts, x), frame(test.tokens, counts_test))
    predicted, _ = fitted(subject, train, test)
    assert_means(predicted, {name: value * scale[counts_test] + mean[counts_test] for name, value in expected.items()})


def test_a_token_without_any_spread_harms_no_mean(model):
    """Its scale is zero, and all that normalisation leaves of it is nothing."""
    state = TokenState(Subject(model, training_sae("topk", normalize="layer_norm")).dictionary, torch.full((1, 128), 3.0))
    assert state.remove(torch.full((1, 128), 3.0)).abs().max() < 1e-5
    torch.testing.assert_close(state.restore(torch.randn(1, 128)), torch.full((1, 128), 3.0))


@pytest.mark.parametrize("memory_gb", [1e-9, 5e-4])
def test_a_small_memory_limit_gives_the_same_numbers(memory_gb, model, corpus, cut, monkeypatch):
    """Half of 5e-4 GiB holds some 500 means of 128 channels; a sequence takes more than 100."""
    subject, held = Subject(model, training_sae("topk", normalize="layer_norm")), []
    whole = measured(subject, corpus)
    init = TokenMeans.__init__

    def counted(self, subject, asked):
        init(self, subject, asked)
        held.append(sum(len(means) * means.bytes_per_key(subject.d_out) for means in self._means[1:]))

    monkeypatch.setattr(TokenMeans, "__init__", counted)
    parts = measured(subject, corpus, configured(memory_gb=memory_gb))
    sequences = len(texts(subject, corpus, configured())[1])
    if memory_gb == 1e-9:
        assert len(held) == sequences
    else:
        assert 1 < len(held) < sequences
        assert max(held) <= memory_gb * 2**30 / 2
    assert whole.keys() == parts.keys()
    for name, estimate in whole.items():
        if name in OF_RULES:
            continue
        assert parts[name].value == pytest.approx(estimate.value, rel=1e-5, abs=1e-6), name
        assert parts[name].n == estimate.n


# --- more text to learn the means from -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(model, dataset):
    """A corpus that knows of more text."""
    return Corpus.from_dataset(dataset, Subject(model, training_sae("topk")), tokens=2_048)


def learned_from(subject, texts, scoring, config):
    """Losses with the means of some texts in place, by pandas and TransformerLens's own hooks."""
    frames = [frame(text.tokens, counts, x) for text in texts for x, counts in [plain_activations(subject, text)]]
    x, counts = plain_activations(subject, scoring)
    baselines, unknown = plain_means(pd.concat(frames), frame(scoring.tokens, counts))
    losses = {}
    for name, mean in baselines.items():
        placed = torch.zeros_like(x)
        placed[counts] = mean
        losses[f"ce_{name}"] = float(plain_losses(subject, scoring.tokens, placed, counts)[counts[:, :-1]].double().mean())
    return losses | {"bigram_backoff": unknown.mean(), "baseline_tokens": sum(map(len, frames))}


def test_means_are_learned_from_more_text_of_other_documents(model, drawn, cut):
    subject, config = Subject(model, training_sae("topk")), configured(baseline_tokens=8_192)
    text, scoring = texts(subject, drawn, config)
    more = drawn.more(8_192, subject, apart_from=scoring)
    assert more.tokens.numel() == 8_192
    assert more.is_apart_from(scoring)
    result = explanation(context_of("explanation", subject, drawn, config))
    found = values(result.estimates)
    for name, value in learned_from(subject, [text, more], scoring, config).items():
        assert found[name] == pytest.approx(value, rel=1e-5), name
    assert more.describe()["tokens_sha256"] in result.notes[0]
    assert "8,192 tokens" in result.notes[0]
    # nothing else moves, and the means tell more
    few = measured(subject, drawn)
    moved = {name for name, estimate in few.items() if estimate.value != found[name]}
    assert moved == {f"{of}_{name}" for of in ("ce", "recovered") for name in ("mean", "unigram", "bigram")} | {
        "bigram_backoff",
        "baseline_tokens",
        "explanation_minus_bigram",
    }
    assert found["bigram_backoff"] < few["bigram_backoff"].value


def test_where_there_is_no_more_text_the_means_are_those_of_the_first_half_and_it_is_said(model, corpus, cut):
    subject = Subject(model, training_sae("topk"))
    results = [explanation(context_of("explanation", subject, corpus, configured(baseline_tokens=asked))) for asked in (0, 8_192)]
    assert results[0].estimates == results[1].estimates
    assert "no further text was asked for" in results[0].notes[0]
    assert "there is no further text: the corpus knows of no other text of its source" in results[1].notes[0]


# --- planted latents that are n-grams exactly ----------------------------------------------------------------------------------


class PlainTokenizer(PlantedTokenizer):
    def batch_decode(self, pieces, clean_up_tokenization_spaces):
        return [self.decode(piece) for piece in pieces]


RULES = [
    fires_after(1),
    fires_after(2, 3, value=2.0),
    fires_after(4, None, 5, value=0.5),
    fires_after_any([(1, 6), (2, 6), (3, 6)], [0.5, 1.5, 2.5]),
    fires_after(7, value=3.0),
    fires_after(5, 8, value=1.5),
    fires_after(9, 3, value=1.0),
]


def speaking(context=16):
    """A planted subject, and text that it wrote itself: no other activations can predict that better."""
    subject = planted_subject(RULES, d_vocab=12, context_size=context)
    with torch.no_grad():
        subject.site.model.W_U.mul_(1.5)
        subject.site.model.W_U[:, PAD] = -2  # the padding token hardly comes
    return subject


def spoken(subject, sequences, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 10, (sequences, 1), generator=generator)
    for _ in range(subject.language.context_size - 1):
        probabilities = subject.site.model(tokens)[:, -1].softmax(-1)
        tokens = torch.cat([tokens, probabilities.multinomial(1, generator=generator)], 1)
    return Corpus.from_tokens(tokens)


def planted_config(**changes):
    return configured(**({"batch_size": 100, "context": 16, "pad_token": PAD, "max_length": 4, "examples": 16} | changes))


@pytest.fixture(scope="module")
def planted_text():
    return spoken(speaking(), 1200)


@pytest.mark.parametrize("variant", ["released", "strict"])
def test_latents_that_are_ngrams_are_simulated_perfectly(variant, planted_text):
    found = values(measured(speaking(), planted_text, planted_config(variant=variant)))
    assert found["ce_explanation"] == pytest.approx(found["ce_reconstruction"], abs=2e-3)
    assert found["ce_reconstruction"] == pytest.approx(found["ce_clean"], abs=1e-5)
    assert found["explained_variance"] > 0.998
    assert found["recovered_explanation"] == pytest.approx(1, abs=0.01)
    assert (found["used"], found["unscaled"]) == (len(RULES), 0)
    assert found["ce_explained_latents"] == pytest.approx(found["ce_reconstruction"], abs=1e-5)
    # most of the rules are about one or two tokens: the baselines are in their order, and below the explanations
    order = [found[f"ce_{name}"] for name in ("explanation", "bigram", "unigram", "mean")]
    assert order == sorted(order)
    assert found["explanation_minus_bigram"] < 0


def permuted(shift):
    """Explanations handed on from one latent to another."""

    def explained(context):
        right = shared.explanations_of(context)
        patterns = right.patterns
        latent = (patterns.latent + shift) % context.subject.d_sae
        order = latent.argsort(stable=True)
        moved = Patterns(latent[order], patterns.tokens[order], patterns.at_start[order], patterns.value[order])
        return dataclasses.replace(right, patterns=moved)

    return explained


@pytest.mark.parametrize("shift", range(1, len(RULES)))
def test_explanations_of_other_latents_are_no_better_than_the_bias(shift, planted_text, monkeypatch):
    right = measured(speaking(), planted_text, planted_config())
    monkeypatch.setattr(MODULE, "explanations_of", permuted(shift))
    wrong = measured(speaking(), planted_text, planted_config())
    assert wrong["ce_bias"] == right["ce_bias"]
    # the rules end on different tokens, or exclude each other: nothing of a latent is predicted by what belongs to another
    assert wrong["ce_explanation"].value == pytest.approx(wrong["ce_bias"].value, abs=1e-6)
    assert wrong["used"].value == len(RULES)  # they fire, but not where the latents do
    assert wrong["ce_explanation"].value > right["ce_explanation"].value + 5 * right["ce_explanation"].stderr
    assert wrong["explained_variance"].value < 0.1


# --- SAEs that SAELens trained -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", slow_but(SHIPPED_SAES, "TopK".__eq__))
def test_explanations_of_a_trained_sae_tell_something_and_lose_something(name, trained):
    rows = Dataset.from_dict({"text": list(standard_library_documents("held_out"))[:40]})
    corpus = Corpus.from_dataset(rows, trained[name], tokens=8_192)
    found = measured(trained[name], corpus, configured(max_length=8, examples=8, batch_size=32))
    clean, reconstruction, simulated, zeroed = (found[f"ce_{it}"] for it in ("clean", "reconstruction", "explanation", "zeroed"))
    assert clean.value <= reconstruction.value < simulated.value < zeroed.value
    assert simulated.value < found["ce_bias"].value
    assert found["explanation_minus_reconstruction"].value > 3 * found["explanation_minus_reconstruction"].stderr
    assert found["explanation_minus_bigram"].stderr > 0
    assert found["ce_unigram"].value < found["ce_mean"].value
    assert found["used"].value > 100
    for key, estimate in found.items():
        assert estimate.stderr is not None or estimate.reason, key
        assert estimate.of in ("documents", "latents", "tokens") or key in OF_RULES


# --- what another draw of explanations would move ------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", ["none", "layer_norm"])
def test_errors_hold_what_rebuilt_explanations_move(normalize, model, corpus, cut, monkeypatch):
    """With one group of latents: half the square of what exchanging them moves, less that difference's own error, over their share."""
    subject, some = Subject(model, training_sae("topk", normalize=normalize)), torch.arange(0, D_SAE, 3)
    first, other = (cut_ngrams(corpus.tokens, D_SAE, each=12, seed=seed) for seed in (0, 1))
    exchanged = first | {latent: other[latent] for latent in some.tolist() if latent in other}
    for latent in set(some.tolist()) - set(other):
        exchanged.pop(latent, None)
    good, again = torch.linspace(0, 1, D_SAE) >= 0.5, torch.linspace(0, 1, D_SAE) >= 0.5
    again[some] = torch.arange(len(some)) % 2 == 0

    def found(ngrams, good, rebuilt):
        def explained(context):
            return dataclasses.replace(explanations_of(ngrams, D_SAE), held_out=torch.zeros(D_SAE, 1, dtype=torch.long))

        counts = torch.full((len(some), 1), 10)
        counted = SimpleNamespace(at=some, predicted=counts, hits=counts * again[some, None])  # predicts all, or nothing
        scores = SimpleNamespace(f1=good.double(), fired=torch.full((D_SAE,), 10), held_out=torch.ones(D_SAE, 4) > 0, rebuilt=counted)
        monkeypatch.setattr(MODULE, "explanations_of", explained)
        monkeypatch.setattr(MODULE, "scores_of", lambda context: scores)
        monkeypatch.setattr(MODULE, "rebuilt_of", lambda context: rebuilt)
        return measured(subject, corpus)

    rebuilt = dataclasses.replace(
        explanations_of({latent: ngrams for latent, ngrams in other.items() if latent in some}, D_SAE), latents=some
    )
    own, moved, both = found(first, good, None), found(exchanged, again, None), found(first, good, rebuilt)
    drawn = 0
    for name, estimate in both.items():
        assert estimate.value == own[name].value, name
        if name.startswith("recovered") or name in ("mse", "explained_variance") or estimate.influence is None:
            continue
        difference = moved[name].value - own[name].value
        apart = torch.tensor(moved[name].influence).double() - torch.tensor(own[name].influence).double()
        noise = estimate.n / (estimate.n - 1) * float(apart.square().sum())
        expected = max(0.0, difference**2 - noise) * D_SAE / len(some) / 2
        is_moved = name in ("ce_explanation", "ce_explained_latents") or name.startswith("explanation_minus")
        assert (estimate.drawn or 0) ** 2 == pytest.approx(expected if is_moved else 0, rel=1e-3, abs=1e-9), name
        drawn += bool(estimate.drawn)
    assert drawn >= 3
    # the share of the loss that is recovered is a function of the loss
    slope = both["ce_zeroed"].value - both["ce_clean"].value
    for name in ("explanation", "explained_latents"):
        if both[f"ce_{name}"].drawn:
            assert both[f"recovered_{name}"].drawn == pytest.approx(both[f"ce_{name}"].drawn / slope, rel=0.3)


def test_which_documents_are_for_which_latents_does_not_hang_on_memory(model, corpus, cut, monkeypatch):
    """The text is measured in parts, each of which is counted from 0."""
    monkeypatch.setattr("sae_lens_metrics.metrics.explanation.redraws._UNITS", 2)  # two groups, in five documents
    subject, some = Subject(model, training_sae("topk")), torch.arange(0, D_SAE, 3)
    own, other = (explanations_of(cut_ngrams(corpus.tokens, D_SAE, each=12, seed=seed), D_SAE) for seed in (0, 1))
    rebuilt = dataclasses.replace(other, latents=some, patterns=_only(other.patterns, some))
    counts = torch.full((len(some), 1), 10)
    scores = SimpleNamespace(
        f1=torch.linspace(0, 1, D_SAE),
        fired=torch.full((D_SAE,), 10),
        held_out=torch.ones(D_SAE, 4) > 0,
        rebuilt=SimpleNamespace(at=some, predicted=counts, hits=counts),
    )
    explained = dataclasses.replace(own, held_out=torch.zeros(D_SAE, 1, dtype=torch.long))
    for name, made in {"explanations_of": explained, "scores_of": scores, "rebuilt_of": rebuilt}.items():
        monkeypatch.setattr(MODULE, name, lambda context, made=made: made)
    whole, parts = measured(subject, corpus), measured(subject, corpus, configured(memory_gb=5e-4, batch_size=3))
    assert any(each.drawn for each in whole.values())
    for name, estimate in whole.items():
        assert (parts[name].drawn or 0) == pytest.approx(estimate.drawn or 0, rel=1e-3, abs=1e-6), name


def _only(patterns, latents):
    kept = torch.isin(patterns.latent, latents)
    return Patterns(patterns.latent[kept], patterns.tokens[kept], patterns.at_start[kept], patterns.value[kept])


# --- what is done once ---------------------------------------------------------------------------------------------------------


def test_explanations_are_built_and_scored_once_for_both_metrics(model, corpus, monkeypatch):
    calls = {"built": 0, "scored": 0}
    build, scored = building.build_patterns, shared.score

    def counted(*args, **kwargs):
        calls["built"] += 1
        return build(*args, **kwargs)

    def scoring(*args, **kwargs):
        calls["scored"] += 1
        return scored(*args, **kwargs)

    monkeypatch.setattr(building, "build_patterns", counted)
    monkeypatch.setattr(shared, "score", scoring)
    subject = Subject(model, training_sae("topk"))
    config = configured(names=["n2g", "explanation"])
    both = evaluate(subject, corpus, config)
    assert calls == {"built": 2, "scored": 1}  # some explanations once more, for their errors
    again = evaluate(subject, corpus, dataclasses.replace(config, names=["explanation", "n2g"]))  # a run of its own
    assert calls == {"built": 4, "scored": 2}
    assert both.flat() == again.flat()
    # alone it says the same
    alone = evaluate(Subject(model, training_sae("topk")), corpus, configured())
    assert calls == {"built": 6, "scored": 3}
    assert {key: value for key, value in both.flat().items() if key.startswith("explanation/")} == {
        key: value for key, value in alone.flat().items() if key.startswith("explanation/")
    }


def test_explanations_from_a_folder_give_the_same_numbers(model, corpus, tmp_path, monkeypatch):
    config = configured(folder=str(tmp_path))
    first = measured(Subject(model, training_sae("topk")), corpus, config)
    monkeypatch.setattr(building, "build_patterns", lambda *_, **__: pytest.fail("they were built again"))
    assert measured(Subject(model, training_sae("topk")), corpus, config) == first


# --- what cannot be ------------------------------------------------------------------------------------------------------------


def printed(report):
    out = StringIO()
    print_reports({"one": report}, Console(file=out, width=150))
    return out.getvalue()


def test_fewer_explanations_than_latents_are_no_error_and_no_number(model, corpus, tmp_path):
    report = evaluate(Subject(model, training_sae("topk")), corpus, configured(latents=D_SAE - 1))
    estimate = report.metrics["explanation"].estimates["ce_explanation"]
    assert estimate.value is None
    assert "all 96 latents" in estimate.reason
    assert "95 only" in estimate.reason
    assert report.errors == {}
    assert not any(key.startswith("explanation/") for key in report.flat())
    assert Report.load(report.save(tmp_path / "report.json")).to_dict() == report.to_dict()
    assert re.search(r"explanation/ce_explanation\W+-\W", printed(report))
    assert "n2g.latents" in report.to_frame().query("metric == 'explanation'")["reason"].item()


def test_as_many_explanations_as_latents_are_enough(model, corpus):
    subject = Subject(model, training_sae("topk"))
    few, many, every = (measured(subject, corpus, configured(latents=latents)) for latents in (D_SAE, D_SAE + 1, None))
    assert few == many == every
    assert every["ce_explanation"].value is not None


def test_a_whole_report_is_saved_loaded_printed_and_flattened(model, corpus, tmp_path):
    report = evaluate(Subject(model, training_sae("topk")), corpus, configured())
    loaded = Report.load(report.save(tmp_path / "report.json"))
    assert loaded.to_dict() == report.to_dict()
    assert all(math.isfinite(value) for value in report.flat().values())
    assert {f"explanation/ce_{name}" for name in ("clean", *REPLACEMENTS)} <= report.flat().keys()
    assert {f"explanation/ce_{name}_stderr" for name in ("clean", *REPLACEMENTS)} <= report.flat().keys()
    text = printed(report)
    for name in ("ce_clean", "ce_reconstruction", "ce_explanation", "ce_bigram", "ce_zeroed", "explanation_minus_bigram"):
        assert re.search(rf"explanation/{name}\W+\d[\d.]* ± [\d.]+|explanation/{name}\W+-?\d", text), name


@pytest.mark.parametrize("sequences", [2, 3])
def test_a_corpus_that_cannot_be_halved(sequences, model, tokens):
    with pytest.raises(CorpusError, match="cannot be halved"):
        evaluate(Subject(model, training_sae("topk")), Corpus.from_tokens(tokens[:sequences]), configured())


def test_text_of_special_tokens_only(model):
    bos = model.tokenizer.bos_token_id
    report = evaluate(Subject(model, training_sae("topk")), Corpus.from_tokens(torch.full((8, 16), bos)), configured(context=16))
    estimates = report.metrics["explanation"].estimates
    assert estimates["ce_clean"].value is estimates["ce_explanation"].value is estimates["mse"].value is None
    assert estimates["ce_clean"].reason
    assert estimates["used"].value == 0


def test_explanations_of_another_sae_under_this_ones_key(model, corpus, tmp_path):
    config = configured(folder=str(tmp_path))
    text = texts(Subject(model, training_sae("topk")), corpus, config)[0]
    mine, other = (explain(Subject(model, training_sae("topk", seed=seed)), text, config) for seed in (0, 1))
    (tmp_path / f"{other.key}.json").replace(tmp_path / f"{mine.key}.json")
    with pytest.raises(ExplanationError, match=r"belong to something else: sae differ"):
        evaluate(Subject(model, training_sae("topk")), corpus, config)


@pytest.mark.parametrize(("setting", "value"), [("min_f1", -0.01), ("min_f1", 1.01), ("min_f1", math.nan), ("baseline_tokens", -1)])
def test_settings_out_of_range(setting, value):
    with pytest.raises(ConfigError, match=rf"explanation\.{setting} is {value}, expected"):
        ExplanationConfig(**{setting: value})
    with pytest.raises(ConfigError, match=setting):
        MetricsConfig.from_dict({"explanation": {setting: value}})


@pytest.mark.parametrize("hook", ["blocks.3.hook_resid_post", "blocks.0.hook_resid_pre"])
def test_the_outermost_hooks(hook, model, corpus):
    assert hook != HOOK
    report = evaluate(Subject(model, training_sae("topk", hook=hook)), corpus, configured(max_length=2))
    flat = report.flat()
    assert flat["explanation/ce_clean"] < flat["explanation/ce_zeroed"]
    assert flat["explanation/used"] > 0


# --- memory --------------------------------------------------------------------------------------------------------------------

MEASURE = """
    import sys, time, warnings
    warnings.filterwarnings("ignore")
    sys.path.insert(0, TESTS)
    from itertools import islice
    import torch
    torch.set_num_threads(1)
    from datasets import Dataset
    from sae_lens.saes.sae import SAEMetadata
    from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig
    from sae_lens_metrics import Corpus, Subject
    from sae_lens_metrics.demo.shipped import load_tiny_lm
    from sae_lens_metrics.text.standard_library import standard_library_documents
    from sae_lens_metrics.subject.backends import at_once
    from sae_lens_metrics.metrics.explanation.simulation import Simulation, decode_sparse
    from simulated import cut_ngrams, explanations_of
    from resident import bytes_now, peak_bytes

    torch.manual_seed(0)
    metadata = SAEMetadata(hook_name="blocks.1.hook_resid_post", context_size=64, prepend_bos=True)
    sae = TopKSAE(TopKSAEConfig(d_in=128, d_sae=32_768, k=32, metadata=metadata))
    with torch.no_grad():
        sae.W_dec.copy_(torch.nn.functional.normalize(torch.randn(32_768, 128), dim=1))
        sae.W_enc.copy_(sae.W_dec.T)
    subject = Subject(load_tiny_lm(), sae)
    rows = Dataset.from_dict({"text": list(islice(standard_library_documents("train"), 150))})
    corpus = Corpus.from_dataset(rows, subject, tokens=16_384)
    explained = explanations_of(cut_ngrams(corpus.tokens[:, 1:], 32_768, each=4), 32_768)
    simulation = Simulation(explained, subject)
    before, start = bytes_now(), time.perf_counter()
    # all of the text at once
    at_once._OF_A_THREAD = at_once._MOST["cpu"] = corpus.tokens.numel()
    (batch,) = corpus.activations(subject, len(corpus), progress="")
    simulation.learn(batch)
    latents = simulation.simulate(batch)
    reconstruction = decode_sparse(subject, latents, batch.x)
    seconds = time.perf_counter() - start
    more = (peak_bytes() - before) / 2**30
    print(len(batch.x), len(latents.value), int((simulation.scale != 0).sum()), round(more, 2), round(seconds, 1))
"""


@pytest.mark.slow
def test_simulating_many_latents_needs_little_memory():
    """A dense array of them would take 2 GiB."""
    pytest.importorskip("resource")
    tests = repr(str(next(path for path in sys.path if path.endswith("support"))))
    code = textwrap.dedent(MEASURE).replace("TESTS", tests)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    activations, latents, used, gigabytes, seconds = (float(number) for number in re.findall(r"[\d.]+", done.stdout.splitlines()[-1]))
    sys.stderr.write(f"{latents:.0f} latents simulated at {activations:.0f} positions in {seconds} s with {gigabytes} GiB more\n")
    assert activations > 15_000
    assert latents > 50 * activations
    assert used > 100
    assert gigabytes < 1
