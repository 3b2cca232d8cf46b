"""A figure as data: what it shows, free of the library that draws it."""

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Figure", "Level", "Mark", "Series"]

Mark = Literal["bar", "dot", "line", "histogram"]


@dataclass(frozen=True)
class Series:
    """One row of marks with a common name and colour."""

    name: str
    """What the legend says."""
    x: list[float] | list[str]
    """Positions or categories; of a histogram the n + 1 edges of its bins."""
    y: list[float | None]
    """Values, ``None`` where there is none; of a histogram the n heights."""
    error: list[float | None] | None = None
    """Standard errors of the values."""
    mark: Mark = "dot"
    """How it is drawn."""
    labels: list[str] | None = None
    """What each mark is, where x does not say it: shown on pointing at it."""
    colour: int | None = None
    """Which colour of the palette it has; by default that of its place among the figure's series."""
    symbol: int | None = None
    """Which symbol its dots have; by default that of its colour."""


@dataclass(frozen=True)
class Level:
    """A value across the whole figure to compare with."""

    name: str
    """What it is."""
    value: float
    """Where it is."""


@dataclass(frozen=True)
class Figure:
    """A figure with one pair of axes."""

    name: str
    """Section and name, such as ``"overlap/by_layer"``; unique within a set of figures."""
    title: str
    """What it shows, in a few words."""
    caption: str
    """How to read it, and the figure of the paper that it corresponds to."""
    x_label: str
    """What x is, with its unit; empty for categories that speak for themselves."""
    y_label: str
    """What the values are, with their unit."""
    series: list[Series]
    """What is drawn."""
    levels: list[Level] = field(default_factory=list)
    """Values to compare with."""
    log_x: bool = False
    """Whether x is on a logarithmic axis."""
    sideways: bool = False
    """Whether categories go down the page, with values to the right: for many of them, or long names."""
