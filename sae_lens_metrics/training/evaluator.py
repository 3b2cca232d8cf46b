"""What takes the place of SAELens's evaluator: that one, followed by the metrics."""

from typing import Any

from sae_lens import TrainingSAE

from sae_lens_metrics.integrations.saelens import ActivationScaler
from sae_lens_metrics.training.run_metrics import RunMetrics
from sae_lens_metrics.training.trainers import SINGLE

__all__ = ["Evaluator"]


class Evaluator:
    """SAELens's evaluator, followed by the metrics; all else is passed through to the former."""

    def __init__(self, wrapped: Any, metrics: RunMetrics) -> None:
        self._wrapped, self._metrics = wrapped, metrics

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What is logged: SAELens's own numbers, and the metrics where they are due."""
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
    return {SINGLE: sae}, provider, {SINGLE: scaler}
