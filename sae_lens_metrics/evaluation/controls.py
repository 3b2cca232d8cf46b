"""Evaluating an SAE together with its controls: SAEs that are bad on purpose, with the same settings on the same text."""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from sae_lens import SAE

from sae_lens_metrics.comparison.controls import control_warnings, judged
from sae_lens_metrics.errors import UnsupportedSAEError
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.evaluation.seeds import generator_of
from sae_lens_metrics.integrations.progress import stage
from sae_lens_metrics.metrics.controls import CONTROLS
from sae_lens_metrics.metrics.registry import metric_spec
from sae_lens_metrics.results import Control, MetricResult, Report
from sae_lens_metrics.subject.control_saes import Activations, frozen_decoder, permuted_decoder, random_sae
from sae_lens_metrics.subject.dictionary import Dictionary
from sae_lens_metrics.subject.subject import Subject

__all__ = ["report_with_controls"]

_MAKERS: Mapping[str, Callable[[Dictionary, Activations, torch.Generator], SAE[Any]]] = {
    "permuted_decoder": permuted_decoder,
    "frozen_decoder": frozen_decoder,
    "random": random_sae,
}
"""What makes each control."""
_TOKENS = 32_768
"""Tokens that controls are made from, spread over the text."""


def report_with_controls(run: EvaluationRun, *, on_error: Callable[[str, Exception], None] | None = None) -> Report:
    """Computes the sanity line and every metric, then the same for the controls that the configuration names.

    A control that cannot be made of this SAE, and a metric on which the SAE does not beat a control that it should beat, are warnings.

    Args:
        run: The evaluation.
        on_error: Told of a metric that failed, as in ``EvaluationRun.report``.

    Raises:
        SubjectError: If the activations cannot be evaluated.
    """
    return run.ranks.together(lambda: _report(run, on_error))


def _report(run: EvaluationRun, on_error: Callable[[str, Exception], None] | None) -> Report:
    report = run.report(on_error=on_error)
    if not run.config.controls:
        return report
    controls, remarks, text = dict[str, Control](), list[str](), _activations(run)
    for name in run.config.controls:
        try:
            with stage(f"control {CONTROLS[name].title!r}"):
                controls[name] = _evaluated(name, run, text, on_error)
        except UnsupportedSAEError as error:
            remarks.append(f"there is no control {CONTROLS[name].title!r} of this SAE: {error}")
    report = judged(replace(report, controls=controls))
    return report.with_warnings(*remarks, *control_warnings(report))


def _evaluated(name: str, run: EvaluationRun, text: Activations, on_error: Callable[[str, Exception], None] | None) -> Control:
    started = time.perf_counter()
    subject = _with_sae(run.subject, _MAKERS[name](run.subject.dictionary, text, _generator(name, run)))
    told = None if on_error is None else lambda metric, error: on_error(f"{metric} of the control {name}", error)
    report = EvaluationRun(subject, run.corpus, run.config.for_control(name), run.ranks).report(on_error=told)
    results = {metric: _slim(metric, result) for metric, result in report.results()}
    return Control(results, report.errors, sae=report.provenance["sae"], seconds=round(time.perf_counter() - started, 3))


def _with_sae(subject: Subject, sae: SAE[Any]) -> Subject:
    """The same model and hook with another SAE, of which no publisher says anything."""
    other = copy.copy(subject)
    other.dictionary, other.expected = Dictionary(sae, subject.d_out), {}
    return other


def _activations(run: EvaluationRun) -> Activations:
    corpus = run.corpus.spread(max(2, _TOKENS // run.corpus.tokens.shape[1]))
    batches = list(corpus.activations(run.subject, run.config.batch_size, progress="controls"))
    x = torch.cat([batch.x for batch in batches])
    return Activations(x, torch.cat([batch.y for batch in batches]) if run.subject.is_transcoder else x)


def _generator(name: str, run: EvaluationRun) -> torch.Generator:
    return generator_of(run.config.seed, f"control {name}")


def _slim(metric: str, result: MetricResult) -> MetricResult:
    """What a comparison with the SAE takes, and the other numbers."""
    spec = metric_spec(metric)
    kept = {name: each if name == spec.headline else each.without_influences() for name, each in result.estimates.items()}
    tables = {} if spec.units is None else {spec.units.table: result.tables.get(spec.units.table, [])}
    return MetricResult(kept, tables=tables, notes=result.notes, seconds=result.seconds)
