"""Latents explained per second against a plain implementation of the released algorithm, on the same examples in the same run.

Run `sae-lens-metrics demo` first, then `python tests/benchmarks/n2g.py sae-lens-metrics-demo/TopK`; it needs about four minutes.
The plain implementation is the tests' oracle: one latent at a time, batches of 16, no layers beyond the hook.
"""

# ruff: noqa: T201, E402 (its output is what it is for; it imports from the tests)

import sys
import time
import warnings
from pathlib import Path

import torch
from datasets import Dataset

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
warnings.filterwarnings("ignore")

import n2g_oracle

from sae_lens_metrics import Corpus, MetricsConfig
from sae_lens_metrics.demo.shipped import load_tiny_lm
from sae_lens_metrics.functional.ngram_building import Examples, build_patterns
from sae_lens_metrics.functional.ngrams import ABSENT
from sae_lens_metrics.loading.pretrained import load_pretrained
from sae_lens_metrics.metrics.n2g import building
from sae_lens_metrics.metrics.n2g.compute import n2g
from sae_lens_metrics.metrics.n2g.short_runs import ShortRuns
from sae_lens_metrics.metrics.n2g.spec import N2GConfig
from sae_lens_metrics.text.standard_library import standard_library_documents

PLAIN_LATENTS = 48  # the plain implementation costs the same for every latent, so a part of them will do
NEAR = 1e-4  # a comparison this near to its threshold may turn out otherwise in another batch


def plain_activate(subject, latent):
    """Runs token lists padded on the right, and encodes every position, as the released code's caller would."""

    def activate(rows):
        batch = torch.zeros(len(rows), 1 + max(map(len, rows)), dtype=torch.long)
        batch[:, 0] = subject.language.bos_token
        for line, row in zip(batch, rows, strict=True):
            line[1 : 1 + len(row)] = torch.tensor(row)
        z = subject.dictionary.encode(subject.site.activations(subject.site.prefix(batch)))
        return [float(acts[len(row), latent]) for acts, row in zip(z, rows, strict=True)]

    return activate


def plain_explanations(subject, examples, latents, pad):
    """Each latent's n-grams, and how near the nearest comparison came to its threshold."""
    found = {}
    for latent in latents:
        texts = [
            ([token for token in reversed(tokens) if token != ABSENT], act)
            for tokens, act in zip(
                examples.tokens[examples.latent == latent].tolist(), examples.activation[examples.latent == latent].tolist(), strict=True
            )
        ]
        trie, margin = n2g_oracle.build(plain_activate(subject, latent), texts, pad)
        found[latent] = n2g_oracle.ngrams_of(trie), margin
    return found


def recorded_examples(subject, text, config):
    """The examples that `explain` builds from."""
    seen = []
    original = building.build_patterns
    building.build_patterns = lambda runs, examples, **options: seen.append(examples) or original(runs, _first(examples, 1), **options)
    try:
        building.explain(subject, text, config)
    finally:
        building.build_patterns = original
    return seen[0]


def _first(examples, n):
    return Examples(examples.latent[:n], examples.tokens[:n], examples.activation[:n])


def counting(runs, needed):
    """Adds up the token positions of the distinct rows that the algorithm needs, BOS included."""

    def activate(rows, row, latent):
        needed[0] += len(rows) * (rows.tokens.shape[1] + 1)
        return runs(rows, row, latent)

    return activate


def build(subject, examples, pad):
    """Patterns, seconds, positions run, positions needed."""
    needed = [0]
    start = time.perf_counter()
    with ShortRuns(subject) as runs:
        patterns = build_patterns(counting(runs, needed), examples, pad_token=pad, variant="released")
    return patterns, time.perf_counter() - start, runs.positions, needed[0]


def matmul_rate(d):
    """Multiplications and additions per second of the machine's own matrix product, at the model's shapes."""
    a, b = torch.randn(4096, d), torch.randn(d, 4 * d)
    start, n = time.perf_counter(), 0
    while time.perf_counter() - start < 2:
        a @ b
        n += 1
    return n * 2 * a.shape[0] * d * 4 * d / (time.perf_counter() - start)


def compare(ours, plain):
    """How many latents have the same explanation, and how many of the others came near a threshold."""
    found = ours.to_ngrams()
    same = excused = 0
    for latent, (theirs, margin) in plain.items():
        mine = {(n.tokens, n.at_start): n.value for n in found.get(latent, [])}
        alike = mine.keys() == theirs.keys() and all(abs(mine[key] - theirs[key]) < 1e-3 * abs(theirs[key]) for key in theirs)
        same += alike
        excused += not alike and margin < NEAR
    return f"{same} of {len(plain)} explanations the same, {excused} of the others within rounding of a threshold"


def main():
    subject = load_pretrained(sys.argv[1], model=load_tiny_lm(), device="cpu")
    corpus = Corpus.from_dataset(Dataset.from_dict({"text": list(standard_library_documents("held_out"))}), subject, tokens=65_536)
    text, _ = building.texts(subject, corpus, MetricsConfig())
    print(f"{torch.get_num_threads()} threads, float32, d_sae {subject.d_sae}, {subject.hook_name}")
    rate = matmul_rate(subject.d_in)
    # per token and layer: queries, keys, values, output and the MLP's two matrices
    layers = int(subject.hook_name.split(".")[1]) + 1
    flops = layers * 2 * 12 * subject.d_in**2
    for cap in (None, 16):
        config = MetricsConfig(n2g=N2GConfig(max_length=cap))
        examples = recorded_examples(subject, text, config)
        pad = building._pad_token(subject, config.n2g)
        live = examples.latent.unique()
        some = live[torch.randperm(len(live), generator=torch.Generator().manual_seed(0))[:PLAIN_LATENTS]].tolist()
        start = time.perf_counter()
        plain = plain_explanations(subject, examples, some, pad)
        slow = len(some) / (time.perf_counter() - start)
        patterns, seconds, run, needed = build(subject, examples, pad)
        fast = len(live) / seconds
        print(
            f"n-grams {'of any length' if cap is None else f'up to {cap}'}, context 64: plain {slow:.2f} latents/s, "
            f"ours {fast:.1f} ({len(live)} latents in {seconds:.1f} s), ratio {fast / slow:.1f}; {compare(patterns, plain)}; "
            f"positions run {run:,}, of distinct rows {needed:,}: {run / needed:.2f}x; "
            f"{run * flops / seconds / rate:.0%} of the machine's {rate / 1e9:.0f} GFLOP/s in matrix products"
        )
    start = time.perf_counter()
    n2g(load_pretrained(sys.argv[1], model=subject.site.model, device="cpu"), corpus, MetricsConfig(), torch.Generator())
    print(f"all latents explained and scored on {corpus.tokens.numel():,} tokens: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
