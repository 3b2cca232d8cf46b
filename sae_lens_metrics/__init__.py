"""SAE quality metrics of "Scaling and evaluating sparse autoencoders" (Gao et al. 2024) for SAELens."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sae_lens_metrics.comparison.comparison import compare_reports
    from sae_lens_metrics.evaluation.evaluate import evaluate
    from sae_lens_metrics.functional.ngram_building import build_explanation
    from sae_lens_metrics.metrics.config import MetricsConfig
    from sae_lens_metrics.metrics.registry import register_metric
    from sae_lens_metrics.results import Estimate, Report, summary
    from sae_lens_metrics.subject.subject import Subject
    from sae_lens_metrics.text.corpus import Corpus
    from sae_lens_metrics.training.attach import MetricsRunnerConfig, MetricsTrainingRunner, attach_metrics

__all__ = [
    "Corpus",
    "Estimate",
    "MetricsConfig",
    "MetricsRunnerConfig",
    "MetricsTrainingRunner",
    "Report",
    "Subject",
    "attach_metrics",
    "build_explanation",
    "compare_reports",
    "evaluate",
    "register_metric",
    "summary",
]

# imported on first use: reading a result file or asking for --help need not wait for torch and SAELens
_HOMES = {
    "Corpus": "text.corpus",
    "Estimate": "results",
    "MetricsConfig": "metrics.config",
    "MetricsRunnerConfig": "training.attach",
    "MetricsTrainingRunner": "training.attach",
    "Report": "results",
    "Subject": "subject.subject",
    "attach_metrics": "training.attach",
    "build_explanation": "functional.ngram_building",
    "compare_reports": "comparison.comparison",
    "evaluate": "evaluation.evaluate",
    "register_metric": "metrics.registry",
    "summary": "results",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
