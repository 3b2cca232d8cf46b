"""An encoder for a decoder that stays as it is: how well can a dictionary that was never learned reconstruct?"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.functional.firing_thresholds import overall_threshold

__all__ = ["FittedEncoder", "fit_encoder"]

_LEARNING_RATE = 3e-3
_RIDGE = 1e-4
"""Of the linear map to begin with, relative to the mean eigenvalue of the inputs' second moments."""


@dataclass(frozen=True)
class FittedEncoder:
    """Latents z = a if a > threshold, else 0, with a = x @ weight + bias; the target is near z @ decoder + target_mean."""

    weight: Float[Tensor, "d_in d_sae"]
    """Columns that read the input."""
    bias: Float[Tensor, "d_sae"]
    """Added to what they read."""
    threshold: float
    """One for all latents, 0 or more."""
    target_mean: Float[Tensor, "d_out"]
    """The mean target."""


def fit_encoder(
    x: Float[Tensor, "n d_in"],
    y: Float[Tensor, "n d_out"],
    decoder: Float[Tensor, "d_sae d_out"],
    l0: float,
    generator: torch.Generator,
    *,
    steps: int = 500,
    batch: int = 512,
) -> FittedEncoder:
    """Fits an encoder by stochastic gradients on E|y - ŷ|², while the decoder stays as it is.

    Of each batch the largest l0 · batch latents are kept (BatchTopK, Bussmann et al. 2024), which fits any mean L0, not only whole ones;
    afterwards one threshold takes their place, above which just as many latents of all of the text are. Such an SAE with random decoder
    rows is the frozen-decoder control of arXiv 2602.14111. It begins with what reads each row from the best linear guess of the target.

    Args:
        x: What the encoder reads.
        y: What is to be reconstructed; for an SAE the same.
        decoder: Rows, of length 1.
        l0: Latents that are active per token in the mean, above 0 and below d_sae.
        generator: Where the batches come from, on the CPU.
        steps: Steps of Adam, whose rate falls to zero.
        batch: Tokens a step.

    Returns:
        The encoder, in the units of x and y, whose mean L0 on x is l0.
    """
    inputs, targets = _Standard.of(x), _Standard.of(y)
    weight = _linear_map(inputs(x), targets(y)) @ decoder.T
    weight, bias = _descend(inputs(x), targets(y), decoder, weight, l0, generator, steps, batch)
    unit = targets.scale / inputs.scale
    weight, bias = weight * unit, bias * targets.scale - inputs.mean @ weight * unit
    rows = max(1, 2**26 // len(decoder))
    threshold = overall_threshold((part @ weight + bias for part in x.split(rows)), max(1, round(l0 * len(x))))
    return FittedEncoder(weight, bias, max(threshold, 0.0), targets.mean)


@dataclass(frozen=True)
class _Standard:
    """What brings vectors to mean 0 and, per channel, mean square 1, so that one learning rate does for all models."""

    mean: Float[Tensor, "d"]
    scale: float

    @classmethod
    def of(cls, values: Float[Tensor, "n d"]) -> "_Standard":
        mean = values.mean(0)
        return cls(mean, max(float((values - mean).square().mean().sqrt()), torch.finfo(values.dtype).tiny))

    def __call__(self, values: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return (values - self.mean) / self.scale


def _linear_map(x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> Float[Tensor, "d_in d_out"]:
    """The linear map from one to the other with the least squared error, by ridge regression; the identity where both are the same."""
    moments = x.T @ x
    ridge = _RIDGE * float(moments.diagonal().mean()) + torch.finfo(x.dtype).tiny
    return torch.linalg.solve(moments + ridge * torch.eye(len(moments), dtype=x.dtype, device=x.device), x.T @ y)


def _descend(
    x: Float[Tensor, "n d_in"],
    y: Float[Tensor, "n d_out"],
    decoder: Float[Tensor, "d_sae d_out"],
    weight: Float[Tensor, "d_in d_sae"],
    l0: float,
    generator: torch.Generator,
    steps: int,
    batch: int,
) -> tuple[Float[Tensor, "d_in d_sae"], Float[Tensor, "d_sae"]]:
    with torch.enable_grad():
        fitted = [weight.clone().requires_grad_(), torch.zeros(len(decoder), dtype=x.dtype, device=x.device, requires_grad=True)]
        optimizer = torch.optim.Adam(fitted, lr=_LEARNING_RATE)
        for step in range(steps):
            rows = torch.randint(len(x), (batch,), generator=generator).to(x.device)
            latents = _largest((x[rows] @ fitted[0] + fitted[1]).relu(), round(l0 * batch))
            optimizer.zero_grad()
            (latents @ decoder - y[rows]).square().mean().backward()
            optimizer.param_groups[0]["lr"] = _LEARNING_RATE * (1 - step / steps)
            optimizer.step()
    return fitted[0].detach(), fitted[1].detach()


def _largest(latents: Float[Tensor, "batch d_sae"], kept: int) -> Float[Tensor, "batch d_sae"]:
    """The largest of all, and zeros."""
    least = latents.detach().flatten().topk(max(1, min(kept, latents.numel())), sorted=False).values.min()
    return latents * (latents >= least)
