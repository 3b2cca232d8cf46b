"""Published numbers computed anew, and judged by bands that were fixed beforehand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sae_lens_metrics.comparison.reference import Reference, ReferenceSAE, Settings
from sae_lens_metrics.comparison.verdicts import Verdicts, judge
from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.evaluation.order import Overrides
from sae_lens_metrics.evaluation.sweep import sweep
from sae_lens_metrics.loading.targets import Target
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.registry import metric_spec

__all__ = ["Reproduced", "changes_of", "check_numbers", "config_of", "reproduce"]


@dataclass(frozen=True)
class Reproduced:
    """What came of a reference."""

    verdicts: Verdicts
    """Each figure, judged."""
    files: Mapping[str, Path]
    """The result files, by the SAEs' names in the reference."""


def reproduce(name: str, reference: Reference, output: str | Path, *, device: str | None = None) -> Reproduced:
    """Evaluates a reference's SAEs with its settings, and compares.

    Interrupted at any moment and started again, it goes on where it was. An SAE that cannot be evaluated makes its figures not checkable.

    Args:
        name: What the reference is called.
        reference: The figures, and the settings.
        output: Folder; results are in one below it for each set of metrics.
        device: Where models and SAEs go; default a GPU if there is one.

    Raises:
        ConfigError: If a setting, a metric or a number of the reference's is unknown.
        CorpusError: If the data set cannot be loaded.
    """
    check_numbers(reference)
    settings = reference.settings
    known = {"model": settings.model, "context_size": settings.context_size, "prepend_bos": settings.prepend_bos}
    overrides = Overrides(device=device, **known)
    found = {
        metrics: sweep([_target(sae) for sae in saes], config_of(settings, metrics), Path(output) / _folder(metrics), overrides=overrides)
        for metrics, saes in _by_metrics(reference)
    }
    reports, errors, files = {}, {}, {}
    for sae, made in ((sae, found[reference.metrics(sae)]) for sae in reference.saes):
        target = _target(sae).name
        reports |= {sae.name: made.reports[target]} if target in made.files else {}
        errors |= {sae.name: made.errors[target]} if target in made.errors else {}
        files |= {sae.name: made.files[target]} if target in made.files else {}
    return Reproduced(judge(name, reference, reports, errors), files)


def config_of(settings: Settings, metrics: tuple[str, ...]) -> MetricsConfig:
    """What to compute.

    Args:
        settings: The reference's.
        metrics: Names of metrics.

    Raises:
        ConfigError: If a setting is unknown or out of range.
    """
    preset = MetricsConfig.preset(settings.preset)  # pyright: ignore[reportArgumentType]
    own: dict[str, Any] = {"names": list(metrics), "seed": settings.seed, "split": settings.split, "dataset": settings.dataset}
    own |= {} if settings.tokens is None else {"tokens": settings.tokens}
    changed = dict(preset.settings)
    for metric, values in settings.metrics.items():
        if metric not in changed:
            raise ConfigError(f"settings of the metric {metric!r}, expected some of {', '.join(changed)}")
        try:
            changed[metric] = replace(changed[metric], **values)
        except TypeError as error:
            raise ConfigError(f"settings of the metric {metric!r}: {error}") from error
    return replace(preset, **own, settings=changed)


def changes_of(settings: Settings, given: Settings) -> list[str]:
    """In what settings differ from the reference's, for which alone its bands are, in words.

    Args:
        settings: The reference's.
        given: Those that are used.
    """
    return [f"{key} is {value!r}, not {getattr(settings, key)!r}" for key, value in vars(given).items() if value != getattr(settings, key)]


def check_numbers(reference: Reference) -> None:
    """Finds a misspelt number before a download does.

    Raises:
        ConfigError: If a figure is of a number that no metric has.
    """
    for figure in reference.figures:
        metric, number = figure.number.split("/", 1)
        if number not in metric_spec(metric).numbers:
            raise ConfigError(f"a figure is of {figure.number!r}, which is no number: see sae-lens-metrics explain {metric}")


def _by_metrics(reference: Reference) -> Iterator[tuple[tuple[str, ...], list[ReferenceSAE]]]:
    """The SAEs that the same metrics are asked of."""
    for metrics in dict.fromkeys(reference.metrics(sae) for sae in reference.saes):
        yield metrics, [sae for sae in reference.saes if reference.metrics(sae) == metrics]


def _target(sae: ReferenceSAE) -> Target:
    return Target(sae.release, sae.id)


def _folder(metrics: tuple[str, ...]) -> str:
    return "-".join(metrics) or "sanity"
