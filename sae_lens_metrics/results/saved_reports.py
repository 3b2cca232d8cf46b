"""Reports in files, read one at a time: those of a large SAE take a gigabyte, and a page or a table may be about dozens."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from sae_lens_metrics.results import Report

__all__ = ["SavedReports"]


class SavedReports(Mapping[str, Report]):
    """Reports by name, each read whenever it is asked for, and not kept.

    Args:
        files: The result files.

    Raises:
        ResultError: When a report is asked for whose file holds none.
        OSError: When a report is asked for whose file cannot be read.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = dict(files)

    def __getitem__(self, name: str) -> Report:
        return Report.load(self._files[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(path.stat().st_size for path in self._files.values())
