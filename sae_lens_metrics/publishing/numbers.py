"""The numbers of many results as one table for programs: a row for each number, with all that it can be grouped and filtered by."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.results import Report
from sae_lens_metrics.results.in_words import encodable

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["write_numbers"]

_COLUMNS = {
    "sae": "string",
    "control": "string",
    "metric": "string",
    "number": "string",
    "value": "double",
    "stderr": "double",
    "n": "int64",
    "of": "string",
    "reason": "string",
    "unit": "string",
    "better": "string",
    "metric_version": "int64",
    "architecture": "string",
    "d_sae": "int64",
    "hook_name": "string",
    "model_name": "string",
    "weights_sha256": "string",
    "text": "string",
    "text_tokens": "int64",
    "text_sha256": "string",
    "seed": "int64",
    "package_version": "string",
    "file": "string",
}
"""Every column with its type; what a result does not tell is null."""


def write_numbers(reports: Mapping[str, Report], files: Mapping[str, str], path: Path) -> Path:
    """Writes the numbers of results as a parquet table.

    Args:
        reports: The results by their names; each is read once, and not kept.
        files: The result file of each, as the table names it.
        path: The table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, _schema()) as writer:
        for name, report in reports.items():
            rows = [{"sae": name, "file": files[name], **row} for row in _rows(report)]
            writer.write_table(pa.Table.from_pylist([_typed(row) for row in rows], schema=_schema()))
    return path


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in _COLUMNS.items()])


def _rows(report: Report) -> Iterator[dict[str, Any]]:
    for control in (None, *report.controls):
        part = report if control is None else report.control(control)
        about = _about(part)
        for metric, result in part.results():
            spec, version = spec_of_result(metric, result.estimates), part.section("metric_versions").get(metric)
            for name, estimate in result.estimates.items():
                number = spec.number(name)
                given = {key: getattr(estimate, key) for key in ("value", "stderr", "n", "of", "reason")}
                words = {"metric": metric, "number": name, "unit": number.unit, "better": number.better}
                yield {**about, "control": control, "metric_version": version, **words, **given}


def _about(report: Report) -> dict[str, Any]:
    sae, corpus = report.section("sae"), report.section("corpus")
    return {
        **{key: sae.get(key) for key in ("architecture", "d_sae", "hook_name", "model_name", "weights_sha256")},
        **{"text": corpus.get("name"), "text_tokens": corpus.get("tokens"), "text_sha256": corpus.get("tokens_sha256")},
        "seed": report.section("config").get("seed"),
        "package_version": report.section("versions").get("sae-lens-metrics"),
    }


def _typed(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with null for what is not of its column's type, as other programs' results may have anything in their provenance."""
    return {name: _as(kind, row.get(name)) for name, kind in _COLUMNS.items()}


def _as(kind: str, value: Any) -> Any:
    if kind == "string":
        return encodable(value) if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if kind == "double":
        return float(value)
    return value if isinstance(value, int) and abs(value) < 2**63 else None
