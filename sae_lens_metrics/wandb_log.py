"""Reports in W&B: what goes into a log call, and runs for evaluations."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_lens_metrics.results import Report

if TYPE_CHECKING:
    from wandb.sdk.wandb_run import Run

__all__ = ["log_report", "loggable", "wandb_run"]


def loggable(report: Report, prefix: str = "") -> dict[str, Any]:
    """A report as one flat dictionary for ``wandb.log``: scalars with standard errors, tables and histograms.

    Keys are ``metric/name``, so that W&B makes a section of panels for each metric.

    Args:
        report: The report.
        prefix: Goes in front of every key, as SAELens does with the names of several SAEs.
    """
    import numpy as np
    import wandb

    entries: dict[str, Any] = dict(report.flat())
    for metric, result in report.results():
        for name, rows in result.tables.items():
            if rows:
                # a Table keeps its first content, so each evaluation gets a new one
                entries[f"{metric}/{name}"] = wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
        for name, histogram in result.histograms.items():
            entries[f"{metric}/{name}"] = wandb.Histogram(np_histogram=(np.array(histogram.counts), np.array(histogram.edges)))
    return {f"{prefix}{key}": value for key, value in entries.items()}


@contextmanager
def wandb_run(project: str | None, *, name: str, config: dict[str, Any], run: "Run | None" = None) -> Iterator["Run | None"]:
    """The run to log an evaluation to: the user's, the one that is active, or a new one, which is finished afterwards.

    Args:
        project: W&B project of a new run; ``None`` for none.
        name: Name of a new run.
        config: Configuration of a new run.
        run: A run of the user's.
    """
    if run is None and project is None:
        yield None
        return
    import wandb

    if run is not None or wandb.run is not None:
        yield run or wandb.run
        return
    own = wandb.init(project=project, name=name, config=config, job_type="eval", reinit="create_new")
    try:
        yield own
    finally:
        own.finish()


def log_report(run: "Run", report: Report, path: Path | None = None) -> None:
    """Logs a report, with the result file as an artifact if there is one."""
    import wandb

    run.log(loggable(report))
    if path is not None:
        artifact = wandb.Artifact(f"sae-metrics-{report.provenance['sae']['weights_sha256'][:12]}", type="sae-metrics")
        artifact.add_file(str(path))
        run.log_artifact(artifact)
