"""Reports to compare, made in code: numbers over documents with their influences, and what they were measured under."""

import numpy as np
import torch

from sae_lens_metrics import Estimate, MetricsConfig, Report
from sae_lens_metrics.functional.statistics import degrees_of_freedom, ratio_influence, ratio_with_error
from sae_lens_metrics.results import MetricResult


def estimate(sums, counts=None, of="documents"):
    """A mean over units as metrics give it."""
    a = torch.as_tensor(np.asarray(sums), dtype=torch.float64)
    b = torch.ones_like(a) if counts is None else torch.as_tensor(np.asarray(counts), dtype=torch.float64)
    value, stderr = ratio_with_error(a, b)
    return Estimate(value, stderr, int((b != 0).sum()), of, influence=ratio_influence(a, b).tolist(), df=degrees_of_freedom(b))


def report(metrics=None, *, text="abc", documents=30, settings=None, **sanity):
    """A report with the numbers of the sanity line, and of metrics, on some text."""
    config = MetricsConfig(names=[]).to_dict()
    for name, value in (settings or {}).items():
        *section, key = name.split(".")
        (config[section[0]] if section else config)[key] = value
    corpus = {"name": "text.jsonl", "tokens_sha256": text, "documents": documents, "tokens": 640, "context_size": 64}
    provenance = {"config": config, "corpus": corpus, "sae": {"hook_name": "blocks.1", "model_name": "tiny"}, "versions": {}}
    results = {name: MetricResult(estimates) for name, estimates in (metrics or {}).items()}
    return Report(MetricResult(sanity), results, provenance=provenance)


def values(seed, n=30, **changes):
    return np.random.default_rng(seed).standard_normal(n)
