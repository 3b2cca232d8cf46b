"""Metrics by name."""

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.results import MetricResult

if TYPE_CHECKING:
    import torch

    from sae_lens_metrics.metrics.config import MetricsConfig
    from sae_lens_metrics.subject.subject import Subject
    from sae_lens_metrics.text.corpus import Corpus

__all__ = ["Metric", "get_metric", "metric_names", "register_metric"]

_GROUP = "sae_lens_metrics.metrics"
_RESERVED = {"sanity"}
_BUILT_IN = ("probe", "n2g", "explanation", "ablation", "shrinkage")


class Metric(Protocol):
    """What every metric is."""

    def __call__(self, subject: "Subject", corpus: "Corpus", config: "MetricsConfig", generator: "torch.Generator") -> MetricResult:
        """Evaluates a subject; all random numbers come from the generator."""
        ...


_registered: dict[str, Metric] = {}


def register_metric(name: str, metric: Metric) -> None:
    """Makes a metric known under a name, which becomes the first part of its results' names.

    Raises:
        ConfigError: If the name is taken, or cannot be the first part of a key.
    """
    if name in {*_registered, *_BUILT_IN, *_RESERVED}:
        raise ConfigError(f"a metric named {name!r} is registered already: choose another name")
    if not callable(metric):
        raise ConfigError(f"the metric {name!r} is a {type(metric).__name__}: expected a callable (subject, corpus, config, generator)")
    if not name.isidentifier():
        raise ConfigError(f"{name!r} cannot name a metric: use letters, digits and underscores")
    _registered[name] = metric


def metric_names() -> list[str]:
    """Names of all metrics, those that other packages add among them."""
    return sorted({*_registered, *_BUILT_IN, *(point.name for point in entry_points(group=_GROUP))})


def get_metric(name: str) -> Metric:
    """The metric of a name.

    Raises:
        ConfigError: If there is none, or two packages claim the name.
    """
    if name in _registered:
        return _registered[name]
    if name in _BUILT_IN:
        return getattr(import_module(f"sae_lens_metrics.metrics.{name}.compute"), name)
    points = entry_points(group=_GROUP, name=name)
    if not points:
        raise ConfigError(f"there is no metric {name!r}: expected some of {', '.join(metric_names())}")
    if len(points) > 1:
        raise ConfigError(f"several packages add a metric {name!r}: {', '.join(sorted(point.value for point in points))}")
    return next(iter(points)).load()
