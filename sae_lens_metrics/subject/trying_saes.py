"""Finds out by trying what an SAE does; one that is of another form than latents in, affine decode out, is refused in words."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.errors import SubjectError, UnsupportedSAEError
from sae_lens_metrics.subject.capabilities import AffineEncoder, DictionaryCapabilities, relative_difference, tolerance_of
from sae_lens_metrics.subject.quiet_sae import QuietSAE

__all__ = ["decoder_rows", "try_sae"]

_ENCODERS = (AffineEncoder("b_enc"), AffineEncoder("b_mag", "r_mag"))
"""Parameters of known encoders."""


def try_sae(quiet: QuietSAE, d_out: int) -> DictionaryCapabilities:
    """Encodes and decodes a few random activations.

    Args:
        quiet: The SAE.
        d_out: Width of what it reconstructs.

    Raises:
        SubjectError: If its weights are so large that what it gives is not finite.
        UnsupportedSAEError: If the SAE's architecture cannot be evaluated yet.
    """
    return _Trial(quiet, d_out).capabilities()


def decoder_rows(quiet: QuietSAE, *, unit_rows: bool) -> Float[Tensor, "d_sae d_out"]:
    """The rows of ``W_dec``, or the same at unit length."""
    weight = quiet.sae.W_dec.detach()
    return weight.float() / weight.norm(dim=-1, keepdim=True).float() if unit_rows else weight.float()


class _Trial:
    def __init__(self, quiet: QuietSAE, d_out: int) -> None:
        self._quiet, self._sae = quiet, quiet.sae
        self._d_in, self._d_sae, self._d_out = int(quiet.sae.cfg.d_in), int(quiet.sae.cfg.d_sae), d_out
        self._tolerance = tolerance_of(self._sae.dtype)

    def capabilities(self) -> DictionaryCapabilities:
        rows = getattr(self._sae, "W_dec", None)
        if not isinstance(rows, Tensor) or rows.shape != (self._d_sae, self._d_out):
            raise self._unsupported(f"has no decoder W_dec of shape {(self._d_sae, self._d_out)}")
        x = torch.randn(4, self._d_in, generator=torch.Generator().manual_seed(0)).to(rows.device)
        with self._refusing("does not encode single activations"):
            z, hooked = self._quiet.encode(x), self._quiet.pre_activations(x)
        pre = z if hooked is None else hooked
        if z.shape != (4, self._d_sae) or pre.shape != z.shape:
            raise self._unsupported(f"gives latents of shape {tuple(z.shape if z.shape != (4, self._d_sae) else pre.shape)}")
        self._refuse_overflow(x, z, pre)
        with self._refusing("does not run like one of SAELens's own"):
            encoder = self._encoder(x, pre)
            adds_bias, unit_rows = self._decoder(x, z)
        return DictionaryCapabilities(encoder, hooked is not None, adds_bias, unit_rows, self._quiet.stateless)

    def _encoder(self, x: Float[Tensor, "n d_in"], expected: Float[Tensor, "n d_sae"]) -> AffineEncoder | None:
        """The parameters that make the pre-activations an affine map; ``None`` if none do."""
        if not hasattr(self._sae, "process_sae_in"):
            return None
        given = self._quiet.encoder_input(x)
        for encoder in _ENCODERS:
            names = ("W_enc", encoder.bias, *filter(None, [encoder.log_scale]))
            if all(isinstance(getattr(self._sae, name, None), Tensor) for name in names):
                pre = self._quiet.affine(encoder, given, slice(None))
                if pre.shape == expected.shape and relative_difference(pre, expected) < self._tolerance:
                    return encoder
        return None

    def _decoder(self, x: Float[Tensor, "n d_in"], z: Float[Tensor, "n d_sae"]) -> tuple[bool, bool]:
        """With which rows decode is affine in the latents: whether ``b_dec`` is added, and whether the rows are at unit length."""
        if not relative_difference(self._quiet.decode(z, x), self._quiet.whole(x)) < self._tolerance:
            raise self._unsupported("does more than to decode what it encodes")
        z = torch.randn(z.shape, generator=torch.Generator().manual_seed(1)).to(z.device)
        expected = self._quiet.decode(z, x)
        for adds_bias in (True, False):
            scale, offset = self._quiet.scale_and_offset(x, adds_bias=adds_bias)
            for unit_rows in (False, True):
                rows = decoder_rows(self._quiet, unit_rows=unit_rows)
                if relative_difference(scale * (z @ rows) + offset, expected) < self._tolerance:
                    return adds_bias, unit_rows
        raise self._unsupported("does not decode by a sum of latents times decoder rows")

    def _refuse_overflow(self, x: Float[Tensor, "n d_in"], *latents: Tensor) -> None:
        with self._refusing("does not decode what it encodes"):
            outputs = (*latents, self._quiet.whole(x))
        if all(bool(each.isfinite().all()) for each in outputs):
            return
        largest = {name: float(value.float().abs().max()) for name, value in self._sae.state_dict().items() if value.numel()}
        name = max(largest, key=largest.__getitem__)
        raise SubjectError(
            f"the SAE gives NaN or infinity for activations of ordinary size, as its weights reach {largest[name]:.3g} ({name}): "
            "load it again, or tell its publisher"
        )

    @contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        """Says in words what an SAE does not do, whatever it raises."""
        try:
            yield
        except UnsupportedSAEError:
            raise
        except (RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise self._unsupported(f"{what} ({' '.join(str(error).split())})") from error

    def _unsupported(self, what: str) -> UnsupportedSAEError:
        return UnsupportedSAEError(f"an SAE of architecture {self._quiet.architecture!r} {what}: not supported yet")
