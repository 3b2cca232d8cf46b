"""What a result depends on, and where it comes from."""

import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.registry import SANITY, metric_spec
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["package_version", "packages", "provenance"]

_PACKAGES = ("sae-lens-metrics", "sae-lens", "transformer-lens", "torch", "datasets", "transformers")


def provenance(subject: Subject, corpus: Corpus, config: MetricsConfig, seconds: float, *, processes: int = 1) -> dict[str, Any]:
    """What stands in a result file besides the numbers, as JSON types.

    Args:
        subject: The model and SAE.
        corpus: The text.
        config: What was computed.
        seconds: How long it took.
        processes: How many processes did it together.
    """
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "config": config.to_dict(),
        "metric_versions": {name: metric_spec(name).version for name in (SANITY, *config.names)},
        "units": _units(config),
        "sae": subject.describe(),
        "model_sha256": subject.site.model_hash(),
        "corpus": corpus.describe(),
        "versions": packages(),
        "device": str(subject.device),
        "processes": processes,
    }


def _units(config: MetricsConfig) -> dict[str, dict[str, int]]:
    """How many sampling units metrics were asked for that are none of text, by metric and by what a unit is; some may be missing."""
    found = {}
    for spec in map(metric_spec, config.names):
        if spec.units is not None and spec.count_units is not None:
            found[spec.name] = {spec.units.of[0]: spec.count_units(config.settings[spec.name])}
    return found


def packages() -> dict[str, str | None]:
    """Versions of the packages that compute the numbers, and of Python; ``None`` for one that is not installed."""
    return {name: package_version(name) for name in _PACKAGES} | {"python": platform.python_version()}


def package_version(name: str) -> str | None:
    """The installed version of a distribution, or ``None``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
