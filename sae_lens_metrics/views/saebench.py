"""Results in SAEBench's form, so that its tools load them."""

import hashlib
import json
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from sae_lens_metrics.results import Estimate, MetricResult, Report, write_atomically

__all__ = ["EVAL_TYPE", "save_saebench", "to_saebench"]

EVAL_TYPE = "sae_lens_metrics"
"""What SAEBench's tools call this evaluation."""


def to_saebench(report: Report, release: str, sae_id: str | None = None) -> dict[str, Any]:
    """A report as JSON types in the schema of SAEBench's result files.

    Each metric is a category, in which a number's standard error stands beside it as ``…_stderr``; what could not be computed is
    ``None``. The rows of tables are the details, each with its metric and table; notes, warnings, histograms and the reasons of absences
    are kept as they are.

    Args:
        report: The report.
        release: The SAE's release, or its folder.
        sae_id: Which SAE of the release.
    """
    provenance = report.provenance
    created = provenance.get("created")
    results = dict(report.results())
    return {
        "eval_type_id": EVAL_TYPE,
        "eval_config": _flat(provenance.get("config", {})),
        "eval_id": str(uuid.uuid4()),
        "datetime_epoch_millis": _milliseconds(created),
        "eval_result_metrics": {name: _category(result.estimates) for name, result in results.items()},
        "eval_result_details": [row for name, result in results.items() for row in _details(name, result)],
        "sae_bench_commit_hash": "Unknown",  # made by another package, whose versions stand below
        "sae_lens_id": sae_id,
        "sae_lens_release_id": release,
        "sae_lens_version": provenance.get("versions", {}).get("sae-lens"),
        "sae_cfg_dict": provenance.get("sae"),
        "eval_result_unstructured": {
            "warnings": report.warnings,
            "errors": report.errors,
            "notes": {name: result.notes for name, result in results.items() if result.notes},
            "reasons": {key: estimate.reason for key, estimate in report.estimates() if estimate.reason},
            "histograms": {
                f"{name}/{key}": {"edges": histogram.edges, "counts": histogram.counts}
                for name, result in results.items()
                for key, histogram in result.histograms.items()
            },
            "corpus": provenance.get("corpus"),
            "versions": provenance.get("versions"),
        },
    }


def save_saebench(report: Report, output: str | Path, release: str, sae_id: str | None = None) -> Path:
    """Writes a report as ``{release}_{sae_id}_eval_results.json``, in a folder of its configuration.

    SAEBench names files by the SAE alone; results of two configurations would replace each other if they were in one folder.

    Args:
        report: The report.
        output: Where the configuration's folder goes.
        release: The SAE's release, or its folder.
        sae_id: Which SAE of the release.

    Raises:
        OSError: If the folder cannot be written.
    """
    depends_on = {name: report.provenance.get(name) for name in ("config", "corpus")}
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:10]
    name = "_".join(part.strip("/").replace("/", "_") for part in (release, sae_id) if part)
    path = Path(output) / f"saebench_{digest}" / f"{name}_eval_results.json"
    return write_atomically(path, json.dumps(to_saebench(report, release, sae_id), indent=1, allow_nan=False))


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their names as on the command line, as the schema allows scalars and lists only."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _milliseconds(created: Any) -> int:
    """Since 1970; 0 where a report does not tell its time."""
    try:
        return int(datetime.fromisoformat(created).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        return 0


def _category(estimates: dict[str, Estimate]) -> dict[str, float | None]:
    category: dict[str, float | None] = {}
    for name, estimate in estimates.items():
        category |= {name: estimate.value, f"{name}_stderr": estimate.stderr}
    return category


def _details(metric: str, result: MetricResult) -> list[dict[str, Any]]:
    return [{"metric": metric, "table": table, **row} for table, rows in result.tables.items() for row in rows]
