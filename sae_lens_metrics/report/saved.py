"""A page about result files, in the form that suits their size."""

from collections.abc import Mapping
from pathlib import Path

from sae_lens_metrics.report.page import write_report
from sae_lens_metrics.saved_reports import SavedReports

__all__ = ["write_saved"]

_ONE_FILE = 400_000_000
"""Bytes of results up to which they go into one file: a page takes about a fifth of them, and a browser opens 80 MB in some seconds."""


def write_saved(files: Mapping[str, Path], output: Path, stem: str) -> Path:
    """Writes a page about result files: one file, or a folder where that would be too large.

    Args:
        files: Result files by the SAEs' names.
        output: Folder for the page.
        stem: Its name there.

    Returns:
        The page.

    Raises:
        ResultError: If a file holds no result.
        OSError: If the page cannot be written.
    """
    reports = SavedReports(files)
    if reports.size > _ONE_FILE:
        return write_report(reports, output / stem, folder=True)
    return write_report(reports, output / f"{stem}.html")
