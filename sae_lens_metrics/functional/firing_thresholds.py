"""Thresholds above which values lie as often as is wanted."""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["firing_thresholds", "overall_threshold"]


def firing_thresholds(values: Float[Tensor, "n latents"], wanted: Int[Tensor, "latents"]) -> Float[Tensor, "latents"]:
    """For each column the threshold that just so many of its values exceed, halfway between two of them; ties aside.

    Args:
        values: Values.
        wanted: How many values of each column are to be above its threshold, 0 to n.

    Returns:
        Where none is wanted the largest value; where all are, less than the smallest by the column's range.
    """
    ordered = values.sort(dim=0, descending=True).values
    last = ordered.gather(0, (wanted - 1).clamp_min(0)[None])[0]
    following = ordered.gather(0, wanted.clamp_max(len(values) - 1)[None])[0]
    return torch.where(wanted == len(values), 2 * ordered[-1] - ordered[0], (last + following) / 2)


def overall_threshold(parts: Iterable[Float[Tensor, "part latents"]], wanted: int) -> float:
    """The threshold that just so many of all values exceed, halfway between two of them; ties aside.

    Args:
        parts: Values, of which only one part and the largest so far are in memory.
        wanted: How many are to be above it, at least 1 and fewer than there are.

    Raises:
        ValueError: If there are no more values than wanted.
    """
    largest: Tensor | None = None
    for part in parts:
        both = part.flatten() if largest is None else torch.cat([largest, part.flatten()])
        largest = both.topk(min(wanted + 1, len(both)), sorted=False).values
    if largest is None or len(largest) <= wanted:
        raise ValueError(f"{0 if largest is None else len(largest)} values cannot have {wanted} of them above a threshold within them")
    lowest = largest.topk(2, largest=False).values
    return float(lowest.mean())
