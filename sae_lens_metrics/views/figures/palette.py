"""Colours of series."""

from itertools import cycle, islice

from sae_lens_metrics.views.figures.figure import Figure, Series

__all__ = ["COLOURS", "colour_index", "level_colours", "symbol_index"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b8609a", "#b57c00", "#3596d4", "#8f8a00", "#808080")
"""Those of Okabe and Ito (2008), which the colour-blind can tell apart; the light ones darkened and black made grey, so that each has a
contrast of 3 to 1 at least both on white and on a dark page."""


def colour_index(place: int, colour: int | None) -> int:
    """Which colour a series has.

    Args:
        place: Its place among the figure's series.
        colour: What it asks for.
    """
    return (place if colour is None else colour) % len(COLOURS)


def symbol_index(place: int, series: Series) -> int:
    """Which symbol the dots of a series have.

    Args:
        place: Its place among the figure's series.
        series: The series.
    """
    return colour_index(place, series.colour if series.symbol is None else series.symbol)


def level_colours(figure: Figure) -> list[str]:
    """A colour for each level, from the end of the palette: first those that no series of the figure has."""
    taken = {colour_index(place, series.colour) for place, series in enumerate(figure.series)}
    free = [index for index in range(len(COLOURS)) if index not in taken] or list(range(len(COLOURS)))
    return [COLOURS[index] for index in islice(cycle(reversed(free)), len(figure.levels))]
