"""The metrics, one file each, and the registry that finds them.

A metric is a callable ``(subject, corpus, config, generator) -> MetricResult``. Other packages add theirs through the entry-point
group ``sae_lens_metrics.metrics``, or at run time with ``register_metric``.
"""

from sae_lens_metrics.metrics.ablation import ablation
from sae_lens_metrics.metrics.explanation import explanation
from sae_lens_metrics.metrics.n2g import n2g
from sae_lens_metrics.metrics.probe import probe
from sae_lens_metrics.metrics.registry import Metric, get_metric, metric_names, register_metric
from sae_lens_metrics.metrics.shrinkage import shrinkage

__all__ = ["Metric", "get_metric", "metric_names", "register_metric"]

register_metric("probe", probe)
register_metric("n2g", n2g)
register_metric("explanation", explanation)
register_metric("ablation", ablation)
register_metric("shrinkage", shrinkage)
