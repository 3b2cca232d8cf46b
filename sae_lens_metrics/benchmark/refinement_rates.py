"""Refining active latents to the optimum: the package, and SciPy's solver token by token."""

import torch
from jaxtyping import Float, Int
from scipy.optimize import nnls
from torch import Tensor

from sae_lens_metrics.benchmark.rate import Rate, Work
from sae_lens_metrics.benchmark.synthetic import Bench
from sae_lens_metrics.benchmark.timing import seconds_of
from sae_lens_metrics.functional.refinement import refine_on_support

__all__ = ["refinement_rate"]

_ACTIVE = 32
_SAMPLE = 256
"""Tokens that SciPy solves, one after another."""


def refinement_rate(bench: Bench) -> Rate:
    """Tokens per second, with 32 active latents each."""
    n, decoder = 4_096 if bench.is_cpu else 2**16, bench.subject.dictionary.decoder
    active = min(_ACTIVE, bench.shape.d_model // 4)
    x, indices, values = _shrunk(n, active, decoder)
    seconds = seconds_of(lambda: refine_on_support(x, decoder, indices, values), bench.device, at_least=bench.seconds)
    rows, targets = decoder[indices[:_SAMPLE]].cpu().numpy(), x[:_SAMPLE].cpu().numpy()

    def one_by_one() -> None:
        for of_token, target in zip(rows, targets, strict=True):
            nnls(of_token.T, target)

    slow = seconds_of(one_by_one, torch.device("cpu"), at_least=0)
    d = bench.shape.d_model
    # inner products of the active rows with each other and with the activation, and one factorisation
    work = Work(active**2 * d + 2 * active * d + active**3 / 3, "matrix products")
    what = f"refining {active} latents"
    return Rate("refinement", what, "tokens", n / seconds, work, "SciPy's nnls", len(rows) / slow)


def _shrunk(
    n: int, active: int, decoder: Float[Tensor, "d_sae d"]
) -> tuple[Float[Tensor, "n d"], Int[Tensor, "n active"], Float[Tensor, "n active"]]:
    """Noisy sums of latents, and half of their true values on the true support."""
    generator = torch.Generator().manual_seed(0)
    # distinct within a token: each slot has latents of its own
    width = len(decoder) // active
    indices = torch.randint(width, (n, active), generator=generator) + width * torch.arange(active)
    values = 0.5 + torch.rand(n, active, generator=generator)
    noise = 0.1 * torch.randn(n, decoder.shape[1], generator=generator)
    indices, values, noise = (each.to(decoder.device) for each in (indices, values, noise))
    x = torch.nn.functional.embedding_bag(indices, decoder, per_sample_weights=values, mode="sum") + noise
    return x, indices, values / 2
