"""Each seed has random numbers of its own; so has each metric."""

import zlib

import torch
from runners import small_metrics
from saes import training_sae

from sae_lens_metrics import AblationConfig, Corpus, Subject, evaluate
from sae_lens_metrics.evaluation.seeds import generator_of


def drawn(generator):
    return torch.rand(4, generator=generator).tolist()


def test_every_seed_and_every_purpose_draws_its_own():
    many = {(seed, name): tuple(drawn(generator_of(seed, name))) for seed in (0, 1, 2, 42, 2**31 - 1) for name in ("probe", "n2g")}
    assert len(set(many.values())) == len(many)
    assert drawn(generator_of(7, "probe")) == drawn(generator_of(7, "probe"))


def test_the_default_seed_draws_what_it_always_drew():
    assert drawn(generator_of(0, "probe")) == drawn(torch.Generator().manual_seed(zlib.crc32(b"probe")))


def test_a_metrics_random_numbers_follow_the_seed(model, tokens):
    """On the same text: which positions are ablated differs."""
    subject, corpus = Subject(model, training_sae("topk")), Corpus.from_tokens(tokens[:4])
    settings = {"names": ["ablation"], "ablation": AblationConfig(sequences=4, positions=2, latents=2, baselines=2)}
    values = [
        evaluate(subject, corpus, small_metrics(**settings, seed=seed)).metrics["ablation"].estimates["sparsity"].value
        for seed in (0, 1, 0)
    ]
    assert values[0] == values[2] != values[1]
