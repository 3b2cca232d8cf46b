"""What results hold, as numbers that can be drawn: finite, or ``None``."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sae_lens_metrics.metrics.registry import SANITY
from sae_lens_metrics.results import Estimate, Histogram, Report, Row

__all__ = ["common", "estimate", "finite", "histogram", "shares", "table"]


def estimate(report: Report, full_name: str) -> Estimate | None:
    """An estimate that is there and has a value.

    Args:
        report: The report.
        full_name: Metric and number, such as ``"overlap/max_cosine"``.
    """
    metric, name = full_name.split("/", 1)
    result = report.sanity if metric == SANITY else report.metrics.get(metric)
    found = result.estimates.get(name) if result is not None else None
    return found if found is not None and found.value is not None else None


def table(report: Report, metric: str, name: str) -> list[Row]:
    """The rows of a table, none if there is no such table."""
    result = report.metrics.get(metric)
    return result.tables.get(name, []) if result is not None else []


def histogram(report: Report, metric: str, name: str) -> Histogram | None:
    """A histogram that is there and not empty."""
    result = report.metrics.get(metric)
    found = result.histograms.get(name) if result is not None else None
    return found if found is not None and sum(found.counts) > 0 else None


def shares(counts: list[int]) -> list[float | None]:
    """Counts as fractions of their sum, which is not zero."""
    total = sum(counts)
    return [count / total for count in counts]


def common(values: Sequence[float | None]) -> float | None:
    """The value that all have, to six digits; ``None`` where they differ, where one is absent, or where there are none."""
    first = values[0] if values else None
    alike = first is not None and all(value is not None and math.isclose(value, first, rel_tol=1e-6) for value in values)
    return first if alike else None


def finite(row: Mapping[str, Any], column: str) -> float | None:
    """A number of a table's row; ``None`` where there is none, as in results of an older release."""
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
