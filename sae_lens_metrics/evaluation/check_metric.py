"""One call that tests any metric: is it deterministic, independent of the batch size, and honest about what it does not know?"""

import json
import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from sae_lens_metrics.errors import MetricCheckError
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.metrics.registry import metric_spec
from sae_lens_metrics.results import Estimate, MetricResult, Repeated, Report
from sae_lens_metrics.results.estimate import error_parts
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus

__all__ = ["check_metric"]


def check_metric(
    name: str, subject: Subject, corpus: Corpus, config: MetricsConfig | None = None, *, tolerance: float = 1e-4
) -> MetricResult:
    """Computes a metric several times and raises an error that lists all that is wrong with it.

    What is checked: it returns a ``MetricResult``; the same seed gives the same result, exactly; another batch size gives the same
    numbers within a tolerance; every estimate has a value or a reason, and a standard error or a reason; influences, where there are
    any, give the standard error; nothing is NaN or infinite; the numbers are those that its spec lists, its headline among them;
    the result survives being written as JSON and read again; the global random state of torch is neither used nor changed.

    Args:
        name: The metric, registered by ``register_metric`` or an entry point.
        subject: Any small model and SAE.
        corpus: Any text for them.
        config: Settings; default the preset "train".
        tolerance: Relative difference that another batch size may make.

    Returns:
        The result.

    Raises:
        ConfigError: If there is no such metric.
        MetricCheckError: If anything is wrong; the message says all of it.
    """
    config = replace(config or MetricsConfig.preset("train"), names=[name])
    before = torch.random.get_rng_state()
    first = EvaluationRun(subject, corpus, config).compute(name)
    problems = [*_estimates(first), *_as_specified(name, first), *_tables(first)]
    if not torch.equal(before, torch.random.get_rng_state()):
        problems.append("it draws from torch's global random state: take every random number from context.generator")
    problems += _same(first, EvaluationRun(subject, corpus, config).compute(name))
    smaller = replace(config, batch_size=max(1, (config.batch_size or 16) // 3))
    problems += _close(first, EvaluationRun(subject, corpus, smaller).compute(name), tolerance)
    problems += _survives(name, first)
    if problems:
        raise MetricCheckError(f"the metric {name!r} fails {len(problems)} checks: " + "; ".join(problems))
    return first


def _estimates(result: MetricResult) -> Iterator[str]:
    """What is wrong with the estimates by themselves."""
    if not result.estimates:
        yield "it has no estimate"
    for key, estimate in result.estimates.items():
        if estimate.value is not None and estimate.stderr is None and not estimate.reason:
            yield f"{key} has neither a standard error nor a reason why it has none"
        if estimate.influence is not None and not _gives_error(estimate):
            yield f"the influences of {key} do not give its standard error: stderr² = n / (n - 1) Σ influence² + drawn²"
        if estimate.repeated is not None and estimate.repeated.influence is not None and not _gives_error(estimate.repeated):
            yield f"the influences of {key} do not give its second error, that of the same units measured again"


def _as_specified(name: str, result: MetricResult) -> Iterator[str]:
    """Where the estimates are not those that the spec lists."""
    spec = metric_spec(name)
    if spec.numbers and result.estimates:
        yield from (f"{key} is none of the numbers that its spec lists" for key in result.estimates if key not in spec.numbers)
        if spec.headline not in result.estimates:
            yield f"its headline {spec.headline!r} is missing"


def _tables(result: MetricResult) -> Iterator[str]:
    """Tables that hold what is no number."""
    for table, rows in result.tables.items():
        if any(isinstance(value, float) and not math.isfinite(value) for row in rows for value in row.values()):
            yield f"the table {table!r} holds NaN or infinity: use None"


def _gives_error(estimate: Estimate | Repeated) -> bool:
    if estimate.stderr is None or estimate.n < 2 or estimate.influence is None:
        return False
    expected = math.sqrt(estimate.n / (estimate.n - 1)) * math.hypot(*estimate.influence)
    return math.isclose(expected, error_parts(estimate).over_units[0], rel_tol=1e-3, abs_tol=1e-12)


def _same(first: MetricResult, again: MetricResult) -> Iterator[str]:
    """What a second run with the same seed has otherwise."""
    if replace(again, seconds=first.seconds) != first:
        changed = [key for key, estimate in first.estimates.items() if again.estimates.get(key) != estimate]
        yield f"a second run with the same seed gives another result ({', '.join(changed[:3]) or 'tables, histograms or examples'})"


def _close(first: MetricResult, other: MetricResult, tolerance: float) -> Iterator[str]:
    """What another batch size changes."""
    for key, estimate in first.estimates.items():
        a, b = estimate.value, other.estimates[key].value if key in other.estimates else None
        if (a is None) != (b is None) or (a is not None and b is not None and not math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)):
            yield f"{key} depends on the batch size ({a} and {b})"


def _survives(name: str, result: MetricResult) -> Iterator[str]:
    """What is lost by writing the result as JSON and reading it again."""
    report = Report(MetricResult({}), {name: result})
    try:
        read = Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    except (TypeError, ValueError) as error:
        yield f"its result cannot be written as JSON ({error})"
        return
    if read.metrics[name] != result:
        yield "its result is another one after it was written as JSON and read again: use int, float, str, bool and None only"
