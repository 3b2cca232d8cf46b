"""Evaluating one subject: the sanity line, then each metric, into one report."""

import logging
import math
import platform
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from sae_lens_metrics.metrics.config import MetricsConfig, Preset
from sae_lens_metrics.metrics.probe.tasks import select_tasks
from sae_lens_metrics.metrics.registry import Metric, get_metric
from sae_lens_metrics.metrics.sanity.compute import sanity, sanity_warnings
from sae_lens_metrics.results import MetricResult, Report
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["dependencies", "evaluate", "make_report", "package_version"]

logger = logging.getLogger("sae_lens_metrics")

_PACKAGES = ("sae-lens-metrics", "sae-lens", "transformer-lens", "torch", "datasets", "transformers")
_LONG = 60.0
"""Seconds above which the user is told how long it will take."""


def evaluate(subject: Subject, corpus: Corpus, config: MetricsConfig | Preset = "default") -> Report:
    """Evaluates an SAE on text; what looks wrong about the SAE or the text is logged as a warning, and stands in the report.

    Args:
        subject: The model and SAE.
        corpus: The text; two SAEs that are evaluated on one corpus with one seed can be compared sequence by sequence.
        config: What to compute, or the name of a preset.

    Returns:
        The report: the sanity line, every metric's numbers with standard errors, and all that they depend on.

    Raises:
        ConfigError: If a metric or task is unknown.
        SubjectError: If the activations cannot be evaluated.
    """
    report = make_report(subject, corpus, MetricsConfig.preset(config) if isinstance(config, str) else config)
    for text in report.warnings:
        logger.warning(text)
    return report


def make_report(
    subject: Subject, corpus: Corpus, config: MetricsConfig, *, on_error: Callable[[str, Exception], None] | None = None
) -> Report:
    """What ``evaluate`` does, for callers that have their own way to warn.

    Args:
        subject: The model and SAE.
        corpus: The text.
        config: What to compute.
        on_error: Told of a metric that failed; the others go on, and the report holds the error. By default the error is raised.

    Raises:
        ConfigError: If a metric or task is unknown.
        SubjectError: If the activations cannot be evaluated.
    """
    metrics = {name: get_metric(name) for name in config.names}  # unknown names fail before any work
    started = time.perf_counter()
    checked = _timed("sanity", sanity, subject, corpus, config)
    _announce(checked.seconds, subject, corpus, config)
    results: dict[str, MetricResult] = {}
    errors: dict[str, str] = {}
    for name, metric in metrics.items():
        try:
            results[name] = _timed(name, metric, subject, corpus, config)
        except Exception as error:
            if on_error is None:
                raise
            errors[name] = f"{type(error).__name__}: {error}"
            on_error(name, error)
    warnings = [*corpus.warnings, *sanity_warnings(checked, subject.expected)]
    return Report(checked, results, errors, warnings, _provenance(subject, corpus, config, time.perf_counter() - started))


def _timed(name: str, metric: Metric, subject: Subject, corpus: Corpus, config: MetricsConfig) -> MetricResult:
    """Runs one metric with its own generator, which depends on the seed and the metric's name alone."""
    generator = torch.Generator().manual_seed(config.seed * 2**32 + zlib.crc32(name.encode()))
    started = time.perf_counter()
    result = metric(subject, corpus, config, generator)
    return replace(result, seconds=round(time.perf_counter() - started, 3))


def _announce(seconds: float, subject: Subject, corpus: Corpus, config: MetricsConfig) -> None:
    """Tells how long the metrics will take, from the time that the sanity line took, where that is over a minute."""
    tokens = corpus.tokens.numel()
    ahead = 0.0
    if "shrinkage" in config.names:
        ahead += min(config.shrinkage.tokens, tokens) / tokens
    if "probe" in config.names:
        # texts are half as long as they may be, and are run up to the hook only, once rather than four times
        tasks = len(select_tasks(config.probe.tasks, config.probe.task_files)) + len(config.probe.task_files)
        ahead += tasks * config.probe.examples * min(config.probe.max_tokens or 128, 128) / 2 / 4 / tokens
    if {"n2g", "explanation"} & set(config.names):
        # a latent takes some hundred positions up to the hook, more where n-grams are long and fewer where latents share them
        ahead += min(config.n2g.latents or subject.d_sae, subject.d_sae) * 600 / 4 / tokens
    if "explanation" in config.names and config.n2g.latents is None:
        ahead += 9 / 4 / 2  # nine runs from the hook on, over half of the corpus
    if "ablation" in config.names:
        # runs of the layers after the hook on a few tokens each, of latents and three kinds of baselines
        ablations = config.ablation.sequences * ((config.ablation.latents or 64) + 3 * config.ablation.baselines)
        ahead += ablations * config.ablation.tokens / 2 / 4 / tokens
    if ahead * seconds > _LONG:
        logger.info("the metrics will take about %d minutes", math.ceil(ahead * seconds / 60))


def dependencies(subject: Subject, corpus: Corpus, config: MetricsConfig) -> dict[str, Any]:
    """What a result depends on, as it stands in the result file."""
    return {
        "config": config.to_dict(),
        "sae": subject.describe(),
        "corpus": corpus.describe(),
        "versions": {name: package_version(name) for name in _PACKAGES} | {"python": platform.python_version()},
    }


def _provenance(subject: Subject, corpus: Corpus, config: MetricsConfig, seconds: float) -> dict[str, Any]:
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        **dependencies(subject, corpus, config),
        "device": str(subject.device),
    }


def package_version(name: str) -> str | None:
    """The installed version of a distribution, or ``None``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
