"""Runs of one model up to one hook, kept for the next SAE at that hook."""

from collections.abc import Callable

from jaxtyping import Int
from torch import Tensor

from sae_lens_metrics.subject.backends import Prefix

__all__ = ["SharedPrefixes"]


class SharedPrefixes:
    """Keeps what a model computed up to a hook, by its tokens, so that several SAEs there share one run.

    All subjects that are given it must have the same model, with the same arguments, and the same hooks. What was asked for first is
    kept; once the limit is reached, the rest is run anew for each SAE. To throw out the oldest instead would help nobody: every SAE
    asks for the same batches in the same order, so that each would be thrown out before it is asked for again.

    Args:
        limit: Bytes to keep at most.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._kept: dict[tuple[tuple[int, ...], bytes], Prefix] = {}
        self.bytes = 0
        """Memory that is taken, in bytes."""

    def prefix(self, tokens: Int[Tensor, "batch pos"], run: Callable[[Tensor], Prefix]) -> Prefix:
        """What is kept for these tokens, or what ``run`` gives for them."""
        key = tuple(tokens.shape), tokens.detach().cpu().contiguous().numpy().tobytes()
        if key in self._kept:
            return self._kept[key]
        prefix = run(tokens)
        size = _size(prefix) + len(key[1])
        if self.bytes + size <= self._limit:
            self._kept[key] = prefix
            self.bytes += size
        return prefix


def _size(prefix: Prefix) -> int:
    tensors = {id(tensor): tensor for tensor in (prefix.tokens, prefix.activation, prefix.residual, prefix.read) if tensor is not None}
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors.values())
