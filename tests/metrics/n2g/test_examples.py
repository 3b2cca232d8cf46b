"""Examples of where latents fire: what stands in them is what the model, the SAE and the explanations say, token by token."""

from collections import Counter
from itertools import pairwise

import pytest
import torch
from planted import fires_after, fires_on_first, planted_subject, planted_tokens
from saes import training_sae

from sae_lens_metrics import Corpus, MetricsConfig, Subject
from sae_lens_metrics.metrics.n2g.building import explain, texts
from sae_lens_metrics.metrics.n2g.examples import examples, windows
from sae_lens_metrics.metrics.n2g.scores import score
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.text.token_text import TokenText


def config(batch_size=8, **n2g):
    return MetricsConfig(names=["n2g"], batch_size=batch_size, n2g=N2GConfig(**({"context": 16, "max_length": 6, "shown": 3} | n2g)))


def made(subject, corpus, settings):
    text, scoring = texts(subject, corpus, settings)
    explanations = explain(subject, text, settings)
    scores = score(explanations, subject, text, scoring, settings)
    return text, scoring, explanations, scores, examples(explanations, scores, subject, text, scoring, settings)


def dense(subject, corpus):
    """Latents on every token, by one run of everything, 0 on special tokens."""
    prefix = subject.site.prefix(corpus.tokens)
    z = torch.zeros(*corpus.tokens.shape, subject.d_sae)
    valid = subject.site.valid(corpus.tokens)
    z[valid] = subject.dictionary.encode(subject.site.activations(prefix)[valid])
    return z


def occurrences(corpus, words, example):
    """Where an example's tokens stand in a text."""
    wanted, length = example.tokens, len(example.tokens)
    for row, tokens in enumerate(corpus.tokens.tolist()):
        spelled = [words[token] for token in tokens]
        for column in range(len(tokens) - length + 1):
            if spelled[column : column + length] == wanted:
                yield row, column


@pytest.mark.parametrize("architecture", ["standard", "topk"])
def test_examples_say_what_the_sae_and_the_explanations_say(architecture, model, tokens):
    settings = config(latents=24)
    subject = Subject(model, training_sae(architecture))
    text, scoring, explanations, _, found = made(subject, Corpus.from_tokens(tokens), settings)
    vocabulary = torch.arange(subject.language.vocabulary)
    words = TokenText(subject.language.tokenizer).write([[token] for token in vocabulary.tolist()])
    latents = {"text": dense(subject, text), "scoring": dense(subject, scoring)}
    matcher = explanations.matcher()
    assert {example.kind for example in found} == {"top", "random", "predicted"}
    for example in found:
        corpus = text if example.kind == "random" else scoring
        z = latents["text" if example.kind == "random" else "scoring"][..., example.latent]
        width = len(example.tokens)
        assert width == len(example.activations) == len(example.predictions) <= 25
        fits = []
        for row, column in occurrences(corpus, words, example):
            position = row * corpus.tokens.shape[1] + column + torch.arange(width)
            predicted = matcher.predict(
                corpus.tokens, subject.language.special(corpus.tokens), position, torch.full((width,), example.latent)
            )
            there = torch.tensor(example.activations), torch.tensor(example.predictions)
            fits.append(
                torch.allclose(z[row, column : column + width], there[0], rtol=1e-3, atol=1e-5)
                and torch.allclose(predicted, there[1], rtol=1e-3)
            )
        assert any(fits), example
        chosen = example.predictions if example.kind == "predicted" else example.activations
        assert chosen[example.at] != 0


def test_top_examples_are_the_largest_of_different_sequences(model, tokens):
    subject = Subject(model, training_sae("standard"))
    settings = config(latents=40, shown=1)
    _, scoring, explanations, _, found = made(subject, Corpus.from_tokens(tokens), settings)
    largest = dense(subject, scoring).flatten(0, 1).amax(0)
    top = {example.latent: example.activations[example.at] for example in found if example.kind == "top"}
    fires = [latent for latent in explanations.latents.tolist() if largest[latent] > 0]
    assert sorted(top) == fires
    for latent in fires:
        assert top[latent] == pytest.approx(float(largest[latent]), rel=1e-3)


