"""The SAE of a subject: latents of activations, and what latents add."""

import copy
import hashlib
from contextlib import AbstractContextManager
from typing import Any

import torch
from jaxtyping import Float, Int
from sae_lens import SAE
from torch import Tensor

from sae_lens_metrics.errors import UnsupportedSAEError
from sae_lens_metrics.subject.capabilities import DictionaryCapabilities
from sae_lens_metrics.subject.quiet_sae import QuietSAE
from sae_lens_metrics.subject.trying_saes import decoder_rows, try_sae

__all__ = ["Dictionary"]


class Dictionary:
    """An SAE or a transcoder of SAELens, as latents of activations and rows that they add. All in float32, on the SAE's device.

    Args:
        sae: An inference SAE.
        d_out: Width of what it reconstructs.

    Attributes:
        sae: SAELens's SAE.
        d_sae: Number of latents.
        capabilities: What was found out about it by trying.
        decoder: What one unit of each latent adds, before normalisation is undone, [d_sae, d_out].

    Raises:
        UnsupportedSAEError: If the SAE's architecture cannot be evaluated yet.
    """

    def __init__(self, sae: SAE[Any], d_out: int) -> None:
        self.sae, self.d_sae = sae, int(sae.cfg.d_sae)
        self._quiet = QuietSAE(sae)
        self.capabilities = try_sae(self._quiet, d_out)
        self.decoder: Float[Tensor, "d_sae d_out"] = decoder_rows(self._quiet, unit_rows=self.capabilities.unit_rows)

    def using(self, capabilities: DictionaryCapabilities) -> "Dictionary":
        """The same SAE, asked in other ways, as a reference for those that were found."""
        other = copy.copy(self)
        other.capabilities = capabilities
        other.decoder = decoder_rows(self._quiet, unit_rows=capabilities.unit_rows)
        return other

    @property
    def chunk(self) -> int:
        """Tokens whose dense latents take at most a quarter of a gigabyte, for loops over encode and decode."""
        return max(16, 2**26 // self.d_sae)

    def quiet(self) -> AbstractContextManager[None]:
        """The SAE in evaluation mode for as long as several threads use it, which must not switch modes under each other."""
        return self._quiet.quiet()

    def encode(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_sae"]:
        """Latents of activations, dense."""
        return self._quiet.encode(x)

    def pre_activations(
        self, x: Float[Tensor, "*batch d_in"], latents: slice | None = None, *, at_once: int | None = None
    ) -> Float[Tensor, "*batch latents"]:
        """Latents before the activation function, as SAELens's ``hook_sae_acts_pre`` sees them.

        A gated SAE's magnitude path and a TopK SAE's values before rescaling are meant; both are affine in ``x @ W_enc`` per
        latent, like every other choice, so a 1d probe on them has the same loss. Where an architecture has none, as matching pursuit,
        these are the latents themselves.

        Args:
            x: Activations.
            latents: Which latents are wanted, all by default. Only they are computed where ``encoder_input`` gives something; other
                SAEs encode everything, and what is not wanted is thrown away.
            at_once: Tokens that such an SAE encodes at once; default ``chunk``.

        Raises:
            UnsupportedSAEError: If the SAE has several for each latent.
        """
        if latents is None:
            return self._all_pre_activations(x)
        given = self.encoder_input(x)
        if given is not None:
            return self.pre_activations_given(given, latents)
        parts = x.reshape(-1, x.shape[-1]).split(at_once or self.chunk)
        wanted = torch.cat([self._all_pre_activations(part)[:, latents].clone() for part in parts])
        return wanted.view(*x.shape[:-1], -1)

    def encoder_input(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_in"] | None:
        """What the encoder's affine map is applied to, x normalised and without ``b_dec``; ``None`` where no such map is known."""
        return None if self.capabilities.affine_encoder is None else self._quiet.encoder_input(x)

    def normalised(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_in"]:
        """The activation as the SAE normalises it, for what is to read what its encoder reads; x itself where it does not normalise."""
        return self._quiet.normalised(x)

    def pre_activations_given(self, encoder_input: Float[Tensor, "*batch d_in"], latents: slice) -> Float[Tensor, "*batch latents"]:
        """Pre-activations of some latents from what ``encoder_input`` gave, an affine map of it; several threads may ask at once."""
        encoder = self.capabilities.affine_encoder
        if encoder is None:
            raise UnsupportedSAEError(
                f"the pre-activations of an SAE of architecture {self._quiet.architecture!r} are not known to be affine"
            )
        return self._quiet.affine(encoder, encoder_input, latents).float()

    def decode(self, feature_acts: Float[Tensor, "*batch d_sae"], x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """Reconstruction from latents, with the normalisation state that the true activation ``x`` sets, and what skips the latents."""
        return self._quiet.decode(feature_acts, x)

    def scale_and_offset(self, x: Float[Tensor, "*batch d_in"]) -> tuple[Float[Tensor, "*batch 1"], Float[Tensor, "*batch d_out"]]:
        """The affine form of decode: ``decode(z, x) = scale * (z @ decoder) + offset``; both depend on the token only."""
        return self._quiet.scale_and_offset(x, adds_bias=self.capabilities.adds_bias)

    def as_trained(self, y: Float[Tensor, "*batch d_out"], x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """What the SAE was trained to reconstruct of ``y``, but for a constant: normalised with the state that ``x`` sets."""
        if self._quiet.is_transcoder:  # which reconstructs its output as it is
            return y
        scale, offset = self.scale_and_offset(x)
        return (y - offset) / scale

    def latent_directions(self, x: Float[Tensor, "*batch d_in"], latents: Int[Tensor, "*batch k"]) -> Float[Tensor, "*batch k d_out"]:
        """What one unit of some latents adds to the reconstruction of each token, normalisation undone."""
        scale, _ = self.scale_and_offset(x)
        return scale[..., None] * self.decoder[latents]

    def weights_hash(self) -> str:
        """SHA-256 of the SAE's weights: names, shapes, dtypes and bytes."""
        digest = hashlib.sha256()
        for name, value in sorted(self.sae.state_dict().items()):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _all_pre_activations(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_sae"]:
        if not self.capabilities.has_pre_activations:
            return self.encode(x)
        pre = self._quiet.pre_activations(x)
        assert pre is not None  # as it was when the SAE was tried
        return pre
