"""SAE quality metrics of "Scaling and evaluating sparse autoencoders" (Gao et al. 2024) for SAELens."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sae_lens_metrics.compare import compare_reports
    from sae_lens_metrics.config import MetricsConfig
    from sae_lens_metrics.corpus import Corpus
    from sae_lens_metrics.evaluation import evaluate
    from sae_lens_metrics.functional.n2g import build_explanation
    from sae_lens_metrics.metrics import register_metric
    from sae_lens_metrics.results import Estimate, Report, summary
    from sae_lens_metrics.subject import Subject
    from sae_lens_metrics.training import MetricsRunnerConfig, MetricsTrainingRunner, attach_metrics

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
    "Corpus": "corpus",
    "Estimate": "results",
    "MetricsConfig": "config",
    "MetricsRunnerConfig": "training",
    "MetricsTrainingRunner": "training",
    "Report": "results",
    "Subject": "subject",
    "attach_metrics": "training",
    "build_explanation": "functional.n2g",
    "compare_reports": "compare",
    "evaluate": "evaluation",
    "register_metric": "metrics",
    "summary": "results",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
