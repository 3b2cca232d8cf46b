"""The metrics as an evaluator of SAELens's own: for its trainers without a runner, and for its multi-SAE configuration."""

import logging
from functools import partial
from typing import Any

from datasets import Dataset, IterableDataset
from sae_lens import TrainingSAE

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.integrations.saelens import ActivationScaler
from sae_lens_metrics.metrics.config import MetricsConfig, Preset
from sae_lens_metrics.metrics.registry import get_metric
from sae_lens_metrics.results import Report
from sae_lens_metrics.text.corpus import Corpus
from sae_lens_metrics.text.tokenization import Tokenization
from sae_lens_metrics.training.budget import OverheadBudget
from sae_lens_metrics.training.record import Evaluated, Sink
from sae_lens_metrics.training.reports import TrainingReports
from sae_lens_metrics.views.one_line import headline_line

__all__ = ["MetricsEvaluator"]

logger = logging.getLogger("sae_lens_metrics")


class MetricsEvaluator:
    """For ``SAETrainer(evaluator=...)`` and ``MultiSAETrainingRunnerConfig(evaluator=...)``.

    SAELens calls it where it evaluates, which it does only if it logs to W&B, and logs what it returns. Training is not disturbed:
    evaluations take at most ``max_overhead`` of the time, and an error in one is a warning. What a trainer reads is activations, so
    that nobody knows its text: give text that training does not read. For the last evaluation call ``report`` after ``fit``.

    Args:
        config: What to compute, or a preset's name.
        model: The model that the activations are from.
        dataset: Text to evaluate on: a data set or its name; default ``config.dataset``.
        sink: Is given every evaluation, besides W&B.
        **options: Passed to ``Subject``, where the SAE's metadata do not say it: ``hook_name``, ``context_size``, ``prepend_bos``,
            ``model_kwargs``.

    Raises:
        ConfigError: If a metric is unknown, or no text is given.
    """

    def __init__(
        self,
        config: MetricsConfig | Preset,
        model: Any,
        dataset: Dataset | IterableDataset | str | None = None,
        *,
        sink: Sink | None = None,
        **options: Any,
    ) -> None:
        self._config = MetricsConfig.preset(config) if isinstance(config, str) else config
        for name in self._config.names:
            get_metric(name)
        self._dataset = self._config.dataset if dataset is None else dataset
        if self._dataset is None:
            raise ConfigError("a trainer reads activations, whose text nobody knows: give dataset (or config.dataset) to evaluate on")
        self._reports = TrainingReports(model, self._config, options)
        self._budget = OverheadBudget(self._config.max_overhead)
        self._corpora: dict[Tokenization, Corpus] = {}
        self._sink, self._calls = sink, 0

    def __call__(self, sae: TrainingSAE[Any], data_provider: Any, activation_scaler: ActivationScaler) -> dict[str, Any]:
        """Evaluates an SAE if the budget allows it.

        Args:
            sae: In training.
            data_provider: What training reads; it is paused meanwhile, and nothing is taken from it.
            activation_scaler: The run's.

        Returns:
            What to log, by ``metric/number``; empty where nothing was evaluated.
        """
        if not self._budget.allows():
            return {}
        with self._budget.spending():
            try:
                self._calls += 1
                with self._reports.apart(data_provider, {"": sae}):
                    report = self.report(sae, activation_scaler)
                    logger.info("%s", headline_line(report))
                    if self._sink is not None:
                        evaluated = Evaluated(report, step=_wandb_step() or self._calls)
                        self._reports.attempt("the sink", partial(self._sink, evaluated))
                    return self._reports.for_wandb(report, brief=True)
            except Exception as error:
                self._reports.warn("metrics", error)
                return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "MetricsEvaluator":
        """Itself: SAELens copies its configuration to save it, and would copy the model."""
        return self

    def report(self, sae: TrainingSAE[Any], activation_scaler: ActivationScaler | None = None) -> Report:
        """Evaluates an SAE now.

        Args:
            sae: In training, or trained.
            activation_scaler: The run's, as long as it is not folded into the SAE.

        Raises:
            SubjectError: If SAE and model do not fit together.
            CorpusError: If the text cannot be read.
        """
        subject = self._reports.subject(sae, activation_scaler)
        return self._reports.report(subject, self._corpus(subject))

    def _corpus(self, subject: Any) -> Corpus:
        config, key = self._config, Tokenization.of_subject(subject)
        if key not in self._corpora:
            self._corpora[key] = Corpus.from_dataset(
                self._dataset,  # pyright: ignore[reportArgumentType] (there is one, or the constructor would have said so)
                subject,
                tokens=config.tokens,
                seed=config.seed,
                split=config.split,
            )
        return self._corpora[key]


def _wandb_step() -> int | None:
    """Where SAELens's run stands: a trainer does not tell its evaluator."""
    import wandb

    return None if wandb.run is None else int(wandb.run.step)
