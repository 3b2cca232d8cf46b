"""SAE quality metrics of "Scaling and evaluating sparse autoencoders" (Gao et al. 2024) for SAELens."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sae_lens_metrics.comparison.comparison import compare_reports
    from sae_lens_metrics.evaluation.auditing import audit
    from sae_lens_metrics.evaluation.check_metric import check_metric
    from sae_lens_metrics.evaluation.clusters import RayCluster
    from sae_lens_metrics.evaluation.evaluate import evaluate
    from sae_lens_metrics.evaluation.order import Overrides
    from sae_lens_metrics.evaluation.run_evals import run_evals
    from sae_lens_metrics.evaluation.shards import Shard
    from sae_lens_metrics.evaluation.sweep import sweep
    from sae_lens_metrics.functional.ngram_building import build_explanation
    from sae_lens_metrics.loading.pretrained import load_pretrained
    from sae_lens_metrics.loading.targets import find_targets
    from sae_lens_metrics.metrics.ablation.spec import AblationConfig
    from sae_lens_metrics.metrics.config import MetricsConfig
    from sae_lens_metrics.metrics.context import MetricContext
    from sae_lens_metrics.metrics.directions.spec import DirectionsConfig
    from sae_lens_metrics.metrics.explanation.spec import ExplanationConfig
    from sae_lens_metrics.metrics.n2g.spec import N2GConfig
    from sae_lens_metrics.metrics.probe.spec import ProbeConfig
    from sae_lens_metrics.metrics.registry import metric_names, metric_spec, register_metric, unregister_metric
    from sae_lens_metrics.metrics.rules.spec import RulesConfig
    from sae_lens_metrics.metrics.shrinkage.spec import ShrinkageConfig
    from sae_lens_metrics.metrics.spec import MetricSpec, Number
    from sae_lens_metrics.ranks import Ranks
    from sae_lens_metrics.results import Estimate, FiringExample, LatentEffects, LatentExplanation, MetricResult, Report, summary
    from sae_lens_metrics.results.history import History, read_histories
    from sae_lens_metrics.results.rules import LatentRules, rules_of
    from sae_lens_metrics.subject.subject import Subject
    from sae_lens_metrics.text.corpus import Corpus
    from sae_lens_metrics.training.attach import (
        MetricsRunnerConfig,
        MetricsTrainingRunner,
        MultiMetricsRunnerConfig,
        MultiMetricsTrainingRunner,
        attach_metrics,
    )
    from sae_lens_metrics.training.metrics_evaluator import MetricsEvaluator
    from sae_lens_metrics.training.record import Evaluated
    from sae_lens_metrics.views.figures import paper_figures, to_plotly, to_png
    from sae_lens_metrics.views.page import write_report
    from sae_lens_metrics.views.saebench import save_saebench

__all__ = [
    "AblationConfig",
    "Corpus",
    "DirectionsConfig",
    "Estimate",
    "Evaluated",
    "ExplanationConfig",
    "FiringExample",
    "History",
    "LatentEffects",
    "LatentExplanation",
    "LatentRules",
    "MetricContext",
    "MetricResult",
    "MetricSpec",
    "MetricsConfig",
    "MetricsEvaluator",
    "MetricsRunnerConfig",
    "MetricsTrainingRunner",
    "MultiMetricsRunnerConfig",
    "MultiMetricsTrainingRunner",
    "N2GConfig",
    "Number",
    "Overrides",
    "ProbeConfig",
    "Ranks",
    "RayCluster",
    "Report",
    "RulesConfig",
    "Shard",
    "ShrinkageConfig",
    "Subject",
    "attach_metrics",
    "audit",
    "build_explanation",
    "check_metric",
    "compare_reports",
    "evaluate",
    "find_targets",
    "load_pretrained",
    "metric_names",
    "metric_spec",
    "paper_figures",
    "read_histories",
    "register_metric",
    "rules_of",
    "run_evals",
    "save_saebench",
    "summary",
    "sweep",
    "to_plotly",
    "to_png",
    "unregister_metric",
    "write_report",
]

# imported on first use: reading a result file or asking for --help need not wait for torch and SAELens
_HOMES = {
    "comparison.comparison": ("compare_reports",),
    "evaluation.auditing": ("audit",),
    "evaluation.check_metric": ("check_metric",),
    "evaluation.clusters": ("RayCluster",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.order": ("Overrides",),
    "evaluation.run_evals": ("run_evals",),
    "evaluation.shards": ("Shard",),
    "evaluation.sweep": ("sweep",),
    "functional.ngram_building": ("build_explanation",),
    "loading.pretrained": ("load_pretrained",),
    "loading.targets": ("find_targets",),
    "metrics.ablation.spec": ("AblationConfig",),
    "metrics.config": ("MetricsConfig",),
    "metrics.context": ("MetricContext",),
    "metrics.directions.spec": ("DirectionsConfig",),
    "metrics.explanation.spec": ("ExplanationConfig",),
    "metrics.n2g.spec": ("N2GConfig",),
    "metrics.probe.spec": ("ProbeConfig",),
    "metrics.registry": ("metric_names", "metric_spec", "register_metric", "unregister_metric"),
    "metrics.rules.spec": ("RulesConfig",),
    "metrics.shrinkage.spec": ("ShrinkageConfig",),
    "metrics.spec": ("MetricSpec", "Number"),
    "ranks": ("Ranks",),
    "results": ("Estimate", "FiringExample", "LatentEffects", "LatentExplanation", "MetricResult", "Report", "summary"),
    "results.history": ("History", "read_histories"),
    "results.rules": ("LatentRules", "rules_of"),
    "subject.subject": ("Subject",),
    "text.corpus": ("Corpus",),
    "training.attach": (
        "MetricsRunnerConfig",
        "MetricsTrainingRunner",
        "MultiMetricsRunnerConfig",
        "MultiMetricsTrainingRunner",
        "attach_metrics",
    ),
    "training.metrics_evaluator": ("MetricsEvaluator",),
    "training.record": ("Evaluated",),
    "views.figures": ("paper_figures", "to_plotly", "to_png"),
    "views.page": ("write_report",),
    "views.saebench": ("save_saebench",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
