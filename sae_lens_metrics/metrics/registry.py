"""Metrics by name."""

from importlib.metadata import entry_points
from typing import Protocol

import torch

from sae_lens_metrics.config import MetricsConfig
from sae_lens_metrics.corpus import Corpus
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.results import MetricResult
from sae_lens_metrics.subject import Subject

__all__ = ["Metric", "get_metric", "metric_names", "register_metric"]

_GROUP = "sae_lens_metrics.metrics"
_RESERVED = {"sanity"}


class Metric(Protocol):
    """What every metric is."""

    def __call__(self, subject: Subject, corpus: Corpus, config: MetricsConfig, generator: torch.Generator) -> MetricResult:
        """Evaluates a subject; all random numbers come from the generator."""
        ...


_registered: dict[str, Metric] = {}


def register_metric(name: str, metric: Metric) -> None:
    """Makes a metric known under a name, which becomes the first part of its results' names.

    Raises:
        ConfigError: If the name is taken, or cannot be the first part of a key.
    """
    if name in _registered or name in _RESERVED:
        raise ConfigError(f"a metric named {name!r} is registered already: choose another name")
    if not callable(metric):
        raise ConfigError(f"the metric {name!r} is a {type(metric).__name__}: expected a callable (subject, corpus, config, generator)")
    if not name.isidentifier():
        raise ConfigError(f"{name!r} cannot name a metric: use letters, digits and underscores")
    _registered[name] = metric


def metric_names() -> list[str]:
    """Names of all metrics, those that other packages add among them."""
    return sorted({*_registered, *(point.name for point in entry_points(group=_GROUP))})


def get_metric(name: str) -> Metric:
    """The metric of a name.

    Raises:
        ConfigError: If there is none, or two packages claim the name.
    """
    if name in _registered:
        return _registered[name]
    points = entry_points(group=_GROUP, name=name)
    if not points:
        raise ConfigError(f"there is no metric {name!r}: expected some of {', '.join(metric_names())}")
    if len(points) > 1:
        raise ConfigError(f"several packages add a metric {name!r}: {', '.join(sorted(point.value for point in points))}")
    return next(iter(points)).load()
