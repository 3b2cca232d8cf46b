"""Several SAEs in one table."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sae_lens_metrics.results.in_words import encodable
from sae_lens_metrics.results.remarks import absent_share, remarks
from sae_lens_metrics.results.report import Report

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["summary"]

_ABOUT = ("architecture", "d_sae", "hook_name")
_TEXTS = {"warning": "warning_texts", "failed": "failed_texts", "absent": "absent_texts", "note": "notes"}
"""Columns of text, by the kind of remark that they hold."""


def summary(reports: Mapping[str, Report]) -> "pd.DataFrame":
    """Several SAEs in one table: a row for each.

    Columns are its architecture, its size and its hook; every number and standard error by full name, with over how many units it is
    under the same name with ``_n``, where those are none of text; how many warnings it has, which share of its numbers is absent, and
    then what is to be known besides the numbers, as text: ``warning_texts``, ``failed_texts``, ``absent_texts``, ``notes``.

    Args:
        reports: Reports by the SAEs' names; on the same corpus and seed they can be compared row by row.
    """
    import pandas as pd

    columns: dict[str, None] = {}
    rows = {encodable(name): _row(report) for name, report in reports.items()}
    for row in rows.values():
        columns.update(dict.fromkeys(key for key in row if key not in _REMARKS))
    return pd.DataFrame.from_dict(rows, orient="index", columns=[*columns, *_REMARKS]).rename_axis("name")


_REMARKS = ("warnings", "absent", *_TEXTS.values())


def _row(report: Report) -> dict[str, Any]:
    sae, found = report.section("sae"), list(remarks(report))
    texts = {column: encodable(" | ".join(str(each) for each in found if each.kind == kind)) for kind, column in _TEXTS.items()}
    counts = {"warnings": len(report.warnings), "absent": absent_share(report)}
    about = {key: encodable(value) if isinstance(value := sae.get(key), str) else value for key in _ABOUT}
    numbers = {encodable(name): value for name, value in report.flat().items()}
    return about | numbers | counts | texts
