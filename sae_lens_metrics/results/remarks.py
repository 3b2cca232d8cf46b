"""What must be known besides the numbers of a report: warnings, failures, why numbers are absent, and notes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sae_lens_metrics.results.report import Report

__all__ = ["Remark", "absent_share", "remarks"]


@dataclass(frozen=True)
class Remark:
    """One sentence that belongs to the numbers."""

    kind: Literal["warning", "failed", "absent", "note"]
    """Whether it is a warning, the error of a metric that failed, the reason why a number is absent, or a note on a metric."""
    about: str
    """The metric, or the number by its full name; empty for the whole report."""
    text: str
    """The sentence."""

    def __str__(self) -> str:
        return f"{self.about}: {self.text}" if self.about else self.text


def remarks(report: Report) -> Iterator[Remark]:
    """Everything that must be known besides the numbers, what is most urgent first.

    Args:
        report: The report.
    """
    yield from (Remark("warning", "", text) for text in report.warnings)
    yield from (Remark("failed", metric, text) for metric, text in report.errors.items())
    for number, estimate in report.estimates():
        if estimate.value is None:
            yield Remark("absent", number, estimate.reason or "")
    yield from (Remark("note", metric, text) for metric, result in report.results() for text in result.notes)


def absent_share(report: Report) -> float:
    """The share of a report's numbers that could not be computed, in [0, 1]; those of metrics that failed are not counted.

    Args:
        report: The report.
    """
    absent = [estimate.value is None for _, estimate in report.estimates()]
    return sum(absent) / max(1, len(absent))
