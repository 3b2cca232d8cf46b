"""Activations in sparse form: of each token the latents that are active, and their values, in slots of which some may be unused."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.functional.nnls import pack_nonzero
from sae_lens_metrics.functional.threads import Map, chunk_threads

__all__ = ["pack_support", "to_support", "unpack_support"]

_SLAB = 1024  # tokens whose dense activations are read or written in one go


def to_support(feature_acts: Float[Tensor, "n d_sae"]) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """The nonzero entries of each row, k being the largest number of them in a row.

    Returns:
        Their latents in ascending order and their values; unused slots, all at the end, hold latent 0 and value 0.
    """
    with chunk_threads(feature_acts.device) as run:
        return pack_support(feature_acts, run)


def pack_support(feature_acts: Tensor, run: Map) -> tuple[Tensor, Tensor]:
    """`to_support` on threads that are there already."""
    slabs = feature_acts.split(_SLAB)
    packed = list(run(pack_nonzero, slabs))
    width = max(columns.shape[1] for columns, _ in packed)
    indices = torch.zeros(len(feature_acts), width, dtype=torch.long, device=feature_acts.device)
    values = feature_acts.new_zeros(indices.shape)
    for (columns, filled), slab, into, out in zip(packed, slabs, indices.split(_SLAB), values.split(_SLAB), strict=True):
        k = columns.shape[1]
        into[:, :k] = columns.masked_fill_(~filled, 0)
        out[:, :k] = slab.gather(1, columns).masked_fill_(~filled, 0)
    return indices, values


def unpack_support(indices: Tensor, refined: Tensor, d_sae: int, run: Map) -> Tensor:
    """The dense form of refined activations, which are 0 in unused slots."""
    result = refined.new_empty(len(refined), d_sae)

    def fill(into: Tensor, indices: Tensor, refined: Tensor) -> None:
        into.zero_().scatter_add_(1, indices, refined)  # adds nothing for unused slots, whatever their index

    for _ in run(fill, result.split(_SLAB), indices.split(_SLAB), refined.split(_SLAB)):
        pass
    return result
