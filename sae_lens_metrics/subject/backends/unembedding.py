"""Differences of logits from differences of what is unembedded: less work, and more precise, than to subtract logits."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["difference", "product_in_wider", "unembedded_differences"]

_WIDENED_AT_ONCE = 2**24
"""Weights of which there is a float32 copy at once: 64 MB."""
_CAPPED_AT_ONCE = 2**20
"""Logits for which a soft cap is computed at once."""


def unembedded_differences(
    outputs: Float[Tensor, "n pos d_output"],
    unchanged: Float[Tensor, "n pos d_output"],
    weight: Float[Tensor, "d_output vocab"],
    cap: float,
    unembed: Callable[[Tensor], Tensor],
) -> Float[Tensor, "n pos vocab"]:
    """Logits of changed runs minus those of unchanged ones, in float32.

    Args:
        outputs: What is unembedded in changed runs.
        unchanged: The same in unchanged runs.
        weight: The unembedding.
        cap: What logits are softly capped at by ``cap * tanh(logits / cap)``; 0 for no cap.
        unembed: Gives logits before the cap.
    """
    with torch.no_grad():
        differences = product_in_wider(difference(outputs, unchanged), weight).float()
        if cap:
            step = max(1, _CAPPED_AT_ONCE // weight.shape[1])
            for changed, before in zip(differences.flatten(0, 1).split(step), unchanged.flatten(0, 1).split(step), strict=True):
                _cap_differences(changed, unembed(before).float(), cap)
        return differences


def product_in_wider(a: Float[Tensor, "*batch d_output"], weight: Float[Tensor, "d_output vocab"]) -> Float[Tensor, "*batch vocab"]:
    """``a @ weight`` in the more precise of both types, a part of the vocabulary at a time where the weight must be widened.

    Args:
        a: What is unembedded.
        weight: The unembedding.
    """
    if weight.dtype == a.dtype or torch.promote_types(weight.dtype, a.dtype) == weight.dtype:
        return a.to(weight) @ weight
    a = a.to(weight.device)
    step = max(1, _WIDENED_AT_ONCE // weight.shape[0])
    return torch.cat([a @ part.to(a) for part in weight.split(step, dim=1)], -1)


def difference(a: Tensor, b: Tensor) -> Tensor:
    """Subtracts in float32 at least."""
    return a - b if a.dtype == torch.float64 else a.float() - b.float()


def _cap_differences(differences: Tensor, logits: Tensor, cap: float) -> None:
    """Makes differences of logits those of ``cap * tanh(logits / cap)``, without subtracting what is nearly equal; overwrites both."""
    t, d = logits.div_(cap).tanh_(), differences.div_(cap).tanh_()
    denominator = (t * d).add_(1).clamp_min_(torch.finfo(d.dtype).eps)  # 0 where a saturated logit is pushed the other way
    d.mul_(t.square_().neg_().add_(1)).div_(denominator).mul_(cap)
