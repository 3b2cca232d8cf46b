"""All measurements one after the other, and their result."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sae_lens_metrics.benchmark.ablation_rates import ablation_rate
from sae_lens_metrics.benchmark.machine import Machine, measured_machine
from sae_lens_metrics.benchmark.matching_rates import matching_rate
from sae_lens_metrics.benchmark.model_rates import SANITY_RATE, encoding_rate, forward_rate, sanity_rate, to_hook_rate
from sae_lens_metrics.benchmark.n2g_rates import n2g_rate
from sae_lens_metrics.benchmark.presets import PresetTime, preset_times
from sae_lens_metrics.benchmark.probe_rates import probing_rate
from sae_lens_metrics.benchmark.rate import Rate
from sae_lens_metrics.benchmark.refinement_rates import refinement_rate
from sae_lens_metrics.benchmark.shapes import Shape
from sae_lens_metrics.benchmark.synthetic import Bench, synthetic_bench
from sae_lens_metrics.integrations.progress import each
from sae_lens_metrics.results.files import readable_json, write_atomically

__all__ = ["MEASUREMENTS", "BenchResult", "run_measurements"]

MEASUREMENTS: tuple[Callable[[Bench], Rate], ...] = (
    to_hook_rate,
    forward_rate,
    encoding_rate,
    sanity_rate,
    probing_rate,
    n2g_rate,
    matching_rate,
    ablation_rate,
    refinement_rate,
)
"""What is measured, in this order."""
_OF_MACHINE = 0.5
"""The share of a measurement's time that each of the machine's own limits takes."""


@dataclass(frozen=True)
class BenchResult:
    """What was measured."""

    machine: Machine
    """The machine and its limits."""
    shape: Shape
    """The shape that was measured at."""
    rates: list[Rate]
    """What is done how fast."""
    presets: list[PresetTime]
    """What evaluations therefore take."""

    def share(self, rate: Rate) -> float:
        """The share of what limits it that a rate reaches, by the work that it counts."""
        limit = self.machine.products if rate.work.limit == "matrix products" else self.machine.bandwidth
        return rate.rate * rate.work.amount / limit

    def to_dict(self) -> dict[str, Any]:
        """JSON types; ``rates`` and ``presets`` are rows of tables."""
        rates = [
            {
                **{key: getattr(rate, key) for key in ("name", "what", "unit", "rate", "reference", "reference_rate", "times")},
                "work_per_unit": rate.work.amount,
                "limit": rate.work.limit,
                "share": self.share(rate),
            }
            for rate in self.rates
        ]
        presets = [
            {
                **{key: value for key, value in asdict(preset).items() if key != "by_metric"},
                **{f"minutes_{name}": minutes for name, minutes in preset.by_metric.items()},
            }
            for preset in self.presets
        ]
        given = {"package": version("sae-lens-metrics"), "machine": asdict(self.machine), "shape": asdict(self.shape)}
        return {**given, "rates": rates, "presets": presets}

    def save(self, path: str | Path) -> Path:
        """Writes it as JSON.

        Raises:
            OSError: It cannot be written.
        """
        return write_atomically(path, readable_json(self.to_dict()) + "\n")


def run_measurements(shape: Shape, device: str, *, seconds: float) -> BenchResult:
    """Measures everything, with a bar.

    Args:
        shape: The shape to measure at.
        device: Where.
        seconds: How long each measurement takes at least.
    """
    bench, rates = synthetic_bench(shape, device, seconds=seconds), []
    before = _limits(bench)
    for measure in each(MEASUREMENTS, "measuring", unit="rate"):
        rates.append(measure(bench))
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()
    machine = max(before, _limits(bench), key=lambda machine: machine.products)  # others may have been at work at either time
    sanity = next(rate for rate in rates if rate.name == SANITY_RATE)
    return BenchResult(machine, shape, rates, preset_times(sanity.rate * sanity.work.amount))


def _limits(bench: Bench) -> Machine:
    return measured_machine(bench.device, at_least=_OF_MACHINE * bench.seconds, small=bench.seconds == 0)
