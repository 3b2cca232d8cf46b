"""One SAE, from its name to its result file."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from sae_lens_metrics.errors import CorpusError, MetricsError, SubjectError
from sae_lens_metrics.evaluation.controls import report_with_controls
from sae_lens_metrics.evaluation.identity import finished, identity, result_path
from sae_lens_metrics.evaluation.order import Job, Overrides
from sae_lens_metrics.evaluation.rescue import save_somewhere
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.evaluation.shared_loads import SharedLoads
from sae_lens_metrics.integrations.interrupts import interrupts
from sae_lens_metrics.loading.pretrained import read_info
from sae_lens_metrics.loading.targets import Target
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.ranks import ALONE, Ranks
from sae_lens_metrics.results import Report

__all__ = ["Outcome", "begin", "evaluate_job", "evaluate_target", "on_one_line", "prepare"]

logger = logging.getLogger("sae_lens_metrics")


@dataclass(frozen=True)
class Outcome:
    """The result of one SAE, and its file."""

    report: Report
    path: Path | None
    """``None`` if it could be written nowhere."""
    was_there: bool = False
    """Whether an earlier evaluation had made it."""
    problems: tuple[str, ...] = ()
    """Which metrics failed and why, and why the file is not where it belongs."""


def evaluate_target(
    target: Target, config: MetricsConfig, output: str | Path, *, overrides: Overrides | None = None, ranks: Ranks = ALONE
) -> Outcome:
    """Evaluates one SAE, anew in any case, and writes its result file.

    Args:
        target: The SAE.
        config: What to compute.
        output: Folder for the result file.
        overrides: What is known better than by the SAE's metadata.
        ranks: The processes that evaluate it together. This is the first one, the others ``follow``.

    Returns:
        What came of it. A metric that failed is one of its problems, and the others' numbers are there; so is a file that had to be
        written elsewhere.

    Raises:
        MetricsError: If the SAE, its model or its text cannot be loaded, or do not fit together.
    """
    job = Job(target, read_info(target.release, target.sae_id), overrides or Overrides())
    return evaluate_job(job, SharedLoads.announced(config, [job], ranks), Path(output), overwrite=True)


def evaluate_job(job: Job, shared: SharedLoads, output: Path, *, overwrite: bool) -> Outcome:
    """Evaluates one SAE, unless its result is there, and writes its file.

    Args:
        job: The SAE.
        shared: What it has in common with others.
        output: Folder for its result.
        overwrite: Whether a result that is there is made again.

    Raises:
        MetricsError: If the SAE, its model or its text cannot be loaded, or do not fit together.
    """
    shared.ranks.of_first(lambda: job)
    run, path, kept = begin(job, shared, output, overwrite=overwrite)
    if kept is not None:
        return Outcome(kept, path, was_there=True)
    failed: dict[str, str] = {}

    def keep(metric: str, error: Exception) -> None:
        if isinstance(error, interrupts()):
            raise error
        failed[metric] = on_one_line(error)
        logger.error("%s: the metric %s failed: %s", job.target.name, metric, failed[metric])

    report = report_with_controls(run, on_error=keep)
    report = report.with_warnings(*job.info.remarks, first=True)
    if job.info.moment is not None:
        report = report.with_provenance(training=job.info.moment)
    saved = save_somewhere(report, path)
    if saved.fault:
        logger.error("%s: %s", job.target.name, saved.fault)
    problems = [*(f"{metric}: {reason}" for metric, reason in failed.items()), saved.fault]
    return Outcome(report, saved.path, problems=tuple(filter(None, problems)))


def begin(job: Job, shared: SharedLoads, output: Path, *, overwrite: bool) -> tuple[EvaluationRun, Path, Report | None]:
    """Loads an SAE and its text, in all processes that evaluate it together.

    Args:
        job: The SAE.
        shared: What it has in common with others.
        output: Folder for its result; the first process's counts.
        overwrite: Whether a result that is there is made again.

    Returns:
        The evaluation, of which nothing is computed yet, the file that its result belongs in, and the result that is there already.

    Raises:
        MetricsError: If the SAE, its model or its text cannot be loaded, or do not fit together, in one of the processes.
    """
    ranks = shared.ranks
    run, path = ranks.together(lambda: prepare(job, shared, output))
    if len({*ranks.each(lambda: path.name)}) > 1:
        raise SubjectError("the processes do not see the same SAE, model, text and packages: give all of them the same")
    return run, path, ranks.of_first(lambda: None if overwrite else finished(path))


def prepare(job: Job, shared: SharedLoads, output: Path) -> tuple[EvaluationRun, Path]:
    """Loads an SAE and its text.

    Args:
        job: The SAE.
        shared: What it has in common with others.
        output: Folder for its result.

    Returns:
        The evaluation, of which nothing is computed yet, and the file that its result belongs in.

    Raises:
        MetricsError: If the SAE, its model or its text cannot be loaded, or do not fit together.
    """
    _require_own_device(job, shared.ranks)
    subject = shared.subject(job)
    dataset = shared.config.dataset or subject.dictionary.sae.cfg.metadata.dataset_path
    if not dataset:
        raise CorpusError("the SAE's metadata name no data set: give one with --dataset")
    config = replace(shared.config, dataset=dataset)
    corpus = shared.corpus(subject, dataset)
    path = result_path(output, job.target.name, identity(subject, corpus, config))
    return EvaluationRun(subject, corpus, config, shared.ranks), path


def _require_own_device(job: Job, ranks: Ranks) -> None:
    """Each process has a GPU of its own, on which model and SAE are as a whole."""
    if ranks.size == 1:
        return
    if job.place is not None and job.place.model.device_map is not None:
        raise SubjectError("a device map spreads the model over GPUs, which one process does: leave it out, or start one without torchrun")
    if ":" in (job.overrides.device or ""):
        raise SubjectError(f"each process has a GPU of its own, not all of them {job.overrides.device}: leave the device out")


def on_one_line(error: Exception) -> str:
    """An error on one line; those of other packages with their type, as their text may be a single name.

    Args:
        error: What was raised.
    """
    text = " ".join(str(error).split())
    return text if isinstance(error, MetricsError | OSError) else f"{type(error).__name__}: {text}"
