"""Runs of one model up to one hook, kept for the next SAE at that hook."""

from collections.abc import Callable
from typing import Any, TypeVar

from jaxtyping import Int
from torch import Tensor

from sae_lens_metrics.subject.backends import Prefix

__all__ = ["SharedPrefixes"]

Answer = TypeVar("Answer")
_Key = tuple[tuple[tuple[int, ...], bytes], ...]


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
        self._kept: dict[_Key, Any] = {}
        self.bytes = 0
        """Memory that is taken, in bytes."""

    def prefix(self, tokens: Int[Tensor, "batch pos"], run: Callable[[Tensor], Prefix]) -> Prefix:
        """What is kept for these tokens, or what ``run`` gives for them."""
        return self._get((_key(tokens),), lambda: run(tokens), _size)

    def at(self, tokens: Int[Tensor, "batch pos"], position: Int[Tensor, "batch"], run: Callable[[Tensor], Tensor]) -> Tensor:
        """What is kept for these tokens at one position of each sequence, or what ``run`` gives for them."""
        return self._get((_key(tokens), _key(position)), lambda: run(tokens), lambda activation: activation.untyped_storage().nbytes())

    def _get(self, key: _Key, run: Callable[[], Answer], size: Callable[[Answer], int]) -> Answer:
        if key in self._kept:
            return self._kept[key]
        answer = run()
        nbytes = size(answer) + sum(len(content) for _, content in key)
        if self.bytes + nbytes <= self._limit:
            self._kept[key] = answer
            self.bytes += nbytes
        return answer


def _key(tensor: Tensor) -> tuple[tuple[int, ...], bytes]:
    return tuple(tensor.shape), tensor.detach().cpu().contiguous().numpy().tobytes()


def _size(prefix: Prefix) -> int:
    tensors = {id(tensor): tensor for tensor in (prefix.tokens, prefix.activation, prefix.residual, prefix.read) if tensor is not None}
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors.values())
