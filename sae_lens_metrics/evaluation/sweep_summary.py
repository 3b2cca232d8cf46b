"""``summary.csv`` and ``errors.json`` of a sweep, made of its records each time: nothing is merged with what a process remembers."""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.evaluation.sweep_folder import SavedRecords, SweepFolder
from sae_lens_metrics.results import Report, summary, write_atomically
from sae_lens_metrics.results.in_words import encodable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ERRORS", "SUMMARY", "SweepSummary", "sweep_frame"]

logger = logging.getLogger("sae_lens_metrics")

SUMMARY, ERRORS = "summary.csv", "errors.json"
_RENEWED_EVERY = 30.0
"""Seconds between two summaries while a sweep is at work, at least."""
_SHARE = 0.02
"""Of a sweep's time that summaries may take before its end."""


class SweepSummary:
    """The summary of a sweep.

    Args:
        folder: Where the records are.
    """

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder
        self._renewed, self._took = -_RENEWED_EVERY, 0.0

    def renew(self) -> None:
        """Makes ``summary.csv`` and ``errors.json`` of the records; a folder that does not take them costs no result.

        It is done again if there were others meanwhile. So whoever writes last, even if it began early, leaves what holds all.
        """
        while True:
            stamps = self._folder.stamps()
            self._renew()
            if self._folder.stamps() == stamps:
                return

    def renew_now_and_then(self) -> None:
        """The same while a sweep is at work, unless it would take too much time of it."""
        if time.monotonic() - self._renewed < max(_RENEWED_EVERY, self._took / _SHARE):
            return
        began = time.monotonic()
        self._renew()
        self._renewed = time.monotonic()
        self._took = self._renewed - began

    def _renew(self) -> None:
        files, errors, reports = dict[str, str | None](), dict[str, str](), list[str]()
        for record in self._folder.records():
            files[record.name] = record.file
            if record.error is not None:
                errors[record.name] = record.error
            if record.report is not None:
                reports.append(record.name)
        names = {name: None if file is None else Path(file).name for name, file in files.items()}
        try:
            write_atomically(self._folder.output / SUMMARY, sweep_frame(names, SavedRecords(self._folder, reports), errors).to_csv())
            if errors:
                write_atomically(self._folder.output / ERRORS, json.dumps(errors, indent=1))
            else:
                (self._folder.output / ERRORS).unlink(missing_ok=True)
        except (OSError, ResultError) as error:
            logger.warning("%s: the results are not lost by it", error)


def sweep_frame(files: Mapping[str, str | None], reports: Mapping[str, Report], errors: Mapping[str, str]) -> "pd.DataFrame":
    """A row for each SAE that was dealt with: its numbers, its result file, its error.

    Args:
        files: Name of the result file, or ``None``, by the SAEs' names, in the order of the rows.
        reports: Reports, of those that have one.
        errors: Errors, of those that have one.
    """
    frame = summary(reports).reindex([encodable(name) for name in files]).rename_axis("name")
    frame["file"] = list(files.values())
    frame["error"] = [encodable(errors[name]) if name in errors else None for name in files]
    return frame
