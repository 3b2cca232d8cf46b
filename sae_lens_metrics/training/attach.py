"""Metrics in SAELens's training runs: one mechanism for its runner, its multi-SAE runner, and a runner of our own."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from sae_lens import LanguageModelSAERunnerConfig, LanguageModelSAETrainingRunner, TrainingSAE

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.integrations.interrupts import handlers_put_back, telling_the_signal
from sae_lens_metrics.integrations.saelens import (
    T_TRAINING_SAE_CONFIG,
    ActivationScaler,
    HfDataset,
    InterruptedException,
    PrefetchingIterator,
)
from sae_lens_metrics.metrics.config import MetricsConfig, Preset
from sae_lens_metrics.metrics.registry import get_metric
from sae_lens_metrics.results import Report
from sae_lens_metrics.results.history import METRICS_FILENAME
from sae_lens_metrics.subject.inference_sae import inference_sae
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.training.held_out_text import NOT_HELD_OUT, hold_out
from sae_lens_metrics.training.isolation import isolated
from sae_lens_metrics.views.one_line import headline_line
from sae_lens_metrics.views.wandb.log import log_result_file, loggable

__all__ = ["MetricsRunnerConfig", "MetricsTrainingRunner", "OverheadBudget", "attach_metrics"]

logger = logging.getLogger("sae_lens_metrics")

_SEAMS = ("run_trainer_with_interruption_handling", "_run_with_interruption_handling")
"""Names of the method that runs the trainer, in SAELens's single-SAE and multi-SAE runner."""
_INTERRUPTS = (KeyboardInterrupt, InterruptedException)
_SINGLE = ""
"""Name of the only SAE of a run."""


def attach_metrics(runner: Any, config: MetricsConfig | Preset | None = None) -> Any:
    """Adds metrics to one of SAELens's training runners, before its ``run()``.

    Training itself is not disturbed: the trained weights are bit for bit those of a run without metrics, and an error in a metric
    becomes a warning. Metrics are evaluated where SAELens evaluates (every ``wandb_log_frequency * eval_every_n_wandb_logs`` steps),
    less often if they would take more than ``max_overhead`` of the time, and once more at the end. They are logged to SAELens's own
    W&B run, and written to ``metrics.jsonl`` beside the checkpoints.

    Args:
        runner: A ``LanguageModelSAETrainingRunner`` or ``MultiSAETrainingRunner``.
        config: What to compute; default the preset "train".

    Returns:
        The same runner.

    Raises:
        ConfigError: If a metric is unknown, metrics are attached already, or there is no text to evaluate on.
    """
    seam = next((name for name in _SEAMS if hasattr(runner, name)), None)
    if seam is None:
        raise ConfigError(f"a {type(runner).__name__} is not a training runner of a supported SAELens (6.45 or later, below 7)")
    if isinstance(runner.evaluator, _Evaluator):
        raise ConfigError("metrics are attached to this runner already")
    if config is None or isinstance(config, str):
        config = MetricsConfig.preset(config or "train")
    for name in config.names:
        get_metric(name)
    metrics = _TrainingMetrics(runner, config)
    runner.evaluator = _Evaluator(runner.evaluator, metrics)
    setattr(runner, seam, metrics.around(getattr(runner, seam)))
    runner.run = metrics.around_everything(runner.run)
    return runner


@dataclass
class MetricsRunnerConfig(LanguageModelSAERunnerConfig[T_TRAINING_SAE_CONFIG]):
    """SAELens's configuration of a training run, with metrics."""

    metrics: MetricsConfig = field(default_factory=lambda: MetricsConfig.preset("train"))
    """What to compute during training and at its end."""

    def __post_init__(self) -> None:
        if isinstance(self.metrics, dict):  # what SAELens's from_dict hands over
            self.metrics = MetricsConfig.from_dict(self.metrics)
        super().__post_init__()


class MetricsTrainingRunner(LanguageModelSAETrainingRunner):
    """SAELens's training runner, with the metrics of its configuration attached."""

    def __init__(
        self,
        cfg: MetricsRunnerConfig[Any],
        override_dataset: HfDataset | None = None,
        override_model: Any = None,
        override_sae: TrainingSAE[Any] | None = None,
    ) -> None:
        super().__init__(cfg, override_dataset, override_model, override_sae)
        attach_metrics(self, cfg.metrics)


