"""One evaluation: a subject, a text and a configuration, and what its metrics share."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch

from sae_lens_metrics.errors import MetricCheckError, SubjectError
from sae_lens_metrics.evaluation.clock import time_in_words
from sae_lens_metrics.evaluation.costs import costs_in_words, expected_seconds
from sae_lens_metrics.evaluation.memory_needs import memory_faults
from sae_lens_metrics.evaluation.provenance import provenance
from sae_lens_metrics.evaluation.seeds import generator_of
from sae_lens_metrics.integrations.progress import stage
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.context import MetricContext
from sae_lens_metrics.metrics.registry import SANITY, get_metric
from sae_lens_metrics.metrics.sanity.compute import sanity_warnings
from sae_lens_metrics.ranks import ALONE, Ranks
from sae_lens_metrics.results import MetricResult, Report
from sae_lens_metrics.results.json_form import result_to_dict
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["EvaluationRun"]

logger = logging.getLogger("sae_lens_metrics")

_LONG = 60.0
"""Seconds above which the user is told how long it will take."""


class EvaluationRun:
    """An evaluation of one subject on one text with one configuration.

    It owns what metrics share, such as explanations and their scores, which live as long as it does, and gives each metric a generator
    that follows from the seed and the metric's name alone.

    Args:
        subject: The model and SAE.
        corpus: The text.
        config: What to compute.
        ranks: The processes that do it together, each with the same subject, text and configuration; default this one alone.

    Raises:
        ConfigError: If a metric, or what its settings name, is unknown.
    """

    def __init__(self, subject: Subject, corpus: Corpus, config: MetricsConfig, ranks: Ranks = ALONE) -> None:
        self.subject, self.corpus, self.config, self.ranks = subject, corpus, config, ranks
        self._metrics = {name: get_metric(name) for name in (SANITY, *config.names)}
        self._shared: dict[Callable[..., Any], Any] = {}

    def context(self, name: str, generator: torch.Generator | None = None) -> MetricContext:
        """What a metric is given.

        Args:
            name: The metric.
            generator: Where its random numbers come from; default its own.
        """
        own = generator_of(self.config.seed, name) if generator is None else generator
        return MetricContext(name, self.subject, self.corpus, self.config, own, self.ranks, self._shared)

    def compute(self, name: str) -> MetricResult:
        """Computes one metric; whatever it raises is raised.

        Args:
            name: A metric that the configuration names, or ``"sanity"``.

        Raises:
            MetricCheckError: If what it returns is no ``MetricResult``, or one with parts of other types than it describes.
        """
        started = time.perf_counter()
        result = self.ranks.together(lambda: self._metrics[name](self.context(name)))
        if not isinstance(result, MetricResult):
            raise MetricCheckError(f"the metric {name!r} returned a {type(result).__name__}, expected a MetricResult")
        try:
            result_to_dict(result)
        except (TypeError, AttributeError) as error:  # found out here it costs this metric, and not all others when they are saved
            raise MetricCheckError(f"the metric {name!r} returned a MetricResult with parts of other types ({error})") from error
        return replace(result, seconds=round(time.perf_counter() - started, 3))

    @cached_property
    def sanity(self) -> MetricResult:
        """The sanity line, computed once, when it is first asked for.

        Raises:
            SubjectError: If the activations cannot be evaluated.
        """
        return self.compute(SANITY)

    def report(self, *, on_error: Callable[[str, Exception], None] | None = None) -> Report:
        """Computes the sanity line and every metric.

        Args:
            on_error: Told of a metric that failed; the others go on, and the report holds the error. By default the error is raised.

        Raises:
            SubjectError: If the activations cannot be evaluated, or the SAE's device cannot hold what is needed.
        """
        too_much = self._memory_faults()
        if too_much and (on_error is None or SANITY in too_much):
            raise SubjectError(next(iter(too_much.values())))
        checked, started = self.sanity, time.perf_counter()
        self._announce(checked.seconds)
        results: dict[str, MetricResult] = {}
        errors: dict[str, str] = {}
        for place, name in enumerate(self.config.names, start=1):
            try:
                if name in too_much:
                    raise SubjectError(too_much[name])
                with stage(f"metric {place} of {len(self.config.names)}"):
                    results[name] = self.compute(name)
            except Exception as error:
                if on_error is None:
                    raise
                errors[name] = f"{type(error).__name__}: {error}"
                on_error(name, error)
        warnings = [*self.corpus.warnings, *sanity_warnings(checked, self.subject.expected)]
        seconds = checked.seconds + time.perf_counter() - started
        known = provenance(self.subject, self.corpus, self.config, seconds, processes=self.ranks.size)
        return Report(checked, results, errors, warnings, known)

    def _memory_faults(self) -> dict[str, str]:
        """What does not fit on the device of one of the processes at least."""
        each = self.ranks.each(lambda: memory_faults(self.subject, self.corpus, self.config))
        return {name: fault for faults in each for name, fault in faults.items()}

    def _announce(self, seconds: float) -> None:
        """Tells how long the metrics will take, from the time that the sanity line took, where that is over a minute."""
        ahead = expected_seconds(self.config, self.corpus, self.subject.d_sae, seconds)
        if sum(ahead.values()) > _LONG:
            logger.info("the metrics will take %s: %s", time_in_words(sum(ahead.values())), costs_in_words(ahead))
