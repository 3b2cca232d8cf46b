"""Evaluating one subject: the sanity line, then each metric, into one report."""

import logging

from sae_lens_metrics.evaluation.controls import report_with_controls
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.metrics.config import MetricsConfig, Preset
from sae_lens_metrics.ranks import ALONE, Ranks
from sae_lens_metrics.results import Report
from sae_lens_metrics.subject.shared_prefixes import SharedPrefixes
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["evaluate"]

logger = logging.getLogger("sae_lens_metrics")


def evaluate(subject: Subject, corpus: Corpus, config: MetricsConfig | Preset = "default", *, ranks: Ranks = ALONE) -> Report:
    """Evaluates an SAE on text; what looks wrong about the SAE or the text is logged as a warning, and stands in the report.

    Args:
        subject: The model and SAE.
        corpus: The text; two SAEs that are evaluated on one corpus with one seed can be compared sequence by sequence.
        config: What to compute, or the name of a preset.
        ranks: The processes that do it together, each of which calls this with the same arguments, and gets the same report.

    Returns:
        The report: the sanity line, every metric's numbers with standard errors, those of the controls that the configuration names, and
        all that they depend on.

    Raises:
        ConfigError: If a metric or task is unknown.
        SubjectError: If the activations cannot be evaluated.
    """
    config = MetricsConfig.preset(config) if isinstance(config, str) else config
    if config.controls:  # which are at the same hook
        subject = subject.sharing(SharedPrefixes(config.memory_gb * 2**30))
    report = report_with_controls(EvaluationRun(subject, corpus, config, ranks))
    for text in report.warnings:
        logger.warning(text)
    return report
