"""Metrics in SAELens's training runs: one mechanism for its runner, its multi-SAE runner, and a runner of our own."""

from dataclasses import dataclass, field
from typing import Any

from sae_lens import (
    LanguageModelSAERunnerConfig,
    LanguageModelSAETrainingRunner,
    MultiSAETrainingRunner,
    MultiSAETrainingRunnerConfig,
    TrainingSAE,
)

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.integrations.saelens import T_TRAINING_SAE_CONFIG, HfDataset
from sae_lens_metrics.metrics.config import MetricsConfig, Preset
from sae_lens_metrics.metrics.registry import get_metric
from sae_lens_metrics.training.evaluator import Evaluator
from sae_lens_metrics.training.record import Sink
from sae_lens_metrics.training.run_metrics import RunMetrics

__all__ = [
    "MetricsRunnerConfig",
    "MetricsTrainingRunner",
    "MultiMetricsRunnerConfig",
    "MultiMetricsTrainingRunner",
    "attach_metrics",
]

_SEAMS = ("run_trainer_with_interruption_handling", "_run_with_interruption_handling")
"""Names of the method that runs the trainer, in SAELens's single-SAE and multi-SAE runner."""


def attach_metrics(runner: Any, config: MetricsConfig | Preset | None = None, *, sink: Sink | None = None) -> Any:
    """Adds metrics to one of SAELens's training runners, before its ``run()``.

    Training itself is not disturbed: the trained weights are bit for bit those of a run without metrics, and an error in a metric
    becomes a warning. Metrics are evaluated where SAELens evaluates (every ``wandb_log_frequency * eval_every_n_wandb_logs`` steps),
    less often if they would take more than ``max_overhead`` of the time, and once more at the end. They are logged to SAELens's own
    W&B run, and written to ``metrics.jsonl`` beside the checkpoints.

    Args:
        runner: A ``LanguageModelSAETrainingRunner`` or ``MultiSAETrainingRunner``.
        config: What to compute; default the preset "train".
        sink: Is given every evaluation, besides W&B and ``metrics.jsonl``: another logger. An error in it is a warning.

    Returns:
        The same runner.

    Raises:
        ConfigError: If a metric is unknown, metrics are attached already, or there is no text to evaluate on.
    """
    seam = next((name for name in _SEAMS if hasattr(runner, name)), None)
    if hasattr(runner, "synthetic_model"):
        raise ConfigError(
            "a SyntheticSAERunner trains on activations that no language model has computed, and these metrics ask about its text: "
            "SAELens evaluates it against its true features by itself (eval_frequency, eval_samples)"
        )
    if seam is None:
        raise ConfigError(f"a {type(runner).__name__} is not a training runner of a supported SAELens (6.54.10 or later, below 7)")
    if isinstance(runner.evaluator, Evaluator):
        raise ConfigError("metrics are attached to this runner already")
    if config is None or isinstance(config, str):
        config = MetricsConfig.preset(config or "train")
    for name in config.names:
        get_metric(name)
    metrics = RunMetrics(runner, config, sink)
    runner.evaluator = Evaluator(runner.evaluator, metrics)
    setattr(runner, seam, metrics.around(getattr(runner, seam)))
    runner.run = metrics.around_everything(runner.run)
    return runner


@dataclass
class MetricsRunnerConfig(LanguageModelSAERunnerConfig[T_TRAINING_SAE_CONFIG]):
    """SAELens's configuration of a training run, with metrics."""

    metrics: MetricsConfig = field(default_factory=lambda: MetricsConfig.preset("train"))
    """What to compute during training and at its end."""

    def __post_init__(self) -> None:
        self.metrics = _as_config(self.metrics)
        super().__post_init__()

    def to_dict(self) -> dict[str, Any]:
        """SAELens's own fields, as its own classes read them again; of ``runner_cfg.json`` and W&B's configuration."""
        return _without_metrics(super().to_dict())


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


@dataclass
class MultiMetricsRunnerConfig(MultiSAETrainingRunnerConfig):
    """SAELens's configuration of a training run of several SAEs, with metrics."""

    metrics: MetricsConfig = field(default_factory=lambda: MetricsConfig.preset("train"))
    """What to compute of each SAE during training and at its end."""

    def __post_init__(self) -> None:
        self.metrics = _as_config(self.metrics)
        super().__post_init__()

    def to_dict(self) -> dict[str, Any]:
        """SAELens's own fields, as its own classes read them again; of ``runner_cfg.json`` and W&B's configuration."""
        return _without_metrics(super().to_dict())


class MultiMetricsTrainingRunner(MultiSAETrainingRunner):
    """SAELens's training runner of several SAEs, with the metrics of its configuration attached."""

    def __init__(
        self,
        cfg: MultiMetricsRunnerConfig,
        override_dataset: HfDataset | None = None,
        override_model: Any = None,
        override_saes: dict[str, TrainingSAE[Any]] | None = None,
    ) -> None:
        super().__init__(cfg, override_dataset, override_model, override_saes)
        attach_metrics(self, cfg.metrics)


def _as_config(metrics: Any) -> MetricsConfig:
    """What SAELens's ``from_dict`` hands over is a plain dictionary."""
    return MetricsConfig.from_dict(metrics) if isinstance(metrics, dict) else metrics


def _without_metrics(cfg: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in cfg.items() if name != "metrics"}
