"""The paper's 61 probe tasks (Gao et al. 2024, Table 1) as data: the table `catalogue.tsv`, a row a task."""

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

__all__ = ["CatalogueEntry", "catalogue"]


@dataclass(frozen=True)
class CatalogueEntry:
    """Where a task comes from, and how its source becomes texts with labels."""

    name: str
    family: str

    kind: str
    """What reads it: ``"sae-probes"``, ``"hub"`` or ``"generated"``."""

    source: str
    """A data file of the package sae-probes, a data set repository of the hub, or a generated task."""

    revision: str
    """Of the repository: a commit, or the branch ``refs/convert/parquet`` that the hub itself writes."""

    files: str
    """Pattern of the repository's files to read."""

    columns: tuple[str, ...]
    """Columns that the source must have."""

    text: str
    """The text, with columns in braces."""

    label: str
    """Column of the label, or of the number or letter of the right option."""

    positive: str
    """The positive class: a value of the label's column, or words that say it."""

    recast: str
    """How examples are made of rows that are not examples yet: a form of multiple choice (`recasts.FORMS`), ``"pair"``, or ``"against"``
    the other tasks of the family; empty where a row is an example."""

    group: str
    """A regular expression, whose dot matches line breaks too. What its group 1 is in the source's text is what examples share that must be
    held out together, such as a passage or the name asked about; empty where they share nothing, and no match where one does not."""

    examples: int | None
    """How many there are after preparation, where that is known."""

    description: str
    citation: str
    licence: str


@lru_cache(maxsize=1)
def catalogue() -> dict[str, CatalogueEntry]:
    """The entries by name, in the table's order, which is the paper's."""
    table = (files("sae_lens_metrics.metrics.probe.tasks") / "catalogue.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return {row["name"]: _entry(row) for row in rows}


def _entry(row: dict[str, str]) -> CatalogueEntry:
    typed = {
        "columns": tuple(filter(None, row["columns"].split(","))),
        "text": row["text"].replace("\\n", "\n"),
        "examples": int(row["examples"]) if row["examples"] else None,
    }
    return CatalogueEntry(**{**row, **typed})  # pyright: ignore[reportArgumentType]
