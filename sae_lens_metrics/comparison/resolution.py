"""How much more would have to be sampled to see a difference that is wanted."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

from sae_lens_metrics.comparison.separation import Separation
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.functional.reliability import smallest_difference, times_as_many
from sae_lens_metrics.metrics.registry import metric_spec
from sae_lens_metrics.metrics.spec import MetricSpec

__all__ = ["Need", "check_wanted", "need_of", "sampled_settings"]

_TEXT = "tokens"
"""The setting of all metrics that says how much text there is."""


@dataclass(frozen=True)
class Need:
    """What one number would take to have a wanted standard deviation over seeds."""

    number: str
    """Its full name."""
    s: float
    """Standard deviation over seeds as it is, pooled over SAEs."""
    wanted_s: float
    """As it should be."""
    source: Literal["given", "nearest"]
    """Whether it was given, or is what lets one seed tell the two nearest SAEs apart."""
    times: float
    """How many times as many sampled units that takes, if s falls with one over the root of their number; at most 1 is enough already."""
    settings: dict[str, Any]
    """The settings that say how much is sampled, with their values in these results; the text's length among them."""
    headline: bool = False
    """Whether it is its metric's main number."""


def check_wanted(wanted: Mapping[str, float]) -> None:
    """Finds a mistake before hours of work do.

    Args:
        wanted: Standard deviations by full names of numbers.

    Raises:
        ConfigError: If there is no such number, or its standard deviation is not above 0.
    """
    for number, s in wanted.items():
        metric, _, name = number.partition("/")
        known = metric_spec(metric).numbers
        if known and name not in known:
            raise ConfigError(f"the metric {metric!r} has no number {name!r}: expected one of {', '.join(known)}")
        if not 0 < s < inf:
            raise ConfigError(f"the wanted standard deviation of {number} is {s}, expected a finite one above 0")


def need_of(
    number: str, s: float, separation: Separation | None, wanted: float | None, settings: Mapping[str, Any], df: int, *, headline: bool
) -> Need | None:
    """What a number would take.

    Args:
        number: Its full name.
        s: Standard deviation over seeds.
        separation: What the number tells apart, if there are several SAEs.
        wanted: The standard deviation that is wanted; else what lets one seed tell the two nearest SAEs apart.
        settings: What ``sampled_settings`` gave.
        df: Degrees of freedom of s, seeds minus one.
        headline: Whether it is its metric's main number.

    Returns:
        The need; ``None`` where nothing is wanted: no SAE is known to differ, or nothing moves the number.
    """
    source: Literal["given", "nearest"] = "given"
    if wanted is None:
        wanted, source = separation.nearest / smallest_difference(1, df) if separation is not None else 0.0, "nearest"
    return Need(number, s, wanted, source, times_as_many(s, wanted), dict(settings), headline) if s and wanted else None


def sampled_settings(metric: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that say how much a metric samples, and the metrics that it needs, by what specs say they do; and the text's length.

    Args:
        metric: A metric.
        config: The configuration in a result file.
    """
    sampled: dict[str, Any] = {}
    for spec in _with_needed(metric):
        own = config.get(spec.name)
        values = own if isinstance(own, Mapping) else {}
        effects = {name: effect for name, effect in spec.effects().items() if name in values}
        sampled |= {f"{spec.name}.{name}": values[name] for name, effect in effects.items() if effect in ("sample", "units")}
    return sampled | ({_TEXT: config[_TEXT]} if _TEXT in config else {})


def _with_needed(metric: str) -> list[MetricSpec]:
    """A metric and those that it needs; none where it is not installed here."""
    try:
        spec = metric_spec(metric)
        return [spec, *map(metric_spec, spec.needs)]
    except ConfigError:
        return []
