"""An encoder for a decoder that stays as it is: how well can a dictionary that was never learned reconstruct?"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.firing_thresholds import overall_threshold

__all__ = ["FittedEncoder", "fit_encoder"]

_LEARNING_RATE = 3e-3
_RIDGE = 1e-4
"""Of the linear map to begin with, relative to the mean eigenvalue of the inputs' second moments."""


@dataclass(frozen=True)
class FittedEncoder:
    """Latents z = a if a > threshold, else 0, with a = x @ weight + bias; what is reconstructed is z @ decoder + decoder_bias."""

    weight: Float[Tensor, "d_in d_sae"]
    """Columns that read the input."""
    bias: Float[Tensor, "d_sae"]
    """Added to what they read."""
    threshold: float
    """One for all latents, 0 or more."""
    decoder_bias: Float[Tensor, "d_out"]
    """Added to what the latents add."""


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
    """Fits an encoder by stochastic gradients on E|y - ŷ|², while the directions of the decoder stay as they are.

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
    fit = _Descent.begin(inputs(x), targets(y), decoder, l0)
    fit.descend(generator, steps, batch)
    weight, bias, decoder_bias = (each.detach() for each in fit.fitted)
    weight = weight * (targets.scale / inputs.scale)
    bias = bias * targets.scale - inputs.mean @ weight
    rows = max(1, 2**26 // len(decoder))
    threshold = overall_threshold((part @ weight + bias for part in x.split(rows)), max(1, round(l0 * len(x))))
    # a threshold below 0 would let latents be negative: they are raised by as much instead
    return FittedEncoder(weight, bias + max(-threshold, 0.0), max(threshold, 0.0), targets.mean + targets.scale * decoder_bias)


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


@dataclass(frozen=True)
class _Descent:
    """What is fitted, on standardised activations."""

    x: Float[Tensor, "n d_in"]
    y: Float[Tensor, "n d_out"]
    decoder: Float[Tensor, "d_sae d_out"]
    l0: float
    fitted: tuple[Tensor, Tensor, Tensor]
    """Weight, bias and the decoder's bias."""

    @classmethod
    def begin(cls, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], decoder: Float[Tensor, "d_sae d_out"], l0: float) -> "_Descent":
        weight, bias, decoder_bias = _linear_map(x, y) @ decoder.T, x.new_zeros(len(decoder)), x.new_zeros(y.shape[-1])
        return cls(x, y, decoder, l0, (weight.requires_grad_(), bias.requires_grad_(), decoder_bias.requires_grad_()))

    @torch.enable_grad()
    def descend(self, generator: torch.Generator, steps: int, batch: int) -> None:
        """Makes steps of Adam."""
        optimizer = torch.optim.Adam(self.fitted, lr=_LEARNING_RATE)
        for step in range(steps):
            rows = torch.randint(len(self.x), (batch,), generator=generator).to(self.x.device)
            optimizer.param_groups[0]["lr"] = _LEARNING_RATE * (1 - step / steps)
            optimizer.zero_grad()
            self._loss(rows).backward()
            optimizer.step()

    def _loss(self, rows: Int[Tensor, "batch"]) -> Float[Tensor, ""]:
        weight, bias, decoder_bias = self.fitted
        latents = _largest((self.x[rows] @ weight + bias).relu(), round(self.l0 * len(rows)))
        return (latents @ self.decoder + decoder_bias - self.y[rows]).square().mean()


def _linear_map(x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> Float[Tensor, "d_in d_out"]:
    """The linear map from one to the other with the least squared error, by ridge regression; the identity where both are the same."""
    moments = x.T @ x
    ridge = _RIDGE * float(moments.diagonal().mean()) + torch.finfo(x.dtype).tiny
    return torch.linalg.solve(moments + ridge * torch.eye(len(moments), dtype=x.dtype, device=x.device), x.T @ y)


def _largest(latents: Float[Tensor, "batch d_sae"], kept: int) -> Float[Tensor, "batch d_sae"]:
    """The largest of all, and zeros."""
    values, kept = latents.detach().flatten(), max(1, min(kept, latents.numel()))
    if values.device.type == "cpu":
        below = len(values) - kept
        values = values.clone()  # which latents are no copy of
        values.numpy().partition(below)  # several times as fast as torch's own selection
        least = values[below]
    else:
        least = values.topk(kept, sorted=False).values.min()
    return latents * (latents >= least)
