"""Results that are not lost with a disk that is full, a folder that became read-only, or a metric that gives what no file holds."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from sae_lens_metrics.results import Report
from sae_lens_metrics.results.files import readable_json

__all__ = ["Saved", "save_somewhere"]

_UNWRITABLE = (TypeError, ValueError, AttributeError, LookupError)


@dataclass(frozen=True)
class Saved:
    """A report, and where it is."""

    report: Report
    """What could be written of it."""
    path: Path | None
    """Its file; ``None`` if it could be written nowhere."""
    fault: str = ""
    """Why it is not where it belongs, and what to do; empty if it is."""


def save_somewhere(report: Report, path: Path, on_error: Callable[[str, Exception], None]) -> Saved:
    """Writes a report where it belongs or, if that cannot be, into a temporary folder, the same for all of this process.

    Args:
        report: The report. Of metrics that gave what no file can hold, such as NaN in a table, only the error is written.
        path: Its file.
        on_error: Told of each such metric.
    """
    try:
        return _saved(report, path)
    except _UNWRITABLE:
        return _saved(_without_unwritable(report, on_error), path)


def _saved(report: Report, path: Path) -> Saved:
    try:
        return Saved(report, report.save(path))
    except OSError as error:
        fault = str(error)
    try:
        elsewhere = report.save(_folder() / path.name)
    except OSError as error:
        return Saved(report, None, f"{fault}, nor anywhere else ({error}): its numbers are in no file")
    return Saved(report, elsewhere, f"{fault}: the result is in {str(elsewhere)!r}; moved to {str(path.parent)!r}, it counts as evaluated")


def _without_unwritable(report: Report, on_error: Callable[[str, Exception], None]) -> Report:
    faults = {name: error for name in report.metrics if (error := _fault(report, name)) is not None}
    for name, error in faults.items():
        on_error(name, error)
    kept = {name: result for name, result in report.metrics.items() if name not in faults}
    said = {name: f"{type(error).__name__}: {error}" for name, error in faults.items()}
    return replace(report, metrics=kept, errors=report.errors | said)


def _fault(report: Report, metric: str) -> Exception | None:
    """Why a metric's result cannot be written, if it cannot."""
    alone = replace(report, metrics={metric: report.metrics[metric]}, controls={}, provenance={})
    try:
        readable_json(alone.to_dict())
    except _UNWRITABLE as error:
        return error
    return None


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="sae-lens-metrics-"))
