"""SAELens's SAE as a function of single activations: in evaluation mode, without gradients, and nothing left on it afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from sae_lens import SAE
from torch import Tensor

from sae_lens_metrics.errors import UnsupportedSAEError
from sae_lens_metrics.subject.backends import evaluating
from sae_lens_metrics.subject.capabilities import AffineEncoder

__all__ = ["QuietSAE"]

_STATE_WHILE_ENCODING = ("constant_norm_rescale", "layer_norm")
"""Normalisations whose state SAELens keeps on the SAE between encode and decode."""


class QuietSAE:
    """What SAELens's own methods give, in float32; nothing here depends on what was found out about the SAE.

    Args:
        sae: An SAE or a transcoder of SAELens.
    """

    def __init__(self, sae: SAE[Any]) -> None:
        self.sae = sae
        self.is_transcoder = hasattr(sae.cfg, "d_out")

    @property
    def architecture(self) -> str:
        """SAELens's name of the architecture."""
        return str(self.sae.cfg.architecture())

    @property
    def stateless(self) -> bool:
        """Whether encoding leaves no state on the SAE, so that several threads may encode at once."""
        return self.sae.cfg.normalize_activations not in _STATE_WHILE_ENCODING

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """The SAE in evaluation mode, taking flat activations; both restored afterwards."""
        reshapes = self.sae.hook_z_reshaping_mode
        if reshapes:
            self.sae.turn_off_forward_pass_hook_z_reshaping()
        try:
            with evaluating(self.sae):
                yield
        finally:
            if reshapes:
                self.sae.turn_on_forward_pass_hook_z_reshaping()

    def encode(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_sae"]:
        """Latents of activations, dense."""
        with self.quiet(), torch.no_grad():
            z = self.sae.encode(x.to(self.sae.dtype))
            self._forget_state(x)
        return (z.to_dense() if z.is_sparse else z).float()

    def pre_activations(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_sae"] | None:
        """What passes ``hook_sae_acts_pre`` in a run of the encoder; ``None`` where nothing does.

        Raises:
            UnsupportedSAEError: If the SAE has several for each latent.
        """
        seen: list[Tensor] = []
        handle = self.sae.hook_sae_acts_pre.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
        try:
            self.encode(x)
        finally:
            handle.remove()
        if len(seen) > 1:
            raise UnsupportedSAEError(f"an SAE of architecture {self.architecture!r} has several pre-activations per latent")
        return seen[0].float() if seen else None

    def encoder_input(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_in"]:
        """The activation as it enters the encoder, normalised and without ``b_dec``."""
        with self.quiet(), torch.no_grad():
            given = self.sae.process_sae_in(x)
            self._forget_state(x)
        return given

    def normalised(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_in"]:
        """The activation as the SAE normalises it, and itself where it does not."""
        if self.stateless:
            return x
        with self.quiet(), torch.no_grad():
            given = self.sae.run_time_activation_norm_fn_in(x.to(self.sae.dtype))
            self._forget_state(x)
        return given.float()

    @torch.no_grad()
    def affine(self, encoder: AffineEncoder, given: Float[Tensor, "*batch d_in"], latents: slice) -> Float[Tensor, "*batch latents"]:
        """``given @ W_enc + bias`` for some columns, in the dtype of ``given``."""
        weight: Tensor = getattr(self.sae, "W_enc")[:, latents]  # noqa: B009 - SAELens's types do not promise it
        if encoder.log_scale is not None:
            weight = weight * getattr(self.sae, encoder.log_scale)[latents].exp()
        return (given @ weight.to(given.dtype)).add_(getattr(self.sae, encoder.bias)[latents].to(given.dtype))

    def decode(self, feature_acts: Float[Tensor, "*batch d_sae"], x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """Reconstruction from latents, with the normalisation state that ``x`` sets, and what skips the latents."""
        with self.quiet(), torch.no_grad():
            if self.is_transcoder:  # which undoes no normalisation
                return self.sae.decode(feature_acts.to(self.sae.dtype)).float() + self._skipped(x)
            self.sae.run_time_activation_norm_fn_in(x.to(self.sae.dtype))
            return self.sae.decode(feature_acts.to(self.sae.dtype)).float()

    def whole(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """The SAE's own forward pass."""
        with self.quiet(), torch.no_grad():
            whole = self.sae(x.to(self.sae.dtype)).float()
            if self.is_transcoder:  # others forget it themselves
                self._forget_state(x)
        return whole

    def scale_and_offset(
        self, x: Float[Tensor, "*batch d_in"], *, adds_bias: bool
    ) -> tuple[Float[Tensor, "*batch 1"], Float[Tensor, "*batch d_out"]]:
        """What normalisation, ``b_dec`` and a skip connection make of a sum of decoder rows: a factor and an addend for each token."""
        bias = self.sae.b_dec.detach().float() * adds_bias
        if self.is_transcoder:
            return torch.ones_like(x[..., :1]), (bias + self._skipped(x)).expand(*x.shape[:-1], -1)
        zeros = torch.zeros_like(x)
        shift = self._undo_normalisation(zeros, x)
        scale = (self._undo_normalisation(zeros + 1, x) - shift)[..., :1]
        return scale, scale * bias + shift

    def _skipped(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"] | float:
        """What a transcoder's reconstruction takes from its input past the latents."""
        weight = getattr(self.sae, "W_skip", None)
        return 0.0 if weight is None else x @ weight.detach().float().T

    def _undo_normalisation(self, values: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.sae.run_time_activation_norm_fn_in(x.to(self.sae.dtype))
            return self.sae.run_time_activation_norm_fn_out(values.to(self.sae.dtype)).float()

    def _forget_state(self, x: Tensor) -> None:
        """Encode leaves the normalisation state on the SAE, which only decode would remove."""
        self.sae.run_time_activation_norm_fn_out(torch.zeros_like(x, dtype=self.sae.dtype))
