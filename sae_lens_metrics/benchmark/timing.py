"""How long a piece of work takes, on any device."""

import time
from collections.abc import Callable

import torch

__all__ = ["finished", "seconds_of"]

_MOST = 50
"""Repetitions at most, however short the work is."""


def seconds_of(work: Callable[[], object], device: torch.device, *, at_least: float) -> float:
    """Seconds of the fastest of several runs; the first, which warms up, does not count.

    Args:
        work: What to run.
        device: Where its tensors are, which is waited for.
        at_least: Seconds after which no further run is started; one is always counted.
    """
    finished(work, device)
    best, begun = float("inf"), time.perf_counter()
    for _ in range(_MOST):
        best = min(best, finished(work, device))
        if time.perf_counter() - begun >= at_least:
            break
    return best


def finished(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one run, until the device has done it all."""
    _wait(device)
    begun = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - begun


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
