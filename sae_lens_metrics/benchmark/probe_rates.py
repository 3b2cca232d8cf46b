"""Fitting 1d probes: the package, and scikit-learn where it is installed, on the same latents."""

import warnings
from importlib.util import find_spec

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_lens_metrics.benchmark.rate import Rate, Work
from sae_lens_metrics.benchmark.synthetic import Bench
from sae_lens_metrics.benchmark.timing import finished, seconds_of
from sae_lens_metrics.functional.probing import fit_logistic_1d

__all__ = ["newton_steps", "probing_rate"]

_TEXTS = 400
_SAMPLE = 32
"""Latents that scikit-learn fits, one after another."""
_MOST_STEPS = 12
_PASSES_BESIDES = 2
"""Each value is read and written once before the first step."""


def probing_rate(bench: Bench) -> Rate:
    """Values (latents times texts) per second and Newton step; each step reads every value at least once."""
    latents = min(bench.shape.d_sae, 8_192 if bench.is_cpu else 2**20)
    z, y = _planted(latents, bench.device)
    steps = newton_steps(z[:, :1_024], y)
    count = z.numel() * steps
    seconds = seconds_of(lambda: fit_logistic_1d(z, y), bench.device, at_least=bench.seconds)
    slow = _scikit_learn(z[:, :_SAMPLE], y)
    work = Work(4 * (1 + _PASSES_BESIDES / steps), "memory bandwidth")
    what = "probes"
    unit = "values x steps"
    if slow is None:
        return Rate("probing", what, unit, count / seconds, work)
    return Rate("probing", what, unit, count / seconds, work, "scikit-learn", min(_SAMPLE, latents) * _TEXTS * steps / slow)


def newton_steps(z: Float[Tensor, "n latents"], y: Bool[Tensor, "n"]) -> float:
    """How many Newton steps a fit takes, mean over latents.

    Args:
        z: Latents' values.
        y: Labels.
    """
    left = [float((~fit_logistic_1d(z, y, max_iterations=steps).converged).float().mean()) for steps in range(1, _MOST_STEPS)]
    return 1 + sum(left)


def _planted(latents: int, device: torch.device) -> tuple[Float[Tensor, "n latents"], Bool[Tensor, "n"]]:
    """Latents of every strength, from no relation to the label to nearly separable."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(_TEXTS) % 2 == 0
    strength = 3 * torch.rand(latents, generator=generator).square()
    z = torch.randn(_TEXTS, latents, generator=generator) + strength * y[:, None]
    return z.to(device), y.to(device)


def _scikit_learn(z: Float[Tensor, "n latents"], y: Bool[Tensor, "n"]) -> float | None:
    """Seconds that it takes; ``None`` where it is not installed."""
    if find_spec("sklearn") is None:
        return None
    from sklearn.linear_model import LogisticRegression  # not needed by the package itself

    columns, labels = z.cpu().numpy().T, y.cpu().numpy()

    def fit() -> None:
        for column in columns:
            LogisticRegression(C=float("inf"), solver="newton-cholesky").fit(column[:, None], labels)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return seconds_of(fit, torch.device("cpu"), at_least=0) if finished(fit, torch.device("cpu")) else None
