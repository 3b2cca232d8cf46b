"""What a sweep has found out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sae_lens_metrics.evaluation.sweep_folder import Record, SavedRecords, SweepFolder
from sae_lens_metrics.evaluation.sweep_summary import SweepSummary, sweep_frame
from sae_lens_metrics.results import Report

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Sweep"]


class Sweep:
    """What a sweep has found out; everything is by the SAEs' names.

    Attributes:
        names: The SAEs that this process was asked for, in their order.
        folder: What is known in the folder, also by other processes.
        summary: What is told there of it.
        reports: Reports; tables, histograms, examples and influences of documents stay in the files. Each is read when it is asked for.
        files: The result files.
        errors: Why an SAE, or some of its metrics, failed, or its result is not where it belongs.

    Args:
        names: The SAEs.
        folder: The sweep's folder.
    """

    def __init__(self, names: Sequence[str], folder: SweepFolder) -> None:
        self.names, self.folder = list(names), folder
        self.summary = SweepSummary(folder)
        self._reports = SavedRecords(folder)
        self.files: dict[str, Path] = {}
        self.errors: dict[str, str] = {}

    @property
    def reports(self) -> Mapping[str, Report]:
        """By name, in the order in which they were dealt with."""
        return self._reports

    def add(self, record: Record, *, kept: bool = True) -> None:
        """Notes what came of an SAE.

        Args:
            record: It.
            kept: Whether it is in the folder, too.
        """
        if record.report is not None:
            self._reports.add(record, kept)
        if record.file is not None:
            self.files[record.name] = self.folder.path(record)
        if record.error is not None:
            self.errors[record.name] = record.error

    def record(self, name: str) -> Record | None:
        """What came of an SAE; ``None`` if it was not dealt with.

        Args:
            name: The SAE's name.
        """
        if name not in self.reports and name not in self.errors:
            return None
        file = self.folder.file_name(self.files.get(name))
        return Record(name, file, self.errors.get(name), self.reports.get(name))

    def to_frame(self) -> "pd.DataFrame":
        """A row for each SAE that was dealt with: its numbers, its result file, its error."""
        done = [name for name in self.names if name in self.reports or name in self.errors]
        return sweep_frame({name: self.files[name].name if name in self.files else None for name in done}, self.reports, self.errors)
