"""Whether numbers that were computed anew agree with published ones."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from sae_lens_metrics.comparison.reference import Figure, Reference
from sae_lens_metrics.results import Report

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Verdict", "Verdicts", "judge"]

Judgement = Literal["within", "outside", "not checkable"]


@dataclass(frozen=True)
class Verdict:
    """A published number beside the same one computed anew."""

    sae: str
    number: str
    expected: float
    low: float
    high: float
    value: float | None
    """``None`` where it could not be computed."""
    stderr: float | None
    verdict: Judgement
    reason: str
    """Why it cannot be checked; else where the expected value was published."""


@dataclass(frozen=True)
class Verdicts:
    """All figures of a reference, judged."""

    name: str
    """The reference."""
    reference: Reference
    verdicts: tuple[Verdict, ...]
    changes: tuple[str, ...] = ()
    """In what the settings were not the reference's, for which alone the bands are."""

    def count(self, which: Judgement) -> int:
        """How many figures are so."""
        return sum(each.verdict == which for each in self.verdicts)

    @property
    def all_within(self) -> bool:
        """Whether every figure could be checked, and is within its band."""
        return self.count("within") == len(self.verdicts)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON types."""
        return {
            "reference": self.name,
            "source": self.reference.source,
            "bands_set_on": self.reference.set_on,
            "all_within": self.all_within,
            "changes": list(self.changes),
            "verdicts": [asdict(each) for each in self.verdicts],
            "unchecked": [asdict(each) for each in self.reference.unchecked],
        }

    def to_frame(self) -> "pd.DataFrame":
        """A row for each figure."""
        import pandas as pd

        return pd.DataFrame([asdict(each) for each in self.verdicts])


def judge(name: str, reference: Reference, reports: Mapping[str, Report], errors: Mapping[str, str]) -> Verdicts:
    """Compares what was computed with what was published.

    Args:
        name: What the reference is called.
        reference: The figures and their bands.
        reports: What was computed, by the SAEs' names in the reference.
        errors: Why an SAE could not be evaluated, or some of its metrics, likewise.
    """
    return Verdicts(name, reference, tuple(_judged(reference.figures, reports, errors)))


def _judged(figures: Iterable[Figure], reports: Mapping[str, Report], errors: Mapping[str, str]) -> Iterable[Verdict]:
    for figure in figures:
        value, stderr, missing = _found(figure, reports.get(figure.sae), errors.get(figure.sae))
        low, high = figure.band
        verdict: Judgement = "not checkable" if value is None else "within" if low <= value <= high else "outside"
        yield Verdict(figure.sae, figure.number, figure.expected, low, high, value, stderr, verdict, missing or figure.where)


def _found(figure: Figure, report: Report | None, error: str | None) -> tuple[float | None, float | None, str]:
    """The value, its standard error, and why there is no value."""
    if report is None:
        return None, None, error or "it has not been evaluated"
    metric, number = figure.number.split("/", 1)
    result = report.sanity if metric == "sanity" else report.metrics.get(metric)
    if result is None:
        return None, None, report.errors.get(metric, f"the metric {metric} was not computed")
    estimate = result.estimates.get(number)
    if estimate is None:
        return None, None, f"the metric {metric} has no number {number!r}"
    return estimate.value, estimate.stderr, "" if estimate.value is not None else estimate.reason or "it is absent"
