"""SAEs that are bad on purpose: what any SAE worth its name must beat, made from an SAE and activations at its hook.

Each is an SAE of SAELens with the same hook, normalisation and number of latents, and fires as often as the SAE it is a control for.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from sae_lens import SAE
from torch import Tensor

from sae_lens_metrics.errors import UnsupportedSAEError
from sae_lens_metrics.functional.encoder_fitting import fit_encoder
from sae_lens_metrics.functional.firing_thresholds import firing_thresholds
from sae_lens_metrics.functional.permutations import cyclic_permutation, permuted_directions
from sae_lens_metrics.subject.dictionary import Dictionary
from sae_lens_metrics.subject.quiet_sae import QuietSAE

__all__ = ["Activations", "frozen_decoder", "permuted_decoder", "random_sae"]


@dataclass(frozen=True)
class Activations:
    """What an SAE reads and reconstructs at some tokens, to make controls from."""

    x: Float[Tensor, "n d_in"]
    """Activations that it reads."""
    y: Float[Tensor, "n d_out"]
    """Activations that it reconstructs; for an SAE the same."""


def permuted_decoder(dictionary: Dictionary, text: Activations, generator: torch.Generator) -> SAE[Any]:
    """The same SAE, in which each latent adds the direction of another one; it encodes as before.

    A decoder row keeps its length, which holds the unit of its latent. No latent keeps its direction.

    Args:
        dictionary: The SAE.
        text: Activations at its hook.
        generator: Where random numbers come from.

    Raises:
        UnsupportedSAEError: If the SAE encodes with its decoder, as matching pursuit does, so that there is no such control.
    """
    weights = {name: value.detach().clone() for name, value in dictionary.sae.state_dict().items()}
    permutation = cyclic_permutation(dictionary.d_sae, generator).to(weights["W_dec"].device)
    weights["W_dec"] = permuted_directions(weights["W_dec"].float(), permutation).to(weights["W_dec"].dtype)
    permuted = _with_weights(dictionary.sae, copy.deepcopy(dictionary.sae.cfg), weights)
    some = text.x[: dictionary.chunk]
    before, after = dictionary.encode(some), QuietSAE(permuted).encode(some)
    if not torch.allclose(before, after, rtol=1e-3, atol=1e-3 * float(before.abs().max())):
        raise UnsupportedSAEError(f"an SAE of architecture {dictionary.sae.cfg.architecture()!r} encodes with its decoder")
    return permuted


def frozen_decoder(dictionary: Dictionary, text: Activations, generator: torch.Generator) -> SAE[Any]:
    """An SAE whose decoder is random and never trained, with an encoder fitted to it on the text (arXiv 2602.14111).

    It has the same mean L0 on that text. That it is fitted on the text on which it is evaluated favours it, if anything.

    Args:
        dictionary: The SAE.
        text: Activations at its hook.
        generator: Where random numbers come from.
    """
    blank = _Blank(dictionary)
    given = blank.space(text)
    decoder = _directions(dictionary.d_sae, given.y.shape[-1], generator).to(given.y)
    l0 = float(_fired(dictionary, text.x).sum()) / len(text.x)
    fitted = fit_encoder(given.x, given.y, decoder, l0, generator)
    threshold = torch.full_like(fitted.bias, fitted.threshold)
    return blank.sae(W_enc=fitted.weight, b_enc=fitted.bias, threshold=threshold, W_dec=decoder, b_dec=fitted.decoder_bias)


def random_sae(dictionary: Dictionary, text: Activations, generator: torch.Generator) -> SAE[Any]:
    """An SAE of random directions, which reads and adds the same ones; each latent fires as often as the SAE's own of that number.

    So not only its L0 is the SAE's, but how many latents are dead, rare and dense. One factor for all of the decoder has the least
    squared error on the text. Where the SAE reconstructs another activation than the one it reads, the decoder has random directions of
    its own, and the reconstruction is as long as what it should be.

    Args:
        dictionary: The SAE.
        text: Activations at its hook.
        generator: Where random numbers come from.
    """
    blank = _Blank(dictionary)
    given = blank.space(text)
    mean, target_mean = given.x.mean(0), given.y.mean(0)
    read = _directions(dictionary.d_sae, given.x.shape[-1], generator).to(given.x)
    added = _directions(dictionary.d_sae, given.y.shape[-1], generator).to(given.y) if blank.is_transcoder else read
    thresholds = _thresholds(given.x - mean, read, _fired(dictionary, text.x))
    # a threshold below 0 would let latents be negative: they are raised by as much instead
    bias, threshold = (-thresholds).relu() - read @ mean, thresholds.relu()
    parts = zip(given.x.split(dictionary.chunk), given.y.split(dictionary.chunk), strict=True)
    sums = torch.zeros(3, device=given.x.device)
    for x, y in parts:
        pre = x @ read.T + bias
        sums += _products((pre * (pre > threshold)) @ added, y - target_mean)
    factor = (sums[2] / sums[1]).sqrt() if blank.is_transcoder else sums[0] / sums[1]
    weights = {"W_enc": read.T.contiguous(), "b_enc": bias, "threshold": threshold, "b_dec": target_mean}
    return blank.sae(**weights, W_dec=added * factor.nan_to_num(nan=1.0, posinf=1.0))  # not a number where no latent ever fires


class _Blank:
    """SAEs with thresholds (JumpReLU) in the place of an SAE: of its size, with its normalisation, in float32."""

    def __init__(self, dictionary: Dictionary) -> None:
        self._like = dictionary.sae
        self.is_transcoder = hasattr(self._like.cfg, "d_out")
        self._skip = getattr(self._like, "W_skip", None)

    def space(self, text: Activations) -> Activations:
        """The activations as the encoder reads them, and as the decoder is to give them: normalised, without what skips the latents."""
        quiet = QuietSAE(self.sae(**self._zeros(text)))
        x = torch.cat([quiet.encoder_input(part).float() for part in text.x.split(4_096)])
        if not self.is_transcoder:
            return Activations(x, x)
        return Activations(x, text.y if self._skip is None else text.y - text.x @ self._skip.detach().float().T)

    def sae(self, **weights: Tensor) -> SAE[Any]:
        """One with these weights."""
        old = self._like.cfg.to_dict()
        kind = "jumprelu" if not self.is_transcoder else "jumprelu_transcoder" if self._skip is None else "jumprelu_skip_transcoder"
        kept = {name: old[name] for name in ("d_in", "d_sae", "d_out", "normalize_activations", "reshape_activations") if name in old}
        config = {**kept, "architecture": kind, "dtype": "float32", "apply_b_dec_to_input": False, "device": "meta"}
        made = SAE.from_dict({**config, "metadata": copy.deepcopy(old["metadata"])})
        skip = {} if self._skip is None else {"W_skip": self._skip.detach().float().clone()}
        return _with_weights(made, made.cfg, {**weights, **skip})

    def _zeros(self, text: Activations) -> dict[str, Tensor]:
        d_sae, d_in, d_out = int(self._like.cfg.d_sae), text.x.shape[-1], text.y.shape[-1]
        shapes = {"W_enc": (d_in, d_sae), "b_enc": (d_sae,), "threshold": (d_sae,), "W_dec": (d_sae, d_out), "b_dec": (d_out,)}
        return {name: torch.zeros(shape, device=text.x.device) for name, shape in shapes.items()}


def _with_weights(sae: SAE[Any], config: Any, weights: dict[str, Tensor]) -> SAE[Any]:
    """An SAE of the same class with other weights; made on the meta device, so that no random number is drawn for it."""
    config.device = "meta"
    made = type(sae)(config)
    made.load_state_dict(weights, assign=True)
    return made.to(weights["W_dec"].device).requires_grad_(False).eval()


def _directions(n: int, d: int, generator: torch.Generator) -> Float[Tensor, "n d"]:
    """Rows of length 1, uniform on the sphere."""
    rows = torch.randn(n, d, generator=generator)
    return rows / rows.norm(dim=-1, keepdim=True)


def _fired(dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> Int[Tensor, "d_sae"]:
    """On how many tokens each latent is active."""
    return torch.stack([(dictionary.encode(part) != 0).sum(0) for part in x.split(dictionary.chunk)]).sum(0)


def _products(guess: Float[Tensor, "n d_out"], wanted: Float[Tensor, "n d_out"]) -> Float[Tensor, "3"]:
    """Sums of the products of a guess with what is wanted, and of either with itself."""
    return torch.stack([(guess * wanted).sum(), guess.square().sum(), wanted.square().sum()])


def _thresholds(x: Float[Tensor, "n d_in"], read: Float[Tensor, "d_sae d_in"], fired: Int[Tensor, "d_sae"]) -> Float[Tensor, "d_sae"]:
    """The thresholds with which each direction fires so often, some directions at a time."""
    some = max(1, 2**26 // len(x))
    parts: Iterator[tuple[Tensor, Tensor]] = zip(read.split(some), fired.split(some), strict=True)
    return torch.cat([firing_thresholds(x @ part.T, wanted) for part, wanted in parts])
