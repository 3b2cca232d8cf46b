"""Explanations and latents of known form, for tests of simulation."""

import random

import torch

from sae_lens_metrics.functional.ngrams import NGram, Patterns
from sae_lens_metrics.metrics.explanation.simulation import Latents
from sae_lens_metrics.metrics.n2g.explanations import Explanations


def sparse(z):
    """Dense latents as a simulation would give them."""
    row, latent = z.nonzero(as_tuple=True)
    return Latents(row, latent, z[row, latent])


def no_latents():
    return Latents(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), torch.zeros(0))


def explanations_of(ngrams, d_sae, *, variant="released", tokens=1):
    """Explanations with the given n-grams by latent, as if they had been built."""
    return Explanations(
        patterns=Patterns.from_ngrams(ngrams),
        latents=torch.arange(d_sae),
        activations=torch.full((d_sae,), 9),
        held_out=torch.full((d_sae, 1), -1),
        held_out_activation=torch.zeros(d_sae, 1),
        tokens=tokens,
        depends_on={"variant": variant},
    )


def cut_ngrams(tokens, d_sae, *, each=4, longest=3, seed=0):
    """Random n-grams cut from text, with wildcards inside; not for every latent."""
    draw = random.Random(seed)
    rows = tokens.tolist()
    ngrams = {}
    for latent in range(d_sae):
        if latent % 8 == 7:
            continue
        spellings = set()
        for _ in range(each):
            row, length = draw.choice(rows), draw.randint(1, longest)
            end = draw.randrange(length, len(row) + 1)
            cut = row[end - length : end]
            inside = [None if draw.random() < 0.3 else token for token in cut[1:-1]]
            spellings.add((tuple([*cut[:1], *inside, *cut[-1:]] if length > 1 else cut), draw.random() < 0.2))
        ordered = sorted(spellings, key=repr)
        ngrams[latent] = [NGram(spelling, at_start, draw.uniform(0.1, 3)) for spelling, at_start in ordered]
    return ngrams


def sliced(sae, *seqpos_slice):
    sae.cfg.metadata.seqpos_slice = seqpos_slice or None
    return sae
