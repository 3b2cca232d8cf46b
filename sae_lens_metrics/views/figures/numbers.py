"""A few numbers of several SAEs beside what they are judged by: bars for few SAEs, points against L0 for more."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sae_lens_metrics.metrics.figure_specs import NumbersFigure
from sae_lens_metrics.metrics.sanity.spec import L0
from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.results import Estimate, Report
from sae_lens_metrics.views.figures.figure import Figure, Level, Series
from sae_lens_metrics.views.figures.groups import FEW, groups
from sae_lens_metrics.views.figures.palette import COLOURS
from sae_lens_metrics.views.figures.values import common, estimate

__all__ = ["ERRORS", "Numbers", "numbers_figure"]

ERRORS = "Whiskers are one standard error to either side."


@dataclass(frozen=True)
class Numbers:
    """What to show of each SAE."""

    name: str
    """The figure's name."""
    title: str
    """Its title."""
    caption: str
    """How to read it."""
    y_label: str
    """What the numbers are, with their unit."""
    numbers: Mapping[str, str]
    """Numbers by full name, with what to call them."""
    baselines: Mapping[str, str] = field(default_factory=dict)
    """Numbers to judge them by, by full name, with what to call them."""

    def figures(self, reports: Mapping[str, Report]) -> list[Figure]:
        """Bars for few SAEs, points against L0 for more; no figure if no SAE has any of the numbers."""
        return self.bars(reports) if len(reports) <= FEW else self.against_l0(reports)

    def bars(self, reports: Mapping[str, Report]) -> list[Figure]:
        """A bar for each number and SAE; a constant is a line across."""
        there = {number: _present(reports, number) for number in {**self.numbers, **self.baselines}}
        if not any(there[number] for number in self.numbers):
            return []
        labels = {**self.numbers, **self.baselines}
        constants = {number: _constant(_shown_with(reports, self.numbers), number) for number in there}
        shown = [number for number, found in there.items() if found and constants[number] is None]
        series = []
        for group in groups(reports):
            (report,) = group.reports.values()
            estimates = [estimate(report, number) for number in shown]
            if any(estimates):
                x = [labels[number] for number in shown]
                series.append(Series(group.name, x, _values(estimates), _errors(estimates), "bar", colour=group.colour))
        levels = [Level(labels[number], value) for number, value in constants.items() if value is not None]
        return [Figure(self.name, self.title, f"{self.caption} {ERRORS}", "", self.y_label, series, levels)]

    def against_l0(self, reports: Mapping[str, Report]) -> list[Figure]:
        """A point for each SAE and number at the SAE's L0.

        A baseline that all of these SAEs have, and the same, is a line across; of others there are points, too.
        """
        placed = {name: report for name, report in reports.items() if _l0(report) is not None}
        numbers = {number: label for number, label in self.numbers.items() if _present(placed, number)}
        if not numbers:
            return []
        levels, own = self._baselines(_shown_with(placed, numbers))
        parts = groups(reports, most=max(1, (len(COLOURS) - len(own)) // len(numbers)))
        series = []
        for i, (number, label) in enumerate(numbers.items()):
            for part in parts:
                name = part.name if len(numbers) == 1 else label if len(parts) == 1 else f"{label}, {part.name}"
                series += _points(name, part.reports, number, i * len(parts) + part.colour)
        for i, (number, label) in enumerate(own.items(), start=1):
            series += _points(label, placed, number, len(COLOURS) - i)
        caption = f"{self.caption} One point per SAE. {ERRORS}{_left_out(len(reports) - len(placed))}"
        return [Figure(self.name, self.title, caption, "L0: active latents per token", self.y_label, series, levels, log_x=True)]

    def _baselines(self, reports: Mapping[str, Report]) -> tuple[list[Level], dict[str, str]]:
        levels, own = [], {}
        for number, label in self.baselines.items():
            if (value := _common(reports, number)) is not None:
                levels.append(Level(label, value))
            elif _present(reports, number):
                own[number] = label
        return levels, own


def numbers_figure(spec: MetricSpec, figure: NumbersFigure) -> Numbers:
    """What to show of each SAE, by what the metric says about itself.

    Args:
        spec: The metric.
        figure: What to draw.
    """
    baselines = {spec.full(name): label for name, label in spec.baselines().items()} if figure.baselines else {}
    shown = {spec.full(name): label for name, label in figure.numbers.items()}
    return Numbers(spec.full(figure.name), figure.title, figure.caption, figure.y_label, shown, baselines)


def _points(name: str, reports: Mapping[str, Report], number: str, colour: int) -> list[Series]:
    found = [(sae, _l0(report), estimate(report, number)) for sae, report in reports.items()]
    there = [(sae, l0, each) for sae, l0, each in found if l0 is not None and each is not None]
    if not there:
        return []
    saes, x, estimates = (list(column) for column in zip(*there, strict=True))
    return [Series(name, x, _values(estimates), _errors(estimates), "dot", saes, colour)]


def _present(reports: Mapping[str, Report], number: str) -> list[Estimate]:
    return [found for report in reports.values() if (found := estimate(report, number)) is not None]


def _shown_with(reports: Mapping[str, Report], numbers: Iterable[str]) -> dict[str, Report]:
    """The SAEs that have any of the numbers, and so a place in the figure."""
    return {name: report for name, report in reports.items() if any(estimate(report, number) is not None for number in numbers)}


def _common(reports: Mapping[str, Report], number: str) -> float | None:
    """The value that every one of the SAEs has."""
    found = [estimate(report, number) for report in reports.values()]
    return common([None if each is None else each.value for each in found])


def _constant(reports: Mapping[str, Report], number: str) -> float | None:
    """The value that every SAE has of a number that comes from theory, not from any sample."""
    return _common(reports, number) if all(each.n == 0 for each in _present(reports, number)) else None


def _l0(report: Report) -> float | None:
    """L0 as a place on a logarithmic axis."""
    found = estimate(report, L0)
    return found.value if found is not None and found.value is not None and found.value > 0 else None


def _values(estimates: list[Estimate | None]) -> list[float | None]:
    return [None if each is None else each.value for each in estimates]


def _errors(estimates: list[Estimate | None]) -> list[float | None]:
    return [None if each is None else each.stderr for each in estimates]


def _left_out(missing: int) -> str:
    return f" Left out, as they have no L0: {missing} SAE{'s' if missing > 1 else ''}." if missing else ""