def test_examples_are_sorted_by_latent_and_no_more_than_wanted(model, tokens):
    subject = Subject(model, training_sae("topk"))
    for shown in (1, 2):
        *_, found = made(subject, Corpus.from_tokens(tokens), config(latents=24, shown=shown))
        assert all(a.latent <= b.latent for a, b in pairwise(found))
        assert max(Counter((example.latent, example.kind) for example in found).values()) == shown


def test_batches_and_chunks_change_nothing(model, tokens, monkeypatch):
    corpus = Corpus.from_tokens(tokens)
    subject = Subject(model, training_sae("standard"))
    whole = made(subject, corpus, config(latents=24))[-1]
    other = Subject(model, training_sae("standard"))
    monkeypatch.setattr(type(other.dictionary), "chunk", 7)
    parts = made(other, corpus, config(latents=24, batch_size=3))[-1]
    assert [(e.latent, e.kind, e.at, e.tokens) for e in whole] == [(e.latent, e.kind, e.at, e.tokens) for e in parts]
    for a, b in zip(whole, parts, strict=True):
        assert a.activations == pytest.approx(b.activations, rel=1e-3, abs=1e-5)


def test_a_planted_latent_fires_where_its_rule_says():
    subject = planted_subject([fires_after(2, 3, value=2.0), fires_on_first(4, bos=49)], bos=49, d_vocab=50)
    subject.site.model.tokenizer.batch_decode = lambda pieces, **_: [subject.site.model.tokenizer.decode(piece) for piece in pieces]
    *_, found = made(subject, Corpus.from_tokens(planted_tokens(subject, 200)), config(pad_token=0))
    assert {example.latent for example in found} == {0, 1}
    for example in found:
        assert " t49" not in example.tokens  # BOS is no part of the document
        if example.latent == 0:
            pairs = [0.0] + [2.0 * (pair == (" t2", " t3")) for pair in pairwise(example.tokens)]
            assert example.activations[1:] == pairs[1:]  # what precedes the first token is not shown
            assert example.predictions[1:] == example.activations[1:]
        else:
            assert example.at == 0
            assert example.tokens[0] == " t4"
            assert example.activations == example.predictions == [1.0] + [0.0] * (len(example.tokens) - 1)


@pytest.fixture
def numbers():
    """Two sequences of 20 tokens; the second is interrupted by special tokens, which are 99."""
    tokens = torch.arange(40).reshape(2, 20)
    tokens[1, 5] = tokens[1, 9] = 99
    return tokens


@pytest.mark.parametrize(
    ("position", "first", "stop"),
    [
        (0, 0, 5),
        (1, 0, 6),
        (12, 0, 17),
        (13, 1, 18),
        (17, 5, 20),
        (19, 7, 20),
        # the second sequence: nothing from the first, nothing beyond a special token
        (20, 20, 25),
        (22, 20, 25),
        (24, 20, 25),
        (26, 26, 29),
        (28, 26, 29),
        (30, 30, 35),
        (39, 30, 40),
    ],
)
def test_windows_stay_within_their_document(position, first, stop, numbers):
    around = windows(numbers, numbers == 99, torch.tensor([position]), before=12, after=4)
    assert around.place[around.inside].tolist() == list(range(first, stop))
    assert around.place[0, 12] == position


def test_several_windows_come_in_order(numbers):
    position = torch.tensor([39, 0, 39, 26])
    together = windows(numbers, numbers == 99, position)
    for row, one in enumerate(position):
        alone = windows(numbers, numbers == 99, one[None])
        assert torch.equal(together.inside[row], alone.inside[0])
        assert torch.equal(together.place[row], alone.place[0])
