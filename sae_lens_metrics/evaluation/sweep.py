"""Evaluating many SAEs one after the other: each model is loaded once, each text drawn once, each result made once."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sae_lens_metrics.errors import CorpusError, MetricsError
from sae_lens_metrics.evaluation.clock import Clock
from sae_lens_metrics.evaluation.controls import report_with_controls
from sae_lens_metrics.evaluation.identity import finished, identity, result_path
from sae_lens_metrics.evaluation.order import Job, Overrides, plan
from sae_lens_metrics.evaluation.rescue import save_somewhere
from sae_lens_metrics.evaluation.run import EvaluationRun
from sae_lens_metrics.evaluation.shared_loads import SharedLoads, free_memory
from sae_lens_metrics.evaluation.sweep_in_wandb import SweepInWandb
from sae_lens_metrics.integrations.interrupts import interrupts
from sae_lens_metrics.loading.downloads import with_retries
from sae_lens_metrics.loading.pretrained import read_info
from sae_lens_metrics.loading.targets import Target
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.results import Report, summary, write_atomically
from sae_lens_metrics.results.in_words import encodable
from sae_lens_metrics.text.datasets import load_text_dataset

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ERRORS", "SUMMARY", "Outcome", "Sweep", "evaluate_target", "prepare", "require_dataset", "sweep", "sweep_jobs"]

logger = logging.getLogger("sae_lens_metrics")

SUMMARY, ERRORS = "summary.csv", "errors.json"


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


@dataclass
class Sweep:
    """What a sweep has found out; everything is by the SAEs' names, and in their order."""

    names: list[str]
    """All SAEs."""
    reports: dict[str, Report] = field(default_factory=dict)
    """Reports; tables, histograms, examples and influences of documents stay in the files."""
    files: dict[str, Path] = field(default_factory=dict)
    """The result files."""
    errors: dict[str, str] = field(default_factory=dict)
    """Why an SAE, or some of its metrics, failed, or its result is not where it belongs."""

    def to_frame(self) -> "pd.DataFrame":
        """A row for each SAE that was dealt with: its numbers, its result file, its error."""
        done = [name for name in self.names if name in self.reports or name in self.errors]
        frame = summary({name: self.reports[name] for name in done if name in self.reports})
        frame = frame.reindex(list(map(encodable, done))).rename_axis("name")
        frame["file"] = [self.files[name].name if name in self.files else None for name in done]
        frame["error"] = [encodable(self.errors[name]) if name in self.errors else None for name in done]
        return frame


def sweep(
    targets: Sequence[Target],
    config: MetricsConfig,
    output: str | Path,
    *,
    overrides: Overrides | Mapping[Target, Overrides] | None = None,
    overwrite: bool = False,
    wandb_project: str | None = None,
) -> Sweep:
    """Evaluates many SAEs; one that fails is recorded, and the others go on.

    SAEs of one model come one after the other, and those at one hook of it: the model is loaded once, SAEs with the same context, BOS
    and data set see the same text, and runs of the model up to a hook are kept for the next SAE there, in up to ``config.memory_gb``.

    Each result is a file in ``output``, whose name holds a hash of all that it depends on. A sweep that was interrupted, at whatever
    moment, goes on where it was when it is started again with the same settings; what had failed is tried again. ``summary.csv`` and
    ``errors.json`` there tell of the latest sweep, and are renewed after each SAE. A result that cannot be written there is written into a
    temporary folder, which is an error of that SAE; where it cannot be written at all, the sweep ends there.

    Args:
        targets: The SAEs, as ``targets.find_targets`` finds them.
        config: What to compute.
        output: Folder for the results.
        overrides: What is known better than by the SAEs' metadata; the same for all, or by target.
        overwrite: Whether results that are there are made again.
        wandb_project: Logs a W&B run for each new result, after its file is written; checkpoints of one training run are the steps of one
            W&B run, at the end. A failure there is a warning.

    Returns:
        What was found out.

    Raises:
        CorpusError: If the data set in ``config`` cannot be loaded.
    """
    require_dataset(config)
    found = Sweep([target.name for target in targets])
    jobs = plan(targets, overrides or Overrides())
    shared = SharedLoads(config, jobs)
    in_wandb = SweepInWandb(wandb_project, jobs)
    sweep_jobs(jobs, shared, found, Path(output), Clock(len(jobs)), overwrite=overwrite, on_new=in_wandb.log)
    in_wandb.finish(found.reports)
    return found


def require_dataset(config: MetricsConfig) -> None:
    """Makes sure of the data set that the configuration names: a mistake there would fail every SAE, each after its download.

    Raises:
        CorpusError: If it cannot be loaded.
    """
    if dataset := config.dataset:
        with_retries(lambda: load_text_dataset(dataset, config.split), f"the data set {dataset!r}")


