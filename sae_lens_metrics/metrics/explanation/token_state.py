"""Activations as they would be with one and the same state of the SAE's normalisation."""

import torch
from jaxtyping import Float
from torch import Tensor

from sae_lens_metrics.subject.dictionary import Dictionary

__all__ = ["TokenState"]


class TokenState:
    """What decoding adds to each token by itself, such as its own mean and scale where the SAE's normalisation takes them away.

    The SAE decodes as ``scale * (z @ decoder) + offset``, and both may depend on the token. They are taken relative to those of one fixed
    activation, so that nothing at all is changed, to the last bit, where they are the same for all tokens.

    Args:
        dictionary: The SAE.
        x: Activations whose states are meant, [n, d_in].
    """

    def __init__(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        fixed = torch.linspace(-1, 1, x.shape[1], device=x.device)  # any will do that has a mean and a scale
        scale, offset = dictionary.scale_and_offset(x)
        fixed_scale, fixed_offset = dictionary.scale_and_offset(fixed[None])
        self._scale = scale / fixed_scale
        self._offset = offset - self._scale * fixed_offset

    def remove(self, y: Float[Tensor, "n d_out"]) -> Float[Tensor, "n d_out"]:
        """Activations of these tokens, with the fixed state in place of theirs."""
        return (y - self._offset) / self._scale.where(self._scale != 0, 1)  # a token without any spread leaves nothing to be scaled

    def restore(self, y: Float[Tensor, "n d_out"]) -> Float[Tensor, "n d_out"]:
        """The inverse: what decoding makes of such an activation at these tokens."""
        return self._scale * y + self._offset
