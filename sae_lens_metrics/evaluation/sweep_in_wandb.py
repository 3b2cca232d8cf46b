"""A sweep's results in W&B: a run for each SAE, and one for all checkpoints of a training run, which are its steps."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sae_lens_metrics.evaluation.found import Sweep
from sae_lens_metrics.evaluation.order import Job
from sae_lens_metrics.integrations.interrupts import interrupts
from sae_lens_metrics.results import Report
from sae_lens_metrics.results.history import run_of
from sae_lens_metrics.results.sae_names import short_names
from sae_lens_metrics.views.wandb.log import log_report, loggable, wandb_run

__all__ = ["SweepInWandb", "log_or_warn"]

logger = logging.getLogger("sae_lens_metrics")


class SweepInWandb:
    """Logs what is new; the result files are there already, so that a failure here costs no result and is a warning.

    Args:
        project: The W&B project; ``None`` to log nothing.
        jobs: All SAEs of the sweep.
    """

    def __init__(self, project: str | None, jobs: Sequence[Job]) -> None:
        self._project = project
        runs: dict[str, list[Job]] = {}
        for job in jobs:
            if job.info.moment is not None:
                runs.setdefault(run_of(job.info.moment), []).append(job)
        several = {run: sorted(found, key=_samples) for run, found in runs.items() if len(found) > 1}
        names = short_names(list(several))
        self._curves = {names[run]: [job.target.name for job in found] for run, found in several.items()}
        self._new: set[str] = set()

    def log(self, name: str, report: Report, path: Path | None) -> None:
        """Logs a new result, unless it is one of several of its training run, which wait for ``finish``."""
        self._new.add(name)
        if self._project is None or any(name in checkpoints for checkpoints in self._curves.values()):
            return
        log_or_warn(self._project, name, report, path)

    def finish(self, found: Sweep) -> None:
        """Logs the curves of training runs of which some checkpoint is new, each by one of the processes of a sweep, when it is whole.

        Args:
            found: What the sweep has found out.
        """
        if self._project is None:
            return
        for name, checkpoints in self._curves.items():
            records = {each: found.folder.read(each) for each in checkpoints if each not in found.reports and each not in found.errors}
            if None in records.values():  # another process will evaluate it
                continue
            theirs = {each: record.report for each, record in records.items() if record is not None}
            reports = [found.reports[each] if each in found.reports else theirs.get(each) for each in checkpoints]
            known = [report for report in reports if report is not None]
            made = [report.provenance.get("created") for report in known]
            first = found.folder.first_to("W&B", self._project, name, checkpoints, made)
            if known and self._new.intersection(checkpoints) and first:
                with _warning(name), wandb_run(self._project, name=name, config=known[-1].provenance) as run:
                    if run is None:
                        continue
                    for report in known:
                        run.log(loggable(report, brief=True, all_numbers=True), step=report.provenance["training"]["step"])


def _samples(job: Job) -> int:
    return 0 if job.info.moment is None else int(job.info.moment["n_training_samples"])


def log_or_warn(project: str | None, name: str, report: Report, path: Path | None) -> None:
    """Logs one result as a run of its own; a failure there costs no result, and is a warning.

    Args:
        project: The W&B project; ``None`` to log nothing.
        name: What the run is called.
        report: The result.
        path: Its file.
    """
    with _warning(name), wandb_run(project, name=name, config=report.provenance) as run:
        if run is not None:
            log_report(run, report, path)


@contextmanager
def _warning(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, interrupts()):
            raise
        text = " ".join(str(error).split())
        logger.warning("%s could not be logged to W&B (%s: %s): its result is in its file", name, type(error).__name__, text)
