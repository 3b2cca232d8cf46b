"""What metrics say of a control: an SAE that is bad on purpose."""

from dataclasses import dataclass, field
from typing import Any, Literal

from sae_lens_metrics.results.dataclass_schema import at_least, with_schema
from sae_lens_metrics.results.metric_result import MetricResult

__all__ = ["Control", "ControlVerdict", "Expectation", "Outcome"]

Expectation = Literal["unmoved", "beaten"]
"""What a metric says that a control must do to its main number: leave it as it is, or be worse than the SAE by more than noise."""
Outcome = Literal["as expected", "not as expected", "not tested"]


@dataclass(frozen=True)
class ControlVerdict:
    """Whether a control does to a metric what it must."""

    number: str
    """The metric's main number."""
    expected: Expectation
    """What the control must do to it: be "unmoved" by more than noise, or be "beaten" by the SAE by more than noise."""
    outcome: Outcome
    """Whether it does."""
    p: float | None = field(default=None, metadata=with_schema(minimum=0, maximum=1))
    """P-value of the difference between SAE and control, corrected for the number of metrics and controls; ``None`` if not tested."""


@dataclass(frozen=True)
class Control:
    """The results of a control, on the same text, with the same settings and seed as those of the SAE."""

    results: dict[str, MetricResult]
    """The sanity line and those metrics to which the control says something, by name. Without distributions, examples and tables, but for
    the tables of sampling units; influences are those of main numbers only."""
    errors: dict[str, str] = field(default_factory=dict)
    """Metrics that failed, with the error."""
    verdicts: dict[str, ControlVerdict] = field(default_factory=dict)
    """By metric, whether the control does what it must."""
    sae: dict[str, Any] = field(default_factory=dict, repr=False)
    """The control as an SAE: its architecture, size, and its weights' hash."""
    seconds: float = field(default=0.0, metadata=at_least(0))
    """Wall-clock time that it took, to make it included."""

    def __post_init__(self) -> None:
        for metric, verdict in self.verdicts.items():
            if metric not in self.results or verdict.number not in self.results[metric].estimates:
                raise ValueError(f"a verdict is about {verdict.number!r} of {metric!r}, which is none of the control's numbers")
