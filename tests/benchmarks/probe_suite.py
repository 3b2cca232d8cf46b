"""The probe metric on a whole suite of tasks: time, memory, and the share of the machine's float32 matrix multiplication that it reaches.

python tests/benchmarks/probe_suite.py [--tasks 49] [--examples 1000] [--latents 32768] [--d_in 768] [--memory-gb 2] [--threads 2]

Activations are random, with labels planted in one direction, so that no language model is needed. From there on it is the metric's own
code: half of each task is fitted on, for all latents, all latents with shuffled labels, all channels and as many random directions.

How it is counted: a fit is one logistic regression of one labelling on one candidate. The work in matrix products is 2 * n * d_in * latents
operations for the latents and as many for the random directions, n being the examples fitted on, since the held-out half is needed for the
best candidates only. It is divided by all of the time, fits included, and by the rate of a multiplication of that shape in the same run.
Memory is the largest resident set of the process less what it was after a small warm-up with the SAE's weights in place. scikit-learn
fits a sample of the same columns, one after another.
"""
# ruff: noqa: T201 - a script prints

import argparse
import resource
import sys
import time
import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from sae_lens_metrics.functional.random_directions import RandomDirections
from sae_lens_metrics.metrics.probe.search import Dictionaries, Memory, Split, probe_activations
from sae_lens_metrics.metrics.probe.tasks import ProbeTask
from sae_lens_metrics.metrics.probe.text_activations import Dictionary, TextActivations


def planted(number: int, examples: int, d_in: int) -> tuple[ProbeTask, Tensor]:
    """A task and the activations of its texts: Gaussian, shifted along one direction by the label."""
    generator = torch.Generator().manual_seed(number)
    y = torch.arange(examples) % 2 == 0
    direction = torch.randn(d_in, generator=generator)
    x = torch.randn(examples, d_in, generator=generator) + 3 * y[:, None] * direction / direction.norm()
    return ProbeTask(f"planted_{number}", "planted", "", tuple(map(str, range(examples))), tuple(y.tolist())), x


def dictionaries_of(weights: Tensor, bias: Tensor, memory: Memory) -> Dictionaries:
    """An SAE's latents, without an SAE: an affine map of the activation."""
    latents = Dictionary(weights.shape[1], lambda batch, wanted: (batch.x @ weights[:, wanted]).add_(bias[wanted]))
    d_in = len(weights)
    return Dictionaries.beside(latents, RandomDirections(d_in, 0, weights.device, memory.directions), d_in)


def run(number: int, examples: int, dictionaries: Dictionaries, memory: Memory) -> tuple[Split, TextActivations]:
    """One task, as the metric probes it."""
    task, x = planted(number, examples, dictionaries.channels.count)
    split = Split.of(task, torch.Generator().manual_seed(number))
    fit, test = (TextActivations.of_vectors(x[half], x[half]) for half in (split.fit, ~split.fit))
    probe_activations(split, fit, test, dictionaries, memory.columns(fit, test, dictionaries.channels.count))
    return split, fit


def scikit_learn_rate(z: Tensor, y: Tensor) -> float:
    """Fits per second of a loop."""
    labels, start = y.numpy(), time.perf_counter()
    for column in z.numpy().T:
        LogisticRegression(C=np.inf, solver="newton-cholesky").fit(column[:, None], labels)
    return z.shape[1] / (time.perf_counter() - start)


def matmul_rate(n: int, d_in: int, latents: int) -> float:
    """Best operations per second of a float32 multiplication of the metric's shape."""
    a, b = torch.randn(n, d_in), torch.randn(d_in, min(latents, 8192))
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * n * d_in * b.shape[1] / best


def peak_bytes() -> int:
    """The largest resident set so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=49)
    parser.add_argument("--examples", type=int, default=1000, help="of each task, half of them held out")
    parser.add_argument("--latents", type=int, default=32768)
    parser.add_argument("--d_in", type=int, default=768)
    parser.add_argument("--memory-gb", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=None, help="of torch; scikit-learn's one-column fits use one")
    parser.add_argument("--sample", type=int, default=256, help="columns that scikit-learn fits")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(arguments.d_in, arguments.latents, generator=generator).div_(arguments.d_in**0.5)
    bias = torch.randn(arguments.latents, generator=generator)
    memory = Memory(arguments.memory_gb)
    run(0, 20, dictionaries_of(weights[:, :64], bias[:64], memory), memory)
    dictionaries = dictionaries_of(weights, bias, memory)

    before, start = peak_bytes(), time.perf_counter()
    split, fit = None, None
    for number in range(arguments.tasks):
        split, fit = run(number, arguments.examples, dictionaries, memory)
    seconds, peak = time.perf_counter() - start, peak_bytes() - before
    assert split is not None, "--tasks is at least 1"
    assert fit is not None
    fits = arguments.tasks * (3 * arguments.latents + arguments.d_in)
    operations = arguments.tasks * 2 * (2 * fit.n * arguments.d_in * arguments.latents)

    every = max(1, arguments.latents // arguments.sample)
    sample = fit.columns(dictionaries.latents, slice(0, arguments.latents))[:, ::every]
    theirs = scikit_learn_rate(sample, split.y[0])
    best_rate = matmul_rate(fit.n, arguments.d_in, arguments.latents)
    print(f"{arguments.tasks} tasks, {arguments.examples} examples, {arguments.latents} latents, d_in {arguments.d_in}, ", end="")
    print(f"memory_gb {arguments.memory_gb:g}, {torch.get_num_threads()} thread(s)")
    print(f"  seconds                      {seconds:12.2f}")
    print(f"  fits a second                {fits / seconds:12,.0f}   ({fits:,} fits of {fit.n} examples)")
    print(f"  scikit-learn, fits a second  {theirs:12,.0f}   (newton-cholesky, C = inf, {sample.shape[1]} of the same columns)")
    print(f"  ratio                        {fits / seconds / theirs:12,.0f}")
    print(f"  peak memory beyond the start {peak / 2**30:12.3f} GiB of {arguments.memory_gb:g}")
    print(f"  matrix products              {operations / seconds / 1e9:12.1f} GFLOP/s over all of the time")
    print(f"  the machine's                {best_rate / 1e9:12.1f} GFLOP/s, of which that is {operations / seconds / best_rate:.1%}")


if __name__ == "__main__":
    main()
