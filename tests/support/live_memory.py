"""The most memory that tensors take at one time, made while a block runs; what operations use inside themselves is not seen."""

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sae_lens_metrics.subject.half_weights import HalfHeld


class PeakMemory(TorchDispatchMode):
    """Counts the storages of what operations return, in one thread, for as long as they live.

    Attributes:
        peak: Bytes, beyond what there was before.
    """

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._known = set()
        self._before = set()

    def knows(self, *tensors):
        """Leaves out what was there before, such as weights that an operation returns a view of."""
        self._before |= {tensor.untyped_storage().data_ptr() for tensor in tensors}
        return self

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if any(issubclass(each, HalfHeld) for each in types):
            return NotImplemented  # it is seen what happens within
        result = function(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor) and not isinstance(each, HalfHeld) and each.layout == torch.strided:
                self._add(each.untyped_storage())
        return result

    def _add(self, storage):
        key = storage._cdata
        if key in self._known or storage.data_ptr() in self._before:
            return
        self._known.add(key)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key, size):
        self._known.discard(key)
        self.now -= size
