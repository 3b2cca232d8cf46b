"""Tokens per second of `refine_activations` against a loop over scipy.optimize.nnls, on the same data in the same run.

Run it with `python tests/benchmarks/refinement.py`; it needs about two minutes.
"""

# ruff: noqa: T201 (its output is what it is for)

import statistics
import time

import numpy as np
import torch
from scipy.optimize import nnls

from sae_lens_metrics.functional.refinement import refine_activations

SHAPES = ((128, 16, 1024, 16384), (768, 64, 4096, 8192))  # d_in, L0, d_sae, tokens
REPETITIONS = 5
ORACLE_TOKENS = 1024  # the loop costs the same for every token, so a part of them will do


def sparse_combinations(d_in, l0, d_sae, n, wanting_negative, seed=0):
    """A noisy sparse combination x, the decoder, and raw activations: half of the true ones on the true support.

    A share `wanting_negative` of the true coefficients is negative, so that the optimum sets about as many entries to zero.
    """
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.nn.functional.normalize(torch.randn(d_sae, d_in, generator=generator), dim=1)
    support = torch.rand(n, d_sae, generator=generator).topk(l0).indices
    magnitude = 0.5 + torch.rand(n, l0, generator=generator)
    negative = torch.rand(n, l0, generator=generator) < wanting_negative
    true = torch.zeros(n, d_sae).scatter_(1, support, torch.where(negative, -magnitude, magnitude))
    x = true @ decoder + 0.1 * torch.randn(n, d_in, generator=generator)
    return x, decoder, 0.5 * true.abs()


def nnls_loop(x, decoder, feature_acts):
    """The optimum token by token."""
    refined = np.zeros_like(feature_acts)
    for token, raw, row in zip(x, feature_acts, refined, strict=True):
        support = np.flatnonzero(raw)
        row[support] = nnls(decoder[support].T, token)[0]
    return refined


def seconds(function, *arguments):
    """Every repetition's time, after one to warm up."""
    function(*arguments)
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return times


def worst_excess(x, decoder, ours, oracle):
    """Largest relative excess of our objective over the oracle's, in float64."""
    x, decoder = x.double(), decoder.double()
    cost = [(x - z.double() @ decoder).square().sum(1) for z in (ours, oracle)]
    return float((cost[0] / cost[1] - 1).max())


def main():
    print(f"{torch.get_num_threads()} threads, float32, median (and range) of {REPETITIONS} runs")
    for d_in, l0, d_sae, n in SHAPES:
        for wanting_negative in (0.0, 1 / 3):
            x, decoder, acts = sparse_combinations(d_in, l0, d_sae, n, wanting_negative)
            some = tuple(tensor[:ORACLE_TOKENS].numpy() for tensor in (x, acts))
            oracle = [ORACLE_TOKENS / s for s in seconds(nnls_loop, some[0], decoder.numpy(), some[1])]
            ours = [n / s for s in seconds(refine_activations, x, decoder, acts)]
            excess = worst_excess(
                x[:ORACLE_TOKENS],
                decoder,
                refine_activations(x, decoder, acts)[:ORACLE_TOKENS],
                torch.from_numpy(nnls_loop(some[0], decoder.numpy(), some[1])),
            )
            print(
                f"d_in {d_in}, L0 {l0}, d_sae {d_sae}, {n} tokens, {wanting_negative:.0%} want to be negative: "
                f"nnls {statistics.median(oracle):,.0f}/s ({min(oracle):,.0f}-{max(oracle):,.0f}), "
                f"ours {statistics.median(ours):,.0f}/s ({min(ours):,.0f}-{max(ours):,.0f}), "
                f"ratio {statistics.median(ours) / statistics.median(oracle):.1f}, objective at most {excess:+.1e} above nnls"
            )


if __name__ == "__main__":
    main()
