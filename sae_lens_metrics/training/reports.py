"""Reports of SAEs in training, made while training stands still; what fails is a warning."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from sae_lens import TrainingSAE

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.integrations.saelens import ActivationScaler, InterruptedException, PrefetchingIterator
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.results import Report
from sae_lens_metrics.subject.inference_sae import inference_sae
from sae_lens_metrics.subject.shared_prefixes import SharedPrefixes
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus
from sae_lens_metrics.training.isolation import isolated
from sae_lens_metrics.views.wandb.log import loggable

__all__ = ["TrainingReports"]

logger = logging.getLogger("sae_lens_metrics")

_KEPT = 1 / 4
"""Of ``memory_gb``, for runs of the model at each hook, which no training changes."""


class TrainingReports:
    """Evaluates SAEs of one training run.

    Args:
        model: The model.
        config: What to compute.
        options: Passed to ``Subject``.

    Raises:
        ConfigError: If the configuration names controls.
    """

    def __init__(self, model: Any, config: MetricsConfig, options: Mapping[str, Any]) -> None:
        if config.controls:
            raise ConfigError("controls are not evaluated in training: leave out controls, and evaluate what was trained with --controls")
        self.model, self.config, self._options = model, config, dict(options)
        self._runs: dict[tuple[str, str], SharedPrefixes] = {}
        self._warned: set[str] = set()

    def subject(self, sae: TrainingSAE[Any], scaler: ActivationScaler | None) -> Subject:
        """The inference SAE that SAELens would save now, on the model, whose runs up to its hook are those of the last evaluation."""
        subject = Subject(self.model, inference_sae(sae, scaler), **self._options)
        hooks = subject.site.place.input.hook_name, subject.site.place.output.hook_name
        if hooks not in self._runs:
            self._runs[hooks] = SharedPrefixes(self.config.memory_gb * 2**30 * _KEPT)
        return subject.sharing(self._runs[hooks])

    def report(self, subject: Subject, corpus: Corpus) -> Report:
        """Computes everything; a metric that fails is a warning."""
        return EvaluationRun(subject, corpus, self.config).report(on_error=self.warn)

    def for_wandb(self, report: Report, *, brief: bool, prefix: str = "") -> dict[str, Any]:
        """What is logged of a report: flat, as SAELens logs it."""
        return loggable(report, prefix=prefix, brief=brief, all_numbers=self.config.all_numbers, on_error=self.warn)

    @contextmanager
    def apart(self, provider: Any, saes: Mapping[str, TrainingSAE[Any]]) -> Iterator[None]:
        """Training stands still, and finds the random states as it left them."""
        provider = getattr(provider, "_source", provider)  # one SAE's view of a provider for several
        paused = provider.paused() if isinstance(provider, PrefetchingIterator) else nullcontext()
        with paused, isolated(self.model, *saes.values()), torch.no_grad():
            yield

    def attempt(self, what: str, action: Callable[[], Any]) -> None:
        """Does something whose error is a warning."""
        try:
            action()
        except Exception as error:
            self.warn(what, error)

    def warn(self, what: str, error: Exception) -> None:
        """Warns once about each kind of error; a signal to stop is none."""
        if isinstance(error, InterruptedException):
            raise error
        kind = f"{what}: {type(error).__name__}"
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning("%s failed, training goes on: %s: %s", what, type(error).__name__, " ".join(str(error).split()))
            logger.debug("%s failed", what, exc_info=error)
