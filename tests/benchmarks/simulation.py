"""Seconds of simulating latents from explanations and decoding them, against the model's own clean forward pass, on the same tokens.

Run it with `python tests/benchmarks/simulation.py`; it needs about two minutes.
"""

# ruff: noqa: T201 (its output is what it is for)

import statistics
import time

import torch
from matching import LATENTS, Cutter, real_text, seconds
from sae_lens.saes.sae import SAEMetadata
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig

from sae_lens_metrics import Corpus, Subject
from sae_lens_metrics.demo.shipped import load_tiny_lm
from sae_lens_metrics.functional.ngrams import Patterns
from sae_lens_metrics.metrics.explanation.simulation import Simulation, decode_sparse
from sae_lens_metrics.metrics.n2g.explanations import Explanations

SEQUENCES, BATCH = 256, 32  # to simulate; as many others teach the scales
D_IN, K = 128, 32
REPETITIONS = 3


def random_subject(model, d_sae):
    """A TopK SAE with random directions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        metadata = SAEMetadata(hook_name="blocks.1.hook_resid_post", context_size=128, prepend_bos=True)
        sae = TopKSAE(TopKSAEConfig(d_in=D_IN, d_sae=d_sae, k=K, metadata=metadata))
        with torch.no_grad():
            sae.W_dec.copy_(torch.nn.functional.normalize(torch.randn(d_sae, D_IN), dim=1))
            sae.W_enc.copy_(sae.W_dec.T)
    return Subject(model, sae)


def cut_explanations(tokens, bos, d_sae):
    """Explanations of all latents, cut from text, as if they had been built."""
    cutter = Cutter(tokens, bos, seed=0)
    none = torch.full((d_sae, 1), -1)
    return Explanations(
        patterns=Patterns.from_ngrams({latent: cutter.of_latent() for latent in range(d_sae)}),
        latents=torch.arange(d_sae),
        activations=torch.full((d_sae,), 9),
        held_out=none,
        held_out_activation=torch.zeros(none.shape),
        tokens=tokens.numel(),
        depends_on={"variant": "released"},
    )


def spread(times):
    return f"{statistics.median(times):.2f} s ({min(times):.2f}-{max(times):.2f})"


def times_of(subject, simulation, corpus):
    """Seconds of matching, of decoding and of a clean run, and how many latents are predicted at a position."""
    batches = list(corpus.activations(subject, BATCH, progress=""))
    simulated = [simulation.simulate(batch) for batch in batches]

    def decode():
        for batch, latents in zip(batches, simulated, strict=True):
            decode_sparse(subject, latents, batch.x)

    def clean():
        for part in corpus.tokens.split(BATCH):
            subject.site.losses(subject.site.prefix(part))

    functions = (lambda: [simulation.simulate(batch) for batch in batches], decode, clean)
    density = sum(len(latents.value) for latents in simulated) / sum(len(batch.x) for batch in batches)
    return *(seconds(function, REPETITIONS) for function in functions), density


def main():
    text, bos = real_text()
    model = load_tiny_lm()
    tokens, learnt, elsewhere = text[:SEQUENCES], text[SEQUENCES : 2 * SEQUENCES], text[len(text) // 2 :]
    print(
        f"{torch.get_num_threads()} threads, {tokens.numel()} tokens, {BATCH} sequences at once, median (and range) of {REPETITIONS} runs"
    )
    for d_sae in LATENTS:
        subject, explanations = random_subject(model, d_sae), cut_explanations(elsewhere, bos, d_sae)
        start = time.perf_counter()
        simulation = Simulation(explanations, subject)
        prepared = time.perf_counter()
        for batch in Corpus.from_tokens(learnt).activations(subject, BATCH, progress=""):
            simulation.learn(batch)
        fitted = time.perf_counter()
        matching, decoding, clean, density = times_of(subject, simulation, Corpus.from_tokens(tokens))
        ratio = (statistics.median(matching) + statistics.median(decoding)) / statistics.median(clean)
        print(
            f"{d_sae} latents, of which {density:.0f} are predicted at a position: matching {spread(matching)}, "
            f"decoding {spread(decoding)}, clean forward pass {spread(clean)}, ratio {ratio:.2f}; "
            f"prepared in {prepared - start:.1f} s, scales learnt in {fitted - prepared:.1f} s"
        )


if __name__ == "__main__":
    main()
