"""Fits per second of 1d logistic probes: scikit-learn, a plain vectorised Newton, and this package, in one run.

python tests/benchmarks/probing.py [--n 400] [--latents 1024] [--repetitions 15] [--threads 1]
"""
# ruff: noqa: T201 - a script prints

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from sae_lens_metrics.functional.probing import fit_logistic_1d


def data(n: int, latents: int, *, sparse: bool) -> tuple[Tensor, Tensor]:
    """Latents of every strength, from no relation to the label to nearly separable."""
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(n, generator=generator) < 0.5
    z = torch.randn(n, latents, generator=generator) + 3 * torch.rand(latents, generator=generator).square() * y[:, None]
    return (torch.relu(z - 1) if sparse else z), y


def plain_newton(z: Tensor, y: Tensor) -> Tensor:
    """The textbook: every latent, from zero, the same number of undamped iterations."""
    x, target = (z - z.mean(0)) / z.std(0), y[:, None].float()
    w, b = torch.zeros(z.shape[1]), torch.zeros(z.shape[1])
    for _ in range(8):
        p = torch.sigmoid(x * w + b)
        error, curvature = p - target, p * (1 - p)
        gw, gb = (error * x).mean(0), error.mean(0)
        hww, hwb, hbb = (curvature * x * x).mean(0), (curvature * x).mean(0), curvature.mean(0)
        det = hww * hbb - hwb * hwb
        w, b = w - (hbb * gw - hwb * gb) / det, b - (hww * gb - hwb * gw) / det
    logits = x * w + b
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none").mean(0)


def scikit_learn(z: Tensor, y: Tensor) -> Tensor:
    labels, losses = y.numpy(), []
    for column in z.numpy().T:
        model = LogisticRegression(C=np.inf, solver="newton-cholesky").fit(column[:, None], labels)
        logits = column * model.coef_[0, 0] + model.intercept_[0]
        losses.append(np.logaddexp(0, np.where(labels, -logits, logits)).mean())
    return torch.tensor(np.array(losses))


def seconds(run: Callable[[], object], repetitions: int) -> list[float]:
    run()
    run()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=400, help="examples")
    parser.add_argument("--latents", type=int, default=1024)
    parser.add_argument("--sample", type=int, default=64, help="latents that scikit-learn fits")
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1, help="of torch; scikit-learn's one-column fits use one")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    for sparse in (False, True):
        z, y = data(arguments.n, arguments.latents, sparse=sparse)
        sample = z[:, :: max(1, arguments.latents // arguments.sample)]
        runs = {
            "scikit-learn newton-cholesky": (lambda s=sample, y=y: scikit_learn(s, y), sample.shape[1]),
            "plain vectorised Newton": (lambda z=z, y=y: plain_newton(z, y), arguments.latents),
            "sae_lens_metrics": (lambda z=z, y=y: fit_logistic_1d(z, y), arguments.latents),
        }
        difference = (fit_logistic_1d(sample, y).loss - scikit_learn(sample, y)).abs().max()
        print(f"{'sparse' if sparse else 'dense'} latents, n = {arguments.n}, {arguments.latents} latents, {arguments.threads} thread(s)")
        print(f"  largest difference of the loss from scikit-learn's: {difference:.1e} nats")
        baseline = None
        for name, (run, fits) in runs.items():
            times = seconds(run, arguments.repetitions)
            best, median = fits / min(times), fits / statistics.median(times)
            baseline = baseline or (best, median)
            ratios = f"{best / baseline[0]:6.0f}x best, {median / baseline[1]:6.0f}x median"
            print(f"  {name:30s} {best:10,.0f} fits/s best, {median:10,.0f} median   {ratios}")


if __name__ == "__main__":
    main()
