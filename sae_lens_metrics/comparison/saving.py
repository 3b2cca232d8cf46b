"""Comparisons and audits as files: everything as JSON, or their rows as CSV."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.results import write_atomically

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Tabular", "save_as", "write_table"]


class Tabular(Protocol):
    """What has rows, and more than those."""

    def to_frame(self) -> "pd.DataFrame":
        """The rows."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        ...


def save_as(path: str | Path) -> str:
    """How ``write_table`` writes to a path, ``".json"`` or ``".csv"``.

    Raises:
        ConfigError: If the name ends in neither.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".json", ".csv"):
        raise ConfigError(f"this is written as .json or .csv, which {str(path)!r} does not end in: give another name")
    return suffix


def write_table(path: str | Path, table: Tabular) -> Path:
    """Writes everything as .json, or the rows as .csv.

    Args:
        path: The file; one that is there is replaced at once or not at all.
        table: What to write.

    Raises:
        ConfigError: If the name ends in neither.
        OSError: If the folder cannot be written.
    """
    if save_as(path) == ".csv":
        return write_atomically(path, table.to_frame().to_csv(index=False))
    return write_atomically(path, json.dumps(table.to_dict(), indent=1, allow_nan=False))
