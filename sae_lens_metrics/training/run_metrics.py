"""The metrics of one training run: when they are due, and what they run on."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sae_lens import TrainingSAE

from sae_lens_metrics.evaluation.costs import costs_in_words, expected_seconds
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.integrations.interrupts import handlers_put_back, telling_the_signal
from sae_lens_metrics.integrations.saelens import ActivationScaler, InterruptedException
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.results import Report
from sae_lens_metrics.training.budget import OverheadBudget
from sae_lens_metrics.training.held_out_text import NOT_HELD_OUT, hold_out
from sae_lens_metrics.training.record import Evaluated, Sink, append_line, begin, save_last
from sae_lens_metrics.training.reports import TrainingReports
from sae_lens_metrics.training.trainers import first_trainer, telling_how_far, trained
from sae_lens_metrics.views.one_line import headline_line
from sae_lens_metrics.views.wandb.log import log_result_file

__all__ = ["RunMetrics"]

logger = logging.getLogger("sae_lens_metrics")

_SLICE = 2_048
"""Tokens on which the cost of an evaluation is measured."""
_INTERRUPTS = (KeyboardInterrupt, InterruptedException)


class RunMetrics:
    """The metrics of one run: when they are due, what they run on, and where their results go."""

    def __init__(self, runner: Any, config: MetricsConfig, sink: Sink | None = None) -> None:
        self._runner, self._config, self._sink = runner, config, sink
        self._reports = TrainingReports(runner.model, config, {"model_kwargs": runner.cfg.model_kwargs})
        self._held_out = hold_out(runner.activations_store, runner.cfg, config)
        self._budget = OverheadBudget(config.max_overhead)
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
            self._begin_record()
            if self._logs_to_wandb:
                self._note_in_wandb_config()
            else:
                self._evaluate_between_steps(trainer)
            if self._config.checkpoints:
                self._evaluate_at_checkpoints(trainer)
            self._announce(trainer)
            if self._config.evaluate_at_start:
                self._evaluate_now(0)
            trainer.fit = telling_the_signal(trainer.fit, self._make_checkpoint_folder)
            try:
                with telling_how_far(trainer, self._runner.cfg.training_tokens):
                    result = fit(trainer)
            finally:
                self._tell_what_was_skipped()
            self._evaluate_at_the_end(trainer)
            return result

        return run

    def _announce(self, trainer: Any) -> None:
        """Measures a slice of the text, to say what an evaluation will cost, and to let the budget decide on the first one too."""
        saes, scalers = trained(trainer)
        name, corpus = next(iter(saes)), self._held_out.corpus
        part = corpus.head(_SLICE)
        try:
            with self._budget.measuring(), self._reports.apart(trainer.data_provider, saes):
                subject = self._reports.subject(saes[name], scalers[name])
                sanity = EvaluationRun(subject, part, self._config).sanity.seconds * len(corpus) / len(part)
            costs = expected_seconds(self._config, corpus, subject.d_sae, sanity)
        except Exception as error:
            if isinstance(error, InterruptedException):
                raise
            logger.debug("the cost of an evaluation is not known", exc_info=error)  # the evaluation itself will say what is wrong
            return
        total = (sanity + sum(costs.values())) * len(saes)
        self._budget.expect(total)
        parts = costs_in_words(costs)
        logger.info(
            "an evaluation of the metrics will take some %.0f s%s%s", total, f" ({parts})" if parts else "", self._budget.in_words()
        )

    def _make_checkpoint_folder(self) -> None:
        """SAELens saves a checkpoint when it is interrupted, into a folder that it does not make."""
        if self._runner.cfg.checkpoint_path is not None:
            folder = Path(self._runner.cfg.checkpoint_path) / str(self.trainer.n_training_samples)
            folder.mkdir(parents=True, exist_ok=True)

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
            self._reports.warn("noting the configuration in W&B", error)

    def _evaluate_between_steps(self, trainer: Any) -> None:
        """SAELens calls its evaluator only if it logs to W&B; without, the metrics run before the step that follows."""
        log = self._runner.cfg.logger
        every = log.wandb_log_frequency * log.eval_every_n_wandb_logs
        first = first_trainer(trainer)
        step = first.step

        def step_after_metrics(batch: torch.Tensor) -> Any:
            if trainer.n_training_steps > 0 and trainer.n_training_steps % every == 0:
                self.evaluate_if_due(*trained(trainer), trainer.data_provider, steps=trainer.n_training_steps)
            return step(batch)

        first.step = step_after_metrics

    def _evaluate_at_checkpoints(self, trainer: Any) -> None:
        """After each checkpoint that SAELens writes, whatever it takes; of the last one there is the last evaluation."""
        save = trainer.save_checkpoint

        def save_and_evaluate(checkpoint_name: str, *args: Any, **kwargs: Any) -> None:
            save(checkpoint_name, *args, **kwargs)
            if not checkpoint_name.startswith("final_"):
                self._evaluate_now(trainer.n_training_steps + 1, logged_at=trainer.n_training_steps)

        trainer.save_checkpoint = save_and_evaluate

    def _evaluate_now(self, steps: int, *, logged_at: int | None = None) -> None:
        """Evaluates, whatever it takes, where SAELens would not log it."""
        logged = self._evaluate(*trained(self.trainer), self.trainer.data_provider, steps=steps, final=False)
        self._reports.attempt("logging metrics", partial(self._log_to_wandb, logged, steps if logged_at is None else logged_at))

    def _begin_record(self) -> None:
        try:
            begin(self._runner.cfg, self.trainer.n_training_samples)
        except (OSError, ValueError, KeyError) as error:
            self._reports.warn("going on with the earlier metrics.jsonl", error)

    def _log_to_wandb(self, logged: dict[str, Any], steps: int) -> None:
        if logged and self._logs_to_wandb:
            import wandb

            wandb.log(logged, step=steps)

    def _evaluate_at_the_end(self, trainer: Any) -> None:
        """The last evaluation. The SAE is trained but not saved yet, so whatever happens here, the run must go on to save it."""
        try:
            logged = self._evaluate(*trained(trainer), trainer.data_provider, steps=trainer.n_training_steps, final=True)
            self._log_to_wandb(logged, trainer.n_training_steps)
        except _INTERRUPTS as interrupt:
            self._interrupt = interrupt
            logger.warning("interrupted: the SAE is saved without the last evaluation, which %s makes", self._command())
        except Exception as error:
            self._reports.warn("logging metrics", error)

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
        cfg, logged = self._runner.cfg, {}
        with self._reports.apart(provider, saes):
            for name, sae in saes.items():
                try:
                    report = self._report(sae, scalers[name])
                    logger.info("%sstep %d: %s", f"{name}, " if name else "", steps, headline_line(report))
                    evaluated = Evaluated(report, name, steps, self.trainer.n_training_samples, final)
                    self._reports.attempt("writing metrics.jsonl", partial(append_line, cfg, evaluated))
                    if self._sink is not None:
                        self._reports.attempt("the sink", partial(self._sink, evaluated))
                    path = save_last(cfg, report, name) if final else None
                    if self._logs_to_wandb:
                        logged |= self._for_wandb(report, name, path)
                except Exception as error:
                    self._reports.warn("metrics", error)
        return logged

    def _for_wandb(self, report: Report, name: str, last: Path | None) -> dict[str, Any]:
        """What is logged of an evaluation; the last one is an artifact of SAELens's run, too."""
        import wandb

        if last is not None and wandb.run is not None:
            log_result_file(wandb.run, report, last)
        return self._reports.for_wandb(report, brief=last is None, prefix=f"{name}/" if name else "")

    def _report(self, sae: TrainingSAE[Any], scaler: ActivationScaler) -> Report:
        report = self._reports.report(self._reports.subject(sae, scaler), self._held_out.corpus)
        held_out = self._held_out.still_held_out(self._runner.activations_store)
        report = report.with_provenance(corpus={"held_out": held_out})
        return report if held_out else report.with_warnings(NOT_HELD_OUT)
