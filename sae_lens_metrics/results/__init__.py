"""What an evaluation returns: estimates with standard errors, their tables, and the report that holds them all."""

from sae_lens_metrics.results.control import Control, ControlVerdict, Expectation, Outcome
from sae_lens_metrics.results.estimate import Estimate
from sae_lens_metrics.results.explanation import (
    Explanation,
    ExplanationNGram,
    LatentExplanation,
    MatchingRules,
    NGramExplanations,
)
from sae_lens_metrics.results.files import write_atomically
from sae_lens_metrics.results.latent_effects import LatentEffects, TokenChange
from sae_lens_metrics.results.metric_result import FiringExample, Histogram, MetricResult, Row
from sae_lens_metrics.results.repeated import Repeated
from sae_lens_metrics.results.report import Report
from sae_lens_metrics.results.summary import summary

__all__ = [
    "Control",
    "ControlVerdict",
    "Estimate",
    "Expectation",
    "Explanation",
    "ExplanationNGram",
    "FiringExample",
    "Histogram",
    "LatentEffects",
    "LatentExplanation",
    "MatchingRules",
    "MetricResult",
    "NGramExplanations",
    "Outcome",
    "Repeated",
    "Report",
    "Row",
    "TokenChange",
    "summary",
    "write_atomically",
]
