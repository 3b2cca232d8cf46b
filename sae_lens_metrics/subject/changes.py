"""Many changes of the activation at a hook, from one position on, and what each does to the logits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.functional.threads import Map
from sae_lens_metrics.integrations.widening import computes_in, is_half, widened
from sae_lens_metrics.subject.backends import Backend, Onwards, Prefix, concurrently
from sae_lens_metrics.subject.place import Port

__all__ = ["Changes"]


class Changes:
    """Runs of the model onwards from a hook; those of one position share what comes before it.

    Args:
        backend: Runs the model.
        port: The hook at which the activation is changed.
        vocabulary: Number of tokens that the model knows, if it says so.
        device: The SAE's device, whose threads are used.
        dtype: What the model computes in, if not the type of its weights.

    Attributes:
        dtype: What the model computes in.
    """

    def __init__(
        self, backend: Backend, port: Port, vocabulary: int | None, device: torch.device, *, dtype: torch.dtype | None = None
    ) -> None:
        self._backend, self._port = backend, port
        self.dtype = computes_in(backend.model) if dtype is None else dtype
        self._vocabulary, self._device = vocabulary or 2**16, device

    def onwards(self, prefix: Prefix, start: int, activation: Float[Tensor, "batch pos d_out"] | None = None) -> Onwards:
        """Gets ready for many changes of the activation from one position on.

        Args:
            prefix: The tokens, up to the last position that is asked about.
            start: The first position that is changed.
            activation: What is in the place of the model's own activation, if it is not that itself.
        """
        prefix = _widened(prefix, self.dtype)
        written = prefix.activation if activation is None else self._port.write(prefix.activation, activation)
        return self._backend.onwards(prefix, written, start)

    def in_float32(self, memory: float) -> "Changes":
        """The same runs in float32, whatever the type of the model's weights is; themselves where they are so already.

        Args:
            memory: Bytes for copies of weights; where that is too little for all that are needed, they are made layer by layer.

        Raises:
            SubjectError: If the model cannot be run so, with the reason.
        """
        if not is_half(self.dtype):
            return self
        try:
            wide = self._backend.on(widened(self._backend.model, self._backend.onward_layers(), memory))
            return Changes(wide, self._port, self._vocabulary, self._device, dtype=torch.float32)
        except Exception as error:  # whatever a model may raise when it is copied
            raise SubjectError(f"the layers after the hook cannot be run in float32 ({type(error).__name__}: {error})") from error

    def outputs(
        self, onwards: Onwards, rows: Int[Tensor, "n"], change: Float[Tensor, "n c d_out"] | None = None
    ) -> Float[Tensor, "n length d_output"]:
        """Runs the model with changed activations; the outputs tell of logits, from the first change on, by their differences.

        Args:
            onwards: The sequences and the position.
            rows: The sequence that each run is about.
            change: The activation at the first c positions in each run; by default nothing is changed.
        """
        rows = rows.to(onwards.activation.device)
        written = None
        if change is not None:
            written = self._port.write(onwards.activation[rows, onwards.start : onwards.start + change.shape[1]], change)
        return self._backend.outputs(onwards, rows, written)

    def logit_differences(
        self, outputs: Float[Tensor, "n pos d_output"], unchanged: Float[Tensor, "n pos d_output"]
    ) -> Float[Tensor, "n pos vocab"]:
        """Logits of changed runs minus those of unchanged ones, in float32."""
        return self._backend.logit_differences(outputs, unchanged)

    def bytes_per_change(self, onwards: Onwards) -> int:
        """Memory that ``outputs`` takes for each run while it computes, roughly, in bytes."""
        return self._backend.bytes_per_output(onwards, self._vocabulary)

    @contextmanager
    def many(self) -> Iterator[Map]:
        """A `map` for calls of ``outputs`` and ``logit_differences``: on several threads, where the model allows it."""
        with concurrently(self._backend, self._device) as every:
            yield every


def _widened(prefix: Prefix, dtype: torch.dtype) -> Prefix:
    """What passed the hook, in at least the precision in which the runs go on."""
    kind = torch.promote_types(dtype, prefix.activation.dtype)
    residual = None if prefix.residual is None else prefix.residual.to(kind)
    return replace(prefix, activation=prefix.activation.to(kind), residual=residual)
