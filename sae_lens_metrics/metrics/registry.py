"""Metrics by name: those of this package and of others, all by what they say about themselves. Needs no torch.

A metric is a callable ``context -> MetricResult`` and a ``MetricSpec``. Other packages add theirs through the entry-point group
``sae_lens_metrics.metrics``, whose entries name a ``MetricSpec`` or the callable itself, or at run time with ``register_metric``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.metrics.spec import MetricSpec, Number
from sae_lens_metrics.results import MetricResult

Compute = Callable[[Any], MetricResult]
"""What computes a metric: takes a ``MetricContext``, which knows this registry and is not known here."""

__all__ = [
    "SANITY",
    "built_in_metrics",
    "get_metric",
    "metric_names",
    "metric_spec",
    "readable_specs",
    "register_metric",
    "register_spec",
    "registered_specs",
    "spec_of_result",
    "unregister_metric",
]

_GROUP = "sae_lens_metrics.metrics"
SANITY = "sanity"
"""The line before any metric: always computed, never named among the metrics."""
_BUILT_IN = ("probe", "n2g", "explanation", "ablation", "shrinkage", "rules", "directions")

_registered: dict[str, MetricSpec] = {}


def register_metric(
    name: str,
    compute: Compute,
    *,
    settings: type | None = None,
    numbers: Mapping[str, Number] | None = None,
    title: str = "",
    **about: Any,
) -> MetricSpec:
    """Makes a metric known under a name, which becomes the first part of its results' names.

    Args:
        name: The name, an identifier.
        compute: Called with a ``MetricContext``; returns a ``MetricResult``.
        settings: A dataclass; its fields become flags of the command line, and stand in the result file.
        numbers: What its numbers are; tables, figures, pages, W&B and comparisons are made from this.
        title: What it is called; default its name.
        **about: More of ``MetricSpec``: meaning, trust, cost, version, figures, latents ...

    Returns:
        Its spec.

    Raises:
        ConfigError: If the name is taken, or cannot be the first part of a key.
    """
    if not callable(compute):
        raise ConfigError(f"the metric {name!r} is a {type(compute).__name__}: expected a callable that takes a MetricContext")
    shown = {key: number for key, number in (numbers or {}).items()}
    return register_spec(MetricSpec(name, title or _title(name), numbers=shown, settings=settings, compute=compute, **about))


def register_spec(spec: MetricSpec) -> MetricSpec:
    """Makes a metric known.

    Raises:
        ConfigError: If its name is taken, or is no identifier.
    """
    if not spec.name.isidentifier():
        raise ConfigError(f"{spec.name!r} cannot name a metric: use letters, digits and underscores")
    if spec.name in {*_registered, *_BUILT_IN, SANITY}:
        raise ConfigError(f"a metric named {spec.name!r} is registered already: choose another name")
    _registered[spec.name] = spec
    return spec


def unregister_metric(name: str) -> None:
    """Forgets a metric that ``register_metric`` made known, as before a notebook's cell that defines it is run again.

    Raises:
        ConfigError: If it was not registered at run time.
    """
    if name not in _registered:
        raise ConfigError(f"no metric {name!r} was registered at run time: there is nothing to forget")
    del _registered[name]


def registered_specs() -> tuple[MetricSpec, ...]:
    """The metrics that were made known at run time, which another process does not know by itself."""
    return tuple(_registered.values())


def built_in_metrics() -> tuple[str, ...]:
    """Names of this package's metrics, those of the paper first, in its order."""
    return _BUILT_IN


def metric_names() -> list[str]:
    """Names of all metrics, those that other packages add among them; none is imported for it."""
    return list(dict.fromkeys([*_BUILT_IN, *sorted({*_registered, *(point.name for point in entry_points(group=_GROUP))})]))


def metric_spec(name: str) -> MetricSpec:
    """What a metric says about itself.

    Args:
        name: A metric, or ``"sanity"``.

    Raises:
        ConfigError: If there is no such metric, two packages claim the name, or its package cannot be imported.
    """
    if name in _registered:
        return _registered[name]
    if name in (*_BUILT_IN, SANITY):
        return import_module(f"sae_lens_metrics.metrics.{name}.spec").SPEC
    points = entry_points(group=_GROUP, name=name)
    if not points:
        raise ConfigError(f"there is no metric {name!r}: expected some of {', '.join(metric_names())}")
    if len(points) > 1:
        raise ConfigError(f"several packages add a metric {name!r}: {', '.join(sorted(point.value for point in points))}")
    return _loaded(next(iter(points)))


def readable_specs() -> tuple[list[MetricSpec], list[str]]:
    """What every metric says about itself that can be asked, and why others cannot: a package that is broken breaks nothing else.

    Returns:
        The specs, and a sentence for each metric that has none.
    """
    specs, faults = [], []
    for name in metric_names():
        try:
            specs.append(metric_spec(name))
        except ConfigError as error:
            faults.append(str(error))
    return specs, faults


def get_metric(name: str) -> Compute:
    """The function that computes a metric.

    Args:
        name: A metric, or ``"sanity"``.

    Raises:
        ConfigError: If there is none, two packages claim the name, or its module cannot be imported.
    """
    compute = metric_spec(name).compute
    if callable(compute):
        return compute
    module, _, function = compute.partition(":")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"the metric {name!r} cannot be imported from {compute!r} ({type(error).__name__}: {error})") from error


def spec_of_result(name: str, numbers: Iterable[str]) -> MetricSpec:
    """The spec of a metric in a result file; of one that is not installed here, one that shows every number by its name.

    Args:
        name: The metric.
        numbers: Names of its estimates there.
    """
    try:
        spec = metric_spec(name)
    except ConfigError:
        spec = MetricSpec(name, name)
    if spec.numbers:
        return spec
    plain = {number: Number(number.replace("_", " "), shown=True, followed=i == 0) for i, number in enumerate(numbers)}
    return replace(spec, numbers=plain)


def _loaded(point: EntryPoint) -> MetricSpec:
    try:
        found = point.load()
    except Exception as error:  # whatever another package may raise when it is imported
        raise ConfigError(f"the metric {point.name!r} cannot be imported from {point.value} ({type(error).__name__}: {error})") from error
    if isinstance(found, MetricSpec):
        if found.name != point.name:
            raise ConfigError(f"the entry point {point.name!r} names a metric that calls itself {found.name!r}: give both one name")
        return found
    if not callable(found):
        raise ConfigError(f"the entry point {point.name!r} is a {type(found).__name__}: expected a MetricSpec or a callable")
    return MetricSpec(point.name, _title(point.name), compute=found)


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
