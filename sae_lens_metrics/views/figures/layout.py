"""Where marks are: the same for every library that draws them."""

import math

from sae_lens_metrics.views.figures.figure import Figure, Series

__all__ = ["ROWS", "bar_width", "categories", "log_range", "log_ticks", "positions"]

ROWS = 12
"""Categories that fit below each other in a figure of the usual height."""
_BARS, _DOTS = 0.8, 0.5
"""How much of a category's room its marks take."""
_ROOM = 1.3
_SHORT, _LONG = 12, 10_000


def categories(figure: Figure) -> list[str]:
    """The categories in their order; none if x is a number."""
    return list(dict.fromkeys(each for series in figure.series for each in series.x if isinstance(each, str)))


def positions(figure: Figure, series: Series) -> list[float]:
    """Where the marks of a series are: at x, or about the index of their category, beside those of the other series.

    Args:
        figure: The figure.
        series: One of its series.
    """
    place = {category: float(i) for i, category in enumerate(categories(figure))}
    shift = _shift(figure, series)
    return [place[x] + shift if isinstance(x, str) else x for x in series.x]


def bar_width(figure: Figure) -> float:
    """The width of a bar, where a category has 1."""
    return _BARS / len(figure.series)


def log_range(figure: Figure) -> tuple[float, float]:
    """The ends of a logarithmic axis: with room about the outer marks, and not so short that it magnifies what is nearly the same."""
    x = [each for series in figure.series for each in series.x if not isinstance(each, str)]
    return min(x) / _ROOM, max(x) * _ROOM


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis, closer to each other where it is short.

    Args:
        low: The axis's lower end, above 0.
        high: Its upper end.
    """
    steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8) if high / low < _SHORT else (1, 2, 5) if high / low < _LONG else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    places = [float(f"{step}e{decade}") for decade in decades for step in steps]
    return [place for place in places if low <= place <= high]


def _shift(figure: Figure, series: Series) -> float:
    """Dots without errors may lie on each other; errors and bars would hide what is below them."""
    beside = [each for each in figure.series if each.mark == "bar" or each.error is not None]
    if not any(each is series for each in beside):
        return 0.0
    room = _BARS if series.mark == "bar" else _DOTS
    index = next(i for i, each in enumerate(beside) if each is series)
    return room * ((index + 0.5) / len(beside) - 0.5)
