"""The machine: what it is called, how fast it multiplies matrices, and how fast it moves memory."""

import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from sae_lens_metrics.benchmark.timing import seconds_of

__all__ = ["Machine", "measured_machine"]


@dataclass(frozen=True)
class Machine:
    """What rates are shares of."""

    name: str
    """Of the GPU, or of the processor with the threads that are used."""
    device: str
    """The device, such as ``"cpu"`` or ``"cuda"``."""
    torch: str
    """PyTorch's version."""
    products: float
    """Floating-point operations per second of a large matrix product in float32."""
    bandwidth: float
    """Bytes per second of a large copy, read and written."""


def measured_machine(device: torch.device, *, at_least: float, small: bool = False) -> Machine:
    """Measures the machine.

    Args:
        device: Which of its devices.
        at_least: Seconds for each of the two measurements.
        small: Whether matrices are small, to see that it works.
    """
    n = 128 if small else 2_048 if device.type == "cpu" else 8_192
    a, b, product = (torch.randn(n, n, device=device) for _ in range(3))
    products = 2 * n**3 / seconds_of(lambda: torch.mm(a, b, out=product), device, at_least=at_least)
    size = 2**16 if small else 2**26 if device.type == "cpu" else 2**28
    source, target = torch.zeros(size, device=device), torch.zeros(size, device=device)
    bandwidth = 2 * source.nbytes / seconds_of(lambda: target.copy_(source), device, at_least=at_least)
    return Machine(_name(device), str(device), torch.__version__, products, bandwidth)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'' if threads == 1 else 's'}"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown processor"