def sweep_jobs(
    jobs: Sequence[Job],
    shared: SharedLoads,
    found: Sweep,
    output: Path,
    clock: Clock,
    *,
    overwrite: bool = False,
    on_new: Callable[[str, Report, Path | None], None] | None = None,
) -> bool:
    """Evaluates SAEs in the order that ``plan`` gave them, and notes in ``found`` and in the folder what came of each.

    Args:
        jobs: The SAEs.
        shared: What they have in common.
        found: What is known; may hold others already.
        output: Folder for the results.
        clock: Counts all that there is to do.
        overwrite: Whether results that are there are made again.
        on_new: Told the name, report and file of each new result.

    Returns:
        Whether results can be kept; where one could be written nowhere, the others are not evaluated.
    """
    for place, job in enumerate(jobs, start=1):
        clock.announce(job.target.name)
        outcome = _attempt(job, shared, found, output, overwrite=overwrite)
        is_new = outcome is not None and not outcome.was_there
        clock.count(is_new)
        if outcome is not None and is_new and on_new is not None:
            on_new(job.target.name, outcome.report, outcome.path)
        lost = outcome is not None and outcome.path is None
        if lost:
            found.errors |= {later.target.name: "not evaluated, as its result could not be kept" for later in jobs[place:]}
        _record(found, output)
        if lost:
            return False
    return True


def evaluate_target(target: Target, config: MetricsConfig, output: str | Path, *, overrides: Overrides | None = None) -> Outcome:
    """Evaluates one SAE, anew in any case, and writes its result file.

    Args:
        target: The SAE.
        config: What to compute.
        output: Folder for the result file.
        overrides: What is known better than by the SAE's metadata.

    Returns:
        What came of it. A metric that failed is one of its problems, and the others' numbers are there; so is a file that had to be
        written elsewhere.

    Raises:
        MetricsError: If the SAE, its model or its text cannot be loaded, or do not fit together.
    """
    job = Job(target, read_info(target.release, target.sae_id), overrides or Overrides())
    return _evaluate(job, SharedLoads(config, [job]), Path(output), overwrite=True)


# --- one SAE -----------------------------------------------------------------------------------------------------------------


def _attempt(job: Job, shared: SharedLoads, found: Sweep, output: Path, *, overwrite: bool) -> Outcome | None:
    """Evaluates one SAE of many and notes what came of it."""
    name = job.target.name
    try:
        outcome = _evaluate(job, shared, output, overwrite=overwrite)
    except Exception as error:  # whatever one SAE of a hub may raise must not end the others
        if isinstance(error, interrupts()):
            raise
        logger.debug("%s failed", name, exc_info=True)
        found.errors[name] = _words(error)
        logger.error("%s failed: %s", name, found.errors[name])
        return None
    finally:
        free_memory()
    if outcome.was_there:
        logger.info("its result is there already: %s", outcome.path)
    if outcome.problems:
        found.errors[name] = "; ".join(outcome.problems)
    found.reports[name] = outcome.report.without("influences", "tables", "histograms", "examples", "explanations", "effects")
    if outcome.path is not None:
        found.files[name] = outcome.path
    return replace(outcome, report=found.reports[name]) if outcome.was_there else outcome


def _evaluate(job: Job, shared: SharedLoads, output: Path, *, overwrite: bool) -> Outcome:
    """Evaluates one SAE, unless its result is there, and writes its file."""
    run, path = prepare(job, shared, output)
    kept = None if overwrite else finished(path)
    if kept is not None:
        return Outcome(kept, path, was_there=True)
    failed: dict[str, str] = {}

    def keep(metric: str, error: Exception) -> None:
        if isinstance(error, interrupts()):
            raise error
        failed[metric] = _words(error)
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
    subject = shared.subject(job)
    dataset = shared.config.dataset or subject.dictionary.sae.cfg.metadata.dataset_path
    if not dataset:
        raise CorpusError("the SAE's metadata name no data set: give one with --dataset")
    config = replace(shared.config, dataset=dataset)
    corpus = shared.corpus(subject, dataset)
    path = result_path(output, job.target.name, identity(subject, corpus, config))
    return EvaluationRun(subject, corpus, config), path


def _words(error: Exception) -> str:
    """An error on one line; those of other packages with their type, as their text may be a single name."""
    text = " ".join(str(error).split())
    return text if isinstance(error, MetricsError | OSError) else f"{type(error).__name__}: {text}"


# --- what is told ------------------------------------------------------------------------------------------------------------


def _record(found: Sweep, output: Path) -> None:
    """Writes what is known so far; a folder that does not take it costs no result."""
    try:
        write_atomically(output / SUMMARY, found.to_frame().to_csv())
        if found.errors:
            errors = {name: found.errors[name] for name in found.names if name in found.errors}
            write_atomically(output / ERRORS, json.dumps(errors, indent=1))
        else:
            (output / ERRORS).unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s: the results are not lost by it", error)
