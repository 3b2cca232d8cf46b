"""What the built-in metrics say about themselves, the sanity line first."""

from sae_lens_metrics.metrics.registry import SANITY, built_in_metrics, metric_spec

SPECS = {name: metric_spec(name) for name in (SANITY, *built_in_metrics())}
