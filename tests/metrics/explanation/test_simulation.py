"""Simulated latents: what they are scaled by, where they are predicted, and what the SAE makes of them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import fires_after, planted_subject, planted_tokens
from saes import D_SAE, SUPPORTED, training_sae
from simulated import cut_ngrams, explanations_of, no_latents, sliced, sparse

from sae_lens_metrics import Corpus, Subject
from sae_lens_metrics.functional.ngrams import NGram
from sae_lens_metrics.metrics.explanation.simulation import Simulation, decode_sparse
from sae_lens_metrics.subject.dictionary import Dictionary

NORMALISATIONS = ["none", "layer_norm", "constant_norm_rescale"]
VARIANTS = ("released", "strict")
BOS = 49


@pytest.fixture(scope="module")
def corpus(model, tokens):
    """Real text in which documents end within the sequences too."""
    tokens = tokens[:14].clone()
    tokens[torch.rand(tokens.shape, generator=torch.Generator().manual_seed(1)) < 0.05] = model.tokenizer.bos_token_id
    return Corpus.from_tokens(tokens)


def learnt(simulation, subject, corpus, batch_size=5):
    for batch in corpus.activations(subject, batch_size, progress=""):
        simulation.learn(batch)
    return simulation


def dense(subject, explanations, corpus, columns=slice(None)):
    """Predictions and latents at the positions that count, [positions, d_sae] in float64."""
    tokens = corpus.tokens
    special = torch.isin(tokens, subject.language.special_tokens)
    matches = explanations.matcher().match(tokens, special)
    predicted = torch.zeros(tokens.numel(), subject.d_sae, dtype=torch.float64)
    predicted[matches.position, matches.latent] = matches.value.double()
    x = subject.site.model.run_with_cache(tokens, names_filter=[subject.hook_name])[1][subject.hook_name]
    actual = subject.dictionary.encode(x).flatten(0, 1).double()
    counts = torch.zeros_like(special)
    counts[:, columns] = True
    counts = (counts & ~special).flatten()
    return predicted[counts], actual[counts]


def assert_close(actual, expected, tolerance=1e-5):
    assert actual.shape == expected.shape
    assert (actual - expected).norm() <= tolerance * expected.norm()
    # and no single row is off
    assert ((actual - expected).abs() <= 10 * tolerance * max(expected.abs().flatten().tolist(), default=0.0)).all()


# --- decoding ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", NORMALISATIONS)
@pytest.mark.parametrize("architecture", SUPPORTED)
def test_true_latents_decode_as_the_sae_decodes(architecture, normalize, model, corpus):
    subject = Subject(model, training_sae(architecture, normalize=normalize))
    x = next(corpus.activations(subject, 4, progress="")).x
    z = subject.dictionary.encode(x)
    ours = decode_sparse(subject, sparse(z), x)
    assert_close(ours, subject.dictionary.decode(z, x))
    assert ours.dtype == torch.float32
    assert not ours.requires_grad
    assert_close(decode_sparse(subject, no_latents(), x), subject.dictionary.decode(torch.zeros_like(z), x))


@pytest.mark.parametrize("normalize", NORMALISATIONS)
@pytest.mark.parametrize("hook", ["hook_mlp_out", "attn.hook_z"])
def test_true_latents_decode_as_the_sae_decodes_at_other_hooks(hook, normalize, model, corpus):
    subject = Subject(model, training_sae("topk", hook=f"blocks.1.{hook}", normalize=normalize))
    x = next(corpus.activations(subject, 4, progress="")).x
    z = subject.dictionary.encode(x)
    assert_close(decode_sparse(subject, sparse(z), x), subject.dictionary.decode(z, x))


@pytest.fixture(scope="module", params=NORMALISATIONS)
def some_rows(request, model, corpus):
    subject = Subject(model, training_sae("standard", normalize=request.param))
    return subject, next(corpus.activations(subject, 1, progress="")).x[:12]


@pytest.mark.parametrize("empty", [[0], [0, 1, 2], [5], [4, 5, 6], [11], [9, 10, 11], [0, 5, 6, 11], list(range(1, 12)), list(range(11))])
def test_rows_without_latents_decode_to_the_bias(empty, some_rows):
    subject, x = some_rows
    z = subject.dictionary.encode(x)
    z[empty] = 0
    ours = decode_sparse(subject, sparse(z), x)
    assert_close(ours, subject.dictionary.decode(z, x))
    assert_close(ours[empty], subject.dictionary.decode(torch.zeros_like(z), x)[empty])


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(0, 4), max_size=12), seed=st.integers(0, 99))
def test_any_numbers_of_latents_per_row(counts, seed, some_rows):
    subject, x = some_rows
    generator = torch.Generator().manual_seed(seed)
    x, z = x[: len(counts)], torch.zeros(len(counts), D_SAE)
    for row, count in zip(z, counts, strict=True):
        row[torch.randperm(D_SAE, generator=generator)[:count]] = torch.randn(count, generator=generator)
    assert_close(decode_sparse(subject, sparse(z), x), subject.dictionary.decode(z, x))


def test_no_activations_decode_to_none(some_rows):
    subject, x = some_rows
    assert decode_sparse(subject, no_latents(), x[:0]).shape == (0, subject.d_in)


# --- scales --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("architecture", ["standard", "topk", "abstopk"])
def test_scales_are_those_of_dense_arrays_whatever_the_batch_size(architecture, variant, model, corpus):
    subject = Subject(model, training_sae(architecture))
    explanations = explanations_of(cut_ngrams(corpus.tokens, D_SAE), D_SAE, variant=variant)
    s, a = dense(subject, explanations, corpus)
    squares = s.square().mean(0)
    expected = torch.where(squares > 0, (s * a).mean(0) / squares.where(squares > 0, 1), 0)
    assert (expected != 0).sum() > 15
    assert (expected == 0).any()
    for batch_size in (1, 5, 14):
        scale = learnt(Simulation(explanations, subject), subject, corpus, batch_size).scale
        assert_close(scale.double(), expected)
        assert ((scale == 0) == (expected == 0)).all()


def test_scales_do_not_depend_on_how_latents_fit_in_memory(model, corpus, monkeypatch):
    subject = Subject(model, training_sae("topk"))
    explanations = explanations_of(cut_ngrams(corpus.tokens, D_SAE), D_SAE)
    whole = learnt(Simulation(explanations, subject), subject, corpus).scale
    monkeypatch.setattr(Dictionary, "chunk", property(lambda self: 37))
    assert_close(learnt(Simulation(explanations, subject), subject, corpus).scale, whole)


@pytest.mark.parametrize("normalize", NORMALISATIONS)
def test_scales_count_the_positions_of_the_slice_only(normalize, model, corpus):
    subject = Subject(model, sliced(training_sae("standard", normalize=normalize), 7, 40))
    explanations = explanations_of(cut_ngrams(corpus.tokens, D_SAE), D_SAE)
    s, a = dense(subject, explanations, corpus, slice(7, 40))
    assert len(s) < 0.6 * corpus.tokens.numel()
    squares = s.square().sum(0)
    expected = torch.where(squares > 0, (s * a).sum(0) / squares.where(squares > 0, 1), 0)
    assert_close(learnt(Simulation(explanations, subject), subject, corpus).scale.double(), expected)


def test_the_scale_is_the_one_with_the_least_error(model, corpus):
    subject = Subject(model, training_sae("standard"))
    explanations = explanations_of(cut_ngrams(corpus.tokens, D_SAE), D_SAE)
    s, a = dense(subject, explanations, corpus)
    scale = learnt(Simulation(explanations, subject), subject, corpus).scale.double()
    least = (a - s * scale).square().sum(0)
    fires = scale != 0
    for factor in (0.9, 0.99, 1.01, 1.1):
        assert (least < (a - s * scale * factor).square().sum(0))[fires].all()


def test_an_explanation_that_never_fires_is_not_used(model, corpus):
    subject = Subject(model, training_sae("standard"))
    present = set(corpus.tokens.flatten().tolist())
    absent = next(token for token in range(subject.language.vocabulary) if token not in present)
    batch = next(corpus.activations(subject, 1, progress=""))
    present_token, latent = int(batch.prefix.tokens.flatten()[batch.position[0]]), int(subject.dictionary.encode(batch.x[:1]).argmax())
    silent = (latent + 1) % D_SAE
    explanations = explanations_of({silent: [NGram((absent,), False, 2.0)], latent: [NGram((present_token,), False, 2.0)]}, D_SAE)
    simulation = learnt(Simulation(explanations, subject), subject, corpus)
    assert simulation.scale.nonzero()[:, 0].tolist() == [latent]
    # on other text it fires, and still says nothing
    other = Corpus.from_tokens(torch.full((2, 8), absent))
    batch = next(other.activations(subject, 2, progress=""))
    simulated = simulation.simulate(batch)
    assert simulated.latent.tolist() == [silent] * 16
    assert simulated.value.tolist() == [0.0] * 16
    assert_close(decode_sparse(subject, simulated, batch.x), subject.dictionary.decode(torch.zeros(len(batch.x), D_SAE), batch.x))


@pytest.mark.parametrize("ngrams", [{}, {2: [NGram((1,), False, 1.0)]}])
def test_nothing_learnt_is_nothing_simulated(ngrams, model, corpus):
    subject = Subject(model, training_sae("topk"))
    simulation = Simulation(explanations_of(ngrams, D_SAE), subject)
    batch = next(corpus.activations(subject, 4, progress=""))
    assert (simulation.scale == 0).all()
    assert (simulation.simulate(batch).value == 0).all()


@pytest.mark.parametrize("bos", [None, BOS])
@pytest.mark.parametrize("variant", VARIANTS)
def test_exact_explanations_of_any_size_simulate_the_latents_themselves(variant, bos):
    subject = planted_subject([fires_after(1), fires_after(2, 3, value=2.0), fires_after(4, None, 5, value=0.5)], bos=bos)
    ngrams = {0: [NGram((1,), False, 0.3)], 1: [NGram((2, 3), False, 7.0)], 2: [NGram((4, None, 5), False, 1e-3)]}
    corpus = Corpus.from_tokens(planted_tokens(subject, 40))
    simulation = learnt(Simulation(explanations_of(ngrams, 3, variant=variant), subject), subject, corpus)
    torch.testing.assert_close(simulation.scale, torch.tensor([1 / 0.3, 2 / 7, 0.5 / 1e-3]))
    (batch,) = Corpus.from_tokens(planted_tokens(subject, 20, seed=1)).activations(subject, 20, progress="")
    simulated, true = simulation.simulate(batch), sparse(subject.dictionary.encode(batch.x))
    assert torch.equal(simulated.row, true.row)
    assert torch.equal(simulated.latent, true.latent)
    torch.testing.assert_close(simulated.value, true.value)
    assert_close(decode_sparse(subject, simulated, batch.x), batch.x)


# --- positions -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seqpos_slice", [(), (7, 40), (60, 64), (0, 1), (-3, None)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_predictions_are_at_positions_that_count_only(variant, seqpos_slice, model, corpus):
    subject = Subject(model, sliced(training_sae("topk"), *seqpos_slice))
    frequent, bos = int(corpus.tokens[:, 1:].flatten().mode().values), model.tokenizer.bos_token_id
    # one latent fires everywhere, if it is let; another would on special tokens
    ngrams = cut_ngrams(corpus.tokens, 90) | {
        90: [NGram((None,), False, 1.0)],
        91: [NGram((bos,), False, 1.0)],
        92: [NGram((frequent,), False, 1.0)],
    }
    explanations = explanations_of(ngrams, D_SAE, variant=variant)
    simulation = Simulation(explanations, subject)
    expected, _ = dense(subject, explanations, corpus, slice(*(seqpos_slice or (None,))))
    found = []
    for batch in corpus.activations(subject, 5, progress=""):
        predicted = simulation.predict(batch)
        assert ((predicted.row >= 0) & (predicted.row < len(batch.x))).all()
        order = predicted.row * D_SAE + predicted.latent
        assert (order.diff() > 0).all()  # sorted, and no latent twice at one activation
        z = torch.zeros(len(batch.x), D_SAE, dtype=torch.float64)
        z[predicted.row, predicted.latent] = predicted.value.double()
        found.append(z)
        # by position: none on a special token or outside of the slice
        at = batch.position[predicted.row]
        columns = at % 64
        assert not torch.isin(batch.prefix.tokens.flatten()[at], subject.language.special_tokens).any()
        allowed = torch.arange(64)[slice(*(seqpos_slice or (None,)))]
        assert torch.isin(columns, allowed).all()
    found = torch.cat(found)
    assert torch.equal(found, expected)
    assert (found[:, 90] != 0).all()
    assert (found[:, 91] == 0).all()


def test_the_context_of_a_prediction_may_lie_outside_of_the_slice(model, corpus):
    tokens = corpus.tokens
    pair = tuple(tokens[0, 9:11].tolist())
    assert not torch.isin(torch.tensor(pair), torch.tensor([model.tokenizer.bos_token_id])).any()
    subject = Subject(model, sliced(training_sae("topk"), 10, 12))
    simulation = Simulation(explanations_of({0: [NGram(pair, False, 1.0)]}, D_SAE), subject)
    batch = next(Corpus.from_tokens(tokens[:2]).activations(subject, 1, progress=""))
    predicted = simulation.predict(batch)
    assert batch.position[predicted.row].tolist() == [10]


def test_simulated_latents_are_predictions_times_scales(model, corpus):
    subject = Subject(model, training_sae("abstopk"))
    simulation = learnt(Simulation(explanations_of(cut_ngrams(corpus.tokens, D_SAE), D_SAE), subject), subject, corpus)
    batch = next(corpus.activations(subject, 4, progress=""))
    predicted, simulated = simulation.predict(batch), simulation.simulate(batch)
    assert torch.equal(simulated.row, predicted.row)
    assert torch.equal(simulated.latent, predicted.latent)
    assert torch.equal(simulated.value, predicted.value * simulation.scale[predicted.latent])
    assert (simulated.value < 0).any()  # latents of this architecture may be negative


def test_a_batch_without_positions_that_count(model):
    subject = Subject(model, training_sae("topk"))
    bos = model.tokenizer.bos_token_id
    simulation = Simulation(explanations_of({0: [NGram((bos,), False, 1.0)], 1: [NGram((None,), False, 1.0)]}, D_SAE), subject)
    batch = next(Corpus.from_tokens(torch.full((2, 8), bos)).activations(subject, 2, progress=""))
    simulation.learn(batch)
    simulated = simulation.simulate(batch)
    assert len(simulated.value) == 0
    assert decode_sparse(subject, simulated, batch.x).shape == (0, subject.d_in)
