"""What each metric of an evaluation has to do at some shape, and how long a GPU that was measured takes for it.

This counts more closely than ``MetricSpec.cost``, which knows the shape only by what a sanity line takes: with millions of latents most of
a sanity line is the SAE, which most metrics use less.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from sae_lens_metrics.benchmark.shapes import GPT2_SMALL, Shape
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.registry import SANITY, metric_spec

__all__ = ["H200", "L0", "MetricWork", "Speed", "seconds", "work_of"]

L0 = 64
"""Active latents of a token, as many as are reckoned with."""
_TEXT = 62
"""Tokens of a probe task's text: 26,000 texts of the generated tasks took 841 runs on some 1,900 tokens each."""
_POSITIONS, _ROWS = 1_500, 150
"""Positions that are run up to the hook, and rows that are encoded, to explain a latent by 16 activations with n-grams of any length: of
the demo's SAEs 1,000 to 3,900, and 100 to 250."""
_REPLACED = 11
"""Runs from the hook on in explanation reconstruction, each over half of the text."""
_FURTHER = 2
"""Times the text that the means given tokens are learned from, beside it."""
_BASELINES = 3
"""Kinds of changes that are beside those of latents."""


@dataclass(frozen=True)
class MetricWork:
    """What there is to do."""

    products: float
    """Floating-point operations in products with weights, of the model and the SAE."""
    fits: float = 0
    """Texts times latents to which probes are fitted."""
    parts: float = math.inf
    """Into how many parts it can be divided."""


@dataclass(frozen=True)
class Speed:
    """What a GPU was seen to do."""

    products: float
    """Floating-point operations per second in products with weights, of all that a metric counts."""
    fits: float
    """Texts times latents per second to which probes are fitted, random directions included."""


H200 = Speed(products=9_037 * GPT2_SMALL.ablation(16), fits=13 * 2_000 * 32_768 / 0.7)
"""An H200 in float32: 9,037 latents a second were ablated at GPT-2 small's shape over 16 tokens, a third of what its matrix products alone
reach; and fitting the probes of 13 tasks with 2,000 texts each took .7 s with 32,768 latents."""


def work_of(config: MetricsConfig, shape: Shape) -> dict[str, MetricWork]:
    """What the sanity line and each built-in metric of a configuration have to do, by metric.

    Args:
        config: What to compute.
        shape: The model and the SAE.
    """
    return {name: _WORK[name](config, shape) for name in (SANITY, *config.names) if name in _WORK}


def seconds(work: MetricWork, speed: Speed, processes: int = 1) -> float:
    """How long so many processes take, each with a GPU, or several, of its own.

    Args:
        work: What there is to do.
        speed: What a process does per second.
        processes: Between how many it is divided.
    """
    return (work.products / speed.products + work.fits / speed.fits) / min(processes, work.parts)


def _read(shape: Shape) -> int:
    """Operations of one token up to the hook and through the encoder."""
    return shape.to_hook + shape.encoding


def _sanity(config: MetricsConfig, shape: Shape) -> MetricWork:
    return MetricWork(config.tokens * shape.sanity)


def _shrinkage(config: MetricsConfig, shape: Shape) -> MetricWork:
    """A sanity line; refining takes little beside it."""
    return MetricWork(min(config.shrinkage.tokens, config.tokens) * shape.sanity)


def _probe(config: MetricsConfig, shape: Shape) -> MetricWork:
    """Texts up to the hook, latents and as many random directions of the last token of each, and fits of both."""
    count = metric_spec("probe").count_units
    tasks = 0 if count is None else count(config.probe)
    texts = tasks * config.probe.examples
    return MetricWork(texts * (_TEXT * shape.to_hook + 2 * shape.encoding), texts * shape.d_sae, tasks)


def _n2g(config: MetricsConfig, shape: Shape) -> MetricWork:
    """Sampling and scoring on text, and explaining; latents that have few activations take less, in proportion."""
    sampled = max(config.n2g.tokens or config.tokens, config.tokens / 2)
    latents = min(config.n2g.latents or shape.d_sae, shape.d_sae, sampled * L0 / config.n2g.examples)
    explaining = latents * (_POSITIONS * shape.to_hook + _ROWS * shape.encoding)
    return MetricWork((sampled + config.tokens / 2) * _read(shape) + explaining)


def _explanation(config: MetricsConfig, shape: Shape) -> MetricWork:
    """Runs from the hook on, over half of the text; latents on all of it; and further text up to the hook only."""
    return MetricWork(config.tokens * (_read(shape) + _FURTHER * shape.to_hook + _REPLACED / 2 * shape.onwards))


def _ablation(config: MetricsConfig, shape: Shape) -> MetricWork:
    """Changed runs from one position of a sequence on, and the sequences up to the hook."""
    settings = config.ablation
    changes = (settings.latents or L0) + _BASELINES * settings.baselines
    return MetricWork(settings.sequences * (changes * shape.ablation(settings.tokens) + shape.context * shape.to_hook + shape.encoding))


def _rules(config: MetricsConfig, shape: Shape) -> MetricWork:
    """Latents on both halves of the text, the first of which each process reads for its own latents; counting is not reckoned with."""
    return MetricWork(config.tokens * _read(shape), parts=2)


def _directions(config: MetricsConfig, shape: Shape) -> MetricWork:
    """All latents with each other and with the vocabulary; text up to the hook, and its latents twice: as read, and by what comes next."""
    width = 2 * shape.d_model * shape.d_sae
    tokens = min(config.directions.tokens, config.tokens)
    return MetricWork(width * (shape.d_sae + shape.vocabulary) + tokens * (_read(shape) + width))


_WORK: dict[str, Callable[[MetricsConfig, Shape], MetricWork]] = {
    SANITY: _sanity,
    "probe": _probe,
    "n2g": _n2g,
    "explanation": _explanation,
    "ablation": _ablation,
    "shrinkage": _shrinkage,
    "rules": _rules,
    "directions": _directions,
}