class OverheadBudget:
    """Spaces evaluations out so that they take no more than a share of the wall-clock time.

    An evaluation is allowed if all of them together, it included at the cost of the last one, stay within the share. The first is
    always allowed: its cost is not known.

    Args:
        share: The share, in (0, 1].
        clock: Seconds that only go up.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._share, self._clock, self._started = share, clock, clock()
        self._spent = self._last = 0.0
        self.ran = self.skipped = 0

    def allows(self) -> bool:
        """Whether an evaluation may run now; a refusal is counted."""
        elapsed = self._clock() - self._started
        allowed = self._spent + self._last <= self._share * (elapsed + self._last)
        self.skipped += not allowed
        return allowed

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Counts the time of an evaluation."""
        started = self._clock()
        try:
            yield
        finally:
            self._last = self._clock() - started
            self._spent += self._last
            self.ran += 1


class _Evaluator:
    """SAELens's evaluator, followed by the metrics; all else is passed through to the former."""

    def __init__(self, wrapped: Any, metrics: "_TrainingMetrics") -> None:
        self._wrapped, self._metrics = wrapped, metrics

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        logged = dict(self._wrapped(*args, **kwargs)) if self._wrapped is not None else {}
        saes, provider, scalers = _evaluator_arguments(*args, **kwargs)
        # the trainer counts the step after its evaluation
        return logged | self._metrics.evaluate_if_due(saes, scalers, provider, steps=self._metrics.trainer.n_training_steps + 1)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # or copying would ask for the wrapped evaluator before there is one
            raise AttributeError(name)
        return getattr(self._wrapped, name)


def _evaluator_arguments(*args: Any, **kwargs: Any) -> tuple[dict[str, TrainingSAE[Any]], Any, dict[str, ActivationScaler]]:
    """SAELens calls ``(sae, data_provider, activation_scaler)``, or, for several SAEs, with keywords."""
    if "saes" in kwargs:
        return kwargs["saes"], kwargs["data_provider"], kwargs["activation_scalers"]
    sae, provider, scaler = args
    return {_SINGLE: sae}, provider, {_SINGLE: scaler}


