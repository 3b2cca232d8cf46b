"""How long a preset takes on this machine, by the work that metrics say they are."""

from dataclasses import dataclass, field
from typing import get_args

from sae_lens_metrics.benchmark.shapes import GEMMA_2_2B, GPT2_SMALL, Shape
from sae_lens_metrics.evaluation.costs import expected_passes
from sae_lens_metrics.metrics.config import MetricsConfig, Preset

__all__ = ["FORETOLD", "PresetTime", "preset_times"]

FORETOLD = (GPT2_SMALL, GEMMA_2_2B)
"""Shapes of which times are told."""


@dataclass(frozen=True)
class PresetTime:
    """How long an evaluation with a preset takes."""

    preset: str
    """The preset."""
    shape: str
    """What the shape of model and SAE is called."""
    d_sae: int
    """Latents."""
    tokens: int
    """Tokens of evaluation text."""
    minutes: float
    """All of it."""
    by_metric: dict[str, float] = field(default_factory=dict)
    """Minutes of the sanity line and of each metric."""


def preset_times(operations: float) -> list[PresetTime]:
    """Minutes of every preset at the shapes of ``FORETOLD``.

    What an evaluation costs is told in sanity lines on its text (``MetricSpec.cost``), and a sanity line is so many operations a token.

    Args:
        operations: How many of them per second the sanity line does on this machine, products with weights counted.
    """
    return [_time_of(preset, shape, operations) for preset in get_args(Preset) for shape in FORETOLD]


def _time_of(preset: Preset, shape: Shape, operations: float) -> PresetTime:
    config = MetricsConfig.preset(preset)
    sanity = config.tokens * shape.sanity / operations / 60
    passes = expected_passes(config, tokens=config.tokens, context=shape.context, d_sae=shape.d_sae)
    minutes = {"sanity": sanity, **{name: sanity * each for name, each in passes.items()}}
    return PresetTime(preset, shape.name, shape.d_sae, config.tokens, sum(minutes.values()), minutes)
