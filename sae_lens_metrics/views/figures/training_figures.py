"""Figures of numbers over a training run."""

from collections.abc import Iterator, Mapping

from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.metrics.spec import MetricSpec, Number
from sae_lens_metrics.results.history import History
from sae_lens_metrics.views.figures.figure import Figure, Level, Series
from sae_lens_metrics.views.figures.numbers import ERRORS
from sae_lens_metrics.views.figures.wording import better

__all__ = ["training_figures"]

_LITTLE = "During training less text and fewer latents are looked at than in an evaluation, so its numbers may differ."


def training_figures(histories: Mapping[str, History]) -> list[Figure]:
    """A figure for each number of each metric that is to be followed, with a line for each SAE.

    Args:
        histories: Histories by the SAEs' or runs' names.
    """
    return [figure for spec, names in _numbers(histories) for name in names for figure in _figure(histories, spec, name)]


def _numbers(histories: Mapping[str, History]) -> Iterator[tuple[MetricSpec, list[str]]]:
    """The numbers to show by metric: those marked to be followed, or the main one."""
    there: dict[str, dict[str, None]] = {}
    for key in (key for history in histories.values() for point in history.points for key in point.values):
        metric, _, name = key.partition("/")
        if name:
            there.setdefault(metric, {})[name] = None
    for metric, names in there.items():
        spec = spec_of_result(metric, names)
        yield spec, spec.followed()


def _figure(histories: Mapping[str, History], spec: MetricSpec, name: str) -> Iterator[Figure]:
    key, number = spec.full(name), spec.number(name)
    series = [each for place, (sae, history) in enumerate(histories.items()) for each in _line(sae, history, key, place)]
    if series:
        caption = " ".join(text for text in (spec.meaning, better(number), ERRORS, _LITTLE) if text)
        title = f"{spec.title}: {number.label}"
        yield Figure(f"training/{spec.name}_{name}", title, caption, "training samples (tokens)", number.label, series, _levels(number))


def _line(sae: str, history: History, key: str, place: int) -> list[Series]:
    points = [point for point in history.points if key in point.values]
    if not points:
        return []
    errors = [point.values.get(f"{key}_stderr") for point in points]
    return [Series(sae, [float(point.samples) for point in points], [point.values[key] for point in points], errors, "line", colour=place)]


def _levels(number: Number) -> list[Level]:
    if number.better == "one":
        return [Level("best", 1.0)]
    return [Level("no difference", 0.0)] if number.difference_of else []
