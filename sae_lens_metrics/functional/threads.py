"""Independent chunks of tensor work on the threads of a CPU."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["Map", "chunk_threads"]

Map = Callable[..., Iterator[Any]]
"""What the builtin `map` does, in the order of its arguments."""


@contextmanager
def chunk_threads(device: torch.device) -> Iterator[Map]:
    """A `map` that gives each thread whole chunks, instead of splitting every operation over all threads.

    PyTorch runs batched LAPACK calls, `nonzero` and `index_select` on one thread, and on a busy machine its threads wait for each other at
    the end of every small operation. Within this context as many chunks are in work as PyTorch has threads, and each operation uses one
    thread; the number of threads is put back at the end. On other devices the builtin `map` is all there is to it.

    Args:
        device: Where the work is done.

    Yields:
        The `map`; what it calls records no gradients, and may write to shared tensors where no two chunks write to the same place.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield map
        return
    inference = torch.is_inference_mode_enabled()  # a new thread starts without it, and could not write to inference tensors then

    def threaded_map(function: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
        def work(*chunk: Any) -> Any:
            with torch.inference_mode(inference), torch.no_grad():
                return function(*chunk)

        return pool.map(work, *arguments)

    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield threaded_map
    finally:
        torch.set_num_threads(threads)
