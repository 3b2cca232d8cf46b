"""Results that are not lost with a disk that is full, or a folder that became read-only."""

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sae_lens_metrics.results import Report

__all__ = ["Saved", "save_somewhere"]


@dataclass(frozen=True)
class Saved:
    """Where a report is."""

    path: Path | None
    """Its file; ``None`` if it could be written nowhere."""
    fault: str = ""
    """Why it is not where it belongs, and what to do; empty if it is."""


def save_somewhere(report: Report, path: Path) -> Saved:
    """Writes a report where it belongs or, if that cannot be, into a temporary folder, the same for all of this process.

    Args:
        report: The report.
        path: Its file.
    """
    try:
        return Saved(report.save(path))
    except OSError as error:
        fault = str(error)
    try:
        elsewhere = report.save(_folder() / path.name)
    except OSError as error:
        return Saved(None, f"{fault}, nor anywhere else ({error}): its numbers are in no file")
    return Saved(elsewhere, f"{fault}: the result is in {str(elsewhere)!r}; moved to {str(path.parent)!r}, it counts as evaluated")


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="sae-lens-metrics-"))