class _TrainingMetrics:
    """The metrics of one run: when they are due, what they run on, and where their results go."""

    def __init__(self, runner: Any, config: MetricsConfig) -> None:
        self._runner, self._config = runner, config
        self._held_out = hold_out(runner.activations_store, runner.cfg, config)
        self._budget = OverheadBudget(config.max_overhead)
        self._warned: set[str] = set()
        self.trainer: Any = None
        self._interrupt: BaseException | None = None

    def around_everything(self, run: Callable[[], Any]) -> Callable[[], Any]:
        """Wraps a runner's run: signals are handled afterwards as before, and one that came late ends it once the SAE is saved."""

        def run_and_stop() -> Any:
            with handlers_put_back():
                result = run()
            if self._interrupt is not None:
                raise self._interrupt
            return result

        return run_and_stop

    def around(self, fit: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Wraps the run of a trainer: what happens before, between its steps, and at its end."""

        def run(trainer: Any) -> Any:
            self.trainer, self._budget = trainer, OverheadBudget(self._config.max_overhead)
            if self._logs_to_wandb:
                self._note_in_wandb_config()
            else:
                self._evaluate_between_steps(trainer)
            trainer.fit = telling_the_signal(trainer.fit)
            try:
                result = fit(trainer)
            finally:
                self._tell_what_was_skipped()
            self._evaluate_at_the_end(trainer)
            return result

        return run

    def evaluate_if_due(
        self, saes: Mapping[str, TrainingSAE[Any]], scalers: Mapping[str, ActivationScaler], provider: Any, *, steps: int
    ) -> dict[str, Any]:
        """Evaluates if the budget allows it; what comes back is for W&B."""
        if not self._budget.allows():
            return {}
        with self._budget.spending():
            return self._evaluate(saes, scalers, provider, steps=steps, final=False)

    @property
    def _logs_to_wandb(self) -> bool:
        return bool(self._runner.cfg.logger.log_to_wandb)

    def _note_in_wandb_config(self) -> None:
        import wandb

        try:
            if wandb.run is not None:
                wandb.run.config.update({"metrics": self._config.to_dict()}, allow_val_change=True)
        except Exception as error:
            self._warn("noting the configuration in W&B", error)

    def _evaluate_between_steps(self, trainer: Any) -> None:
        """SAELens calls its evaluator only if it logs to W&B; without, the metrics run before the step that follows."""
        log = self._runner.cfg.logger
        every = log.wandb_log_frequency * log.eval_every_n_wandb_logs
        first = next(iter(trainer.trainers.values())) if hasattr(trainer, "trainers") else trainer
        step = first.step

        def step_after_metrics(batch: torch.Tensor) -> Any:
            if trainer.n_training_steps > 0 and trainer.n_training_steps % every == 0:
                self.evaluate_if_due(*_trained(trainer), trainer.data_provider, steps=trainer.n_training_steps)
            return step(batch)

        first.step = step_after_metrics

    def _evaluate_at_the_end(self, trainer: Any) -> None:
        """The last evaluation. The SAE is trained but not saved yet, so whatever happens here, the run must go on to save it."""
        try:
            logged = self._evaluate(*_trained(trainer), trainer.data_provider, steps=trainer.n_training_steps, final=True)
            if logged and self._logs_to_wandb:
                import wandb

                wandb.log(logged, step=trainer.n_training_steps)
        except _INTERRUPTS as interrupt:
            self._interrupt = interrupt
            logger.warning("interrupted: the SAE is saved without the last evaluation, which %s makes", self._command())
        except Exception as error:
            self._warn("logging metrics", error)

    def _command(self) -> str:
        """How to evaluate the SAE that was trained."""
        cfg = self._runner.cfg
        return f"sae-lens-metrics evaluate {cfg.output_path or 'FOLDER'} --model {cfg.model_name} --dataset {cfg.dataset_path}"

    def _tell_what_was_skipped(self) -> None:
        if self._budget.skipped:
            done, due = self._budget.ran, self._budget.ran + self._budget.skipped
            logger.warning(
                "%d of %d evaluations during training were run, to keep metrics within %.0f %% of the time (max_overhead)",
                *(done, due, 100 * self._config.max_overhead),
            )

    def _evaluate(
        self, saes: Mapping[str, TrainingSAE[Any]], scalers: Mapping[str, ActivationScaler], provider: Any, *, steps: int, final: bool
    ) -> dict[str, Any]:
        """Evaluates every SAE; an error becomes a warning."""
        paused = provider.paused() if isinstance(provider, PrefetchingIterator) else nullcontext()
        logged: dict[str, Any] = {}
        with paused, isolated(self._runner.model, *saes.values()), torch.no_grad():
            for name, sae in saes.items():
                try:
                    report = self._report(sae, scalers[name])
                    logger.info("%sstep %d: %s", f"{name}, " if name else "", steps, headline_line(report))
                    path = self._write(report, name, steps=steps, final=final)
                    if self._logs_to_wandb:
                        logged |= loggable(
                            report,
                            prefix=f"{name}/" if name else "",
                            brief=not final,
                            all_numbers=self._config.all_numbers,
                            on_error=self._warn,
                        )
                        self._add_to_wandb(report, path)
                except Exception as error:
                    self._warn("metrics", error)
        return logged

    def _report(self, sae: TrainingSAE[Any], scaler: ActivationScaler) -> Report:
        subject = Subject(self._runner.model, inference_sae(sae, scaler), model_kwargs=self._runner.cfg.model_kwargs)
        report = EvaluationRun(subject, self._held_out.corpus, self._config).report(on_error=self._warn)
        held_out = self._held_out.still_held_out(self._runner.activations_store)
        report = report.with_provenance(corpus={"held_out": held_out})
        return report if held_out else report.with_warnings(NOT_HELD_OUT)

    def _warn(self, what: str, error: Exception) -> None:
        """Warns once about each kind of error; a signal to stop is none."""
        if isinstance(error, InterruptedException):
            raise error
        kind = f"{what}: {type(error).__name__}"
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning("%s failed, training goes on: %s: %s", what, type(error).__name__, error, exc_info=error)

    def _add_to_wandb(self, report: Report, path: Path | None) -> None:
        """Adds the last report, which is a file by now, to SAELens's run."""
        import wandb

        if path is not None and wandb.run is not None:
            log_result_file(wandb.run, report, path)

    def _write(self, report: Report, name: str, *, steps: int, final: bool) -> Path | None:
        """Appends a line of scalars to ``metrics.jsonl``; at the end the whole report goes beside the trained SAE, to the path returned."""
        cfg = self._runner.cfg
        folder = cfg.checkpoint_path or cfg.output_path
        if folder is not None:
            line = {
                "sae": name or None,
                "step": steps,
                "n_training_samples": self.trainer.n_training_samples,
                "final": final,
                "held_out": report.provenance["corpus"]["held_out"],
                "seconds": report.provenance["seconds"],
                **report.flat(),
                "errors": report.errors,
            }
            path = Path(folder) / METRICS_FILENAME
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")
        if not final:
            return None
        for text in report.warnings:
            logger.warning("%s%s", f"{name}: " if name else "", text)
        if cfg.output_path is None:
            return None
        path = report.save(Path(cfg.output_path) / name / "metrics.json")
        logger.info("metrics of the trained SAE are in %s", path)
        return path


def _trained(trainer: Any) -> tuple[dict[str, TrainingSAE[Any]], dict[str, ActivationScaler]]:
    """The SAEs and scalers of SAELens's single-SAE or multi-SAE trainer."""
    trainers = getattr(trainer, "trainers", None) or {_SINGLE: trainer}
    return {name: t.sae for name, t in trainers.items()}, {name: t.activation_scaler for name, t in trainers.items()}
