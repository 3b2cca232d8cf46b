"""Numbers in one unit from the lowest to the highest, down the page."""

from collections.abc import Mapping

from sae_lens_metrics.metrics.figure_specs import LadderFigure
from sae_lens_metrics.metrics.spec import MetricSpec
from sae_lens_metrics.results import Report
from sae_lens_metrics.views.figures.figure import Figure, Series
from sae_lens_metrics.views.figures.groups import Group, groups
from sae_lens_metrics.views.figures.numbers import ERRORS
from sae_lens_metrics.views.figures.values import estimate

__all__ = ["ladder_figure"]


def ladder_figure(spec: MetricSpec, figure: LadderFigure, reports: Mapping[str, Report]) -> list[Figure]:
    """The figure, if any SAE has any of the numbers.

    Args:
        spec: The metric; its baselines stand with the figure's numbers.
        figure: What to draw.
        reports: Reports by the SAEs' names.
    """
    labels = {spec.full(name): label for name, label in {**figure.numbers, **spec.baselines()}.items()}
    order = _order(labels, reports)
    if not order:
        return []
    series = [_of_group(group, labels, order) for group in groups(reports)]
    drawn = [each for each in series if any(value is not None for value in each.y)]
    caption = " ".join(text for text in (figure.caption, ERRORS, figure.paper) if text)
    return [Figure(spec.full(figure.name), figure.title, caption, "", figure.x_label, drawn, sideways=True)]


def _order(labels: Mapping[str, str], reports: Mapping[str, Report]) -> list[str]:
    """The numbers from the lowest to the highest, as the first SAE that has each of them has it."""
    first: dict[str, float] = {}
    for report in reports.values():
        for number in labels:
            found = estimate(report, number)
            if found is not None and found.value is not None:
                first.setdefault(number, found.value)
    return sorted(first, key=first.__getitem__)


def _of_group(group: Group, labels: Mapping[str, str], order: list[str]) -> Series:
    found = [(labels[number], sae, estimate(report, number)) for number in order for sae, report in group.reports.items()]
    return Series(
        group.name,
        [label for label, _, _ in found],
        [None if each is None else each.value for _, _, each in found],
        [None if each is None else each.stderr for _, _, each in found],
        labels=[f"{sae}, {label}" for label, sae, _ in found],
        colour=group.colour,
    )
