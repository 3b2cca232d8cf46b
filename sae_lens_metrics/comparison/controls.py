"""Does an SAE beat its controls, and do those leave alone what they must leave alone?"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sae_lens_metrics.comparison.comparison import Difference, compare_reports
from sae_lens_metrics.metrics.controls import CONTROLS
from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.results import Control, ControlVerdict, Estimate, Expectation, Outcome, Report
from sae_lens_metrics.results.in_words import with_error

__all__ = ["ControlFinding", "control_findings", "control_warnings", "judged"]

_SAE = ""
"""The SAE's own name among those of its controls, which none of them has."""
_FOUND = {
    ("beaten", "as expected"): "beaten",
    ("beaten", "not as expected"): "not beaten",
    ("unmoved", "as expected"): "unmoved, as it must be",
    ("unmoved", "not as expected"): "moved, which it must not be",
}


@dataclass(frozen=True)
class ControlFinding:
    """The main number of a metric, of the SAE and of a control, and what was found."""

    metric: str
    """The metric."""
    control: str
    """The control."""
    own: Estimate
    """The SAE's number."""
    other: Estimate
    """The control's number."""
    verdict: ControlVerdict
    """Whether that is as it must be."""

    @property
    def title(self) -> str:
        """What the control is called."""
        return CONTROLS[self.control].title if self.control in CONTROLS else self.control.replace("_", " ")

    @property
    def in_words(self) -> str:
        """What was found, in a few words."""
        return _FOUND.get((self.verdict.expected, self.verdict.outcome), self.verdict.outcome)


def judged(report: Report, *, alpha: float = 0.05) -> Report:
    """The report with verdicts about its controls, by what the metrics' specs expect of them.

    Each main number is compared with a control's by the test of ``compare_reports``, paired where both are over the same units; p-values
    are corrected for the number of all metrics and controls (Holm 1979). A control is beaten where the SAE is better by more than noise; it
    is unmoved where no difference is more than noise.

    Args:
        report: A report, with controls or without.
        alpha: The level of the tests.

    Raises:
        ConfigError: If the level is out of range.
    """
    own = _main_numbers(report)
    others = {name: _main_numbers(report.control(name)) for name in report.controls}
    tested = {name: other for name, other in others.items() if _in_common(own, other)}
    differences = compare_reports({_SAE: own, **tested}, alpha=alpha).differences if tested else []
    found = {(each.name, each.number): each for each in differences}
    controls = {name: replace(each, verdicts=dict(_verdicts(name, each, found))) for name, each in report.controls.items()}
    return replace(report, controls=controls)


def control_findings(report: Report) -> list[ControlFinding]:
    """What was found of the controls of a report, a finding for each metric and control, in the order of the metrics."""
    return [
        ControlFinding(metric, name, result.estimates[verdict.number], control.results[metric].estimates[verdict.number], verdict)
        for metric, result in report.results()
        for name, control in report.controls.items()
        if (verdict := control.verdicts.get(metric)) is not None and verdict.number in result.estimates
    ]


def control_warnings(report: Report) -> Iterator[str]:
    """What a reader of the numbers must know: on which metrics the SAE does not beat a control, or a control does what it must not."""
    for each in control_findings(report):
        if each.verdict.outcome == "not as expected":
            number, own, other = f"{each.metric}/{each.verdict.number}", _value(each.own), _value(each.other)
            if each.verdict.expected == "unmoved":
                yield f"{number} moves with the control {each.title!r}, which changes nothing that it is about ({own}, control {other})"
            else:
                yield f"the SAE does not beat the control {each.title!r} on {number} by more than noise ({own}, control {other})"


def _value(estimate: Estimate) -> str:
    return "absent" if estimate.value is None else with_error(estimate.value, estimate.stderr)


def _main_numbers(report: Report) -> Report:
    """The report with the main number of each metric alone."""

    def main(metric: str) -> dict[str, Estimate]:
        estimates = dict(report.results())[metric].estimates
        headline = spec_of_result(metric, estimates).headline
        return {headline: estimates[headline]} if headline in estimates else {}

    metrics = {name: replace(result, estimates=main(name)) for name, result in report.metrics.items()}
    return replace(report, sanity=replace(report.sanity, estimates=main("sanity")), metrics=metrics)


def _in_common(first: Report, second: Report) -> bool:
    present = [{key for key, estimate in report.estimates() if estimate.value is not None} for report in (first, second)]
    return bool(present[0] & present[1])


def _verdicts(name: str, control: Control, found: dict[tuple[str, str], Difference]) -> Iterator[tuple[str, ControlVerdict]]:
    for metric, result in control.results.items():
        spec = spec_of_result(metric, result.estimates)
        expected = spec.controls.get(name)
        if expected is not None and spec.headline in result.estimates:
            difference = found.get((name, spec.full(spec.headline)))
            p = None if difference is None else difference.corrected_p
            yield metric, ControlVerdict(spec.headline, expected, _outcome(expected, difference), p)


def _outcome(expected: Expectation, found: Difference | None) -> Outcome:
    if found is None or found.p is None:
        return "not tested"
    moved = found.verdict in ("higher", "lower")
    # the difference is the control's minus the SAE's, so the control is to be worse
    held = found.judgement == "worse" if expected == "beaten" else not moved
    return "as expected" if held else "not as expected"
