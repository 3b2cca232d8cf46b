"""A page about result files, in the form that suits their size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae_lens_metrics.errors import MetricsError
from sae_lens_metrics.results.saved_reports import SavedReports
from sae_lens_metrics.views.page.page import write_report

__all__ = ["offer_page", "write_saved"]

_ONE_FILE = 400_000_000
"""Bytes of results up to which they go into one file: a page takes about a fifth of them, and a browser opens 80 MB in some seconds."""


def write_saved(reports: SavedReports, path: Path, *, folder: bool = False, **contents: Any) -> Path:
    """Writes a page about result files: one file, or a folder where that would be too large.

    Args:
        reports: The result files.
        path: The page, or the folder for it; of a page that must be a folder the name loses its ending.
        folder: Whether to write a folder, whatever the size.
        contents: What else ``write_report`` takes.

    Returns:
        The page.

    Raises:
        ResultError: If a file holds no result.
        OSError: If the page cannot be written.
    """
    if folder:
        return write_report(reports, path, folder=True, **contents)
    if reports.size > _ONE_FILE:
        return write_report(reports, path.with_suffix("") if path.suffix else path.with_name(f"{path.name}-page"), folder=True, **contents)
    return write_report(reports, path, **contents)


def offer_page(files: Mapping[str, Path], path: Path, **contents: Any) -> str:
    """Writes a page beside results that are safe already, so that one that cannot be written is no error.

    Args:
        files: Result files by the SAEs' names.
        path: The page.
        contents: What else ``write_report`` takes.

    Returns:
        Where it is, or why there is none, for the user.
    """
    try:
        return f"report: {write_saved(SavedReports(files), path, **contents)}, open it in a browser"
    except (MetricsError, OSError) as error:
        return f"report: none, {path} could not be written ({error}); sae-lens-metrics report writes one anywhere else"
