"""Running code that must leave no trace in the random numbers of whoever runs it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["isolated"]


@contextmanager
def isolated(*modules: torch.nn.Module) -> Iterator[None]:
    """Restores the global random states of Python, NumPy and torch afterwards.

    The metrics themselves never touch these states, but metrics that others add may.

    Args:
        modules: The CUDA devices on which these live are covered too.
    """
    devices = sorted({p.device.index or 0 for module in modules for p in module.parameters() if p.device.type == "cuda"})
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (the global state is what others may disturb)
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
