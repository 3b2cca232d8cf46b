"""The processes that do one evaluation together: each works on a part, and all of them know what came of the whole."""

import io
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor

from sae_lens_metrics.errors import ConfigError, ProcessLostError

__all__ = ["ALONE", "Ranks"]

T = TypeVar("T")

_PATIENCE = timedelta(days=2)
"""How long a process waits for the others. torchrun ends all of them at once when one ends; what is waited for here is only work."""


class Ranks:
    """Processes that run the same program on the same text, model and SAE, started by torchrun.

    They take the same steps in the same order. Where a step is a loop over text, latents or tasks, each does a part of it (``mine``), and
    ``each`` tells all of them what came of all parts; whatever follows from that is computed by every process for itself, so that there is
    no other traffic. An error in one process is raised in all of them, at the next moment at which they talk to each other.

    Of one process alone, everything is its own, and nothing is sent.

    Args:
        rank: Which process this is, from 0 on.
        size: How many there are. More than one takes the process group of ``torch.distributed``.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._told: Exception | None = None  # the last error that all know of

    @classmethod
    def launched(cls) -> "Ranks":
        """The processes that torchrun has started, each on a GPU of its own, where there are GPUs; this one alone where it has not.

        Objects and tensors of a CPU are sent by Gloo, those of a GPU by NCCL. A process group that is there already is used as it is.

        Raises:
            ConfigError: If there are fewer GPUs than processes on this machine.
        """
        if not dist.is_initialized():
            if not dist.is_torchelastic_launched() or os.environ["WORLD_SIZE"] == "1":
                return ALONE
            gpus, local = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
            if gpus and local >= gpus:
                started = os.environ.get("LOCAL_WORLD_SIZE")
                raise ConfigError(f"torchrun has started {started} processes on {gpus} GPUs: give --nproc-per-node {gpus}, one for each")
            if gpus:
                torch.cuda.set_device(local)
            dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=_PATIENCE)
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and speaks to the user."""
        return self.rank == 0

    def mine(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of some items: consecutive ones, so that all parts in the order of the processes are the items.

        Args:
            items: The items, the same in all processes.
        """
        return items[len(items) * self.rank // self.size : len(items) * (self.rank + 1) // self.size]

    def each(self, work: Callable[[], T]) -> list[T]:
        """What a function gives in each process, in the order of the processes.

        Args:
            work: The function. What it gives is sent to all, as pickle does; tensors of a GPU arrive on the receiver's.

        Raises:
            Exception: What it raised in one of them, in all of them.
            ProcessLostError: If one of them has ended.
        """
        if self.size == 1:
            return [work()]
        return self._outcomes(work)

    def together(self, work: Callable[[], T]) -> T:
        """What a function gives in this process; where it fails in one of them, it fails in all.

        Args:
            work: The function. What it gives need not be the same everywhere, and is not sent.

        Raises:
            Exception: What it raised in one of them.
            ProcessLostError: If one of them has ended.
        """
        if self.size == 1:
            return work()
        kept: list[T] = []
        self._outcomes(lambda: kept.append(work()))
        return kept[0]

    def of_first(self, work: Callable[[], T]) -> T:
        """What a function gives in the first process, in all of them; it is not called in the others.

        Args:
            work: The function.

        Raises:
            Exception: What it raised.
            ProcessLostError: If one of them has ended.
        """
        return work() if self.size == 1 else self._outcomes(lambda: work() if self.is_first else None)[0]

    def heard(self) -> Any:
        """What the first process gives to ``of_first``, for another one, which does not know what that will be.

        Raises:
            ProcessLostError: If one of them has ended.
        """
        return self._outcomes(lambda: None)[0]

    def dismiss(self) -> None:
        """Tells those that ``follow`` this process, the first one, that there is nothing more to do; not if one of them is lost already."""
        with suppress(ProcessLostError):
            self.of_first(lambda: None)

    def total(self, tensor: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """The sum of a tensor over all processes, on its own device; to be asked for where no process can have failed since ``together``.

        Args:
            tensor: Of the same shape and type in all of them.

        Raises:
            ProcessLostError: If one of them has ended.
        """
        if self.size == 1:
            return tensor
        sums = tensor.detach().clone(memory_format=torch.contiguous_format)
        _talking(lambda: dist.all_reduce(sums))
        return sums

    def _outcomes(self, work: Callable[[], Any]) -> list[Any]:
        try:
            own: Any = work()
        except Exception as error:
            if error is self._told or isinstance(error, ProcessLostError):
                raise
            own = _Failure(error)
        found = self._exchanged(own)
        for place, outcome in enumerate(found):
            if isinstance(outcome, _Failure):
                error = own.error if place == self.rank else outcome.error
                self._told = error
                raise error
        return found

    def _exchanged(self, own: Any) -> list[Any]:
        sent: list[Any] = [None] * self.size
        _talking(lambda: dist.all_gather_object(sent, _packed(own)))
        return [own if place == self.rank else _unpacked(packed) for place, packed in enumerate(sent)]


class _Failure:
    """An error of a process."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _talking(send: Callable[[], Any]) -> None:
    try:
        send()
    except (RuntimeError, dist.DistError) as error:
        raise ProcessLostError("another process of this evaluation has ended: what it said tells why") from error


def _packed(own: Any) -> bytes:
    """What ``torch.save`` makes of it; of an error that cannot be sent, its words."""
    try:
        return _saved(own)
    except Exception:
        if not isinstance(own, _Failure):
            raise
        return _saved(_Failure(RuntimeError(f"{type(own.error).__name__}: {own.error}")))


def _saved(own: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(own, buffer)
    return buffer.getvalue()


def _unpacked(packed: bytes) -> Any:
    """What another process has packed; tensors that were on its GPU are put on this one's."""

    def placed(storage: Any, location: str) -> Any:
        return storage if location == "cpu" else storage.cuda(torch.cuda.current_device())

    return torch.load(io.BytesIO(packed), map_location=placed, weights_only=False)


ALONE = Ranks()
"""One process, which does all of it."""
