"""What to draw of a metric, as data: the views know how, and no metric by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["DistributionFigure", "FigureSpec", "LadderFigure", "NumbersFigure", "RowsFigure"]


@dataclass(frozen=True)
class NumbersFigure:
    """A few numbers of each SAE beside what they are judged by: bars for few SAEs, points against L0 for many."""

    name: str
    """The figure's name within the metric's section."""
    title: str
    """What it shows."""
    caption: str
    """How to read it, with the paper's figure."""
    y_label: str
    """What the numbers are, with their unit."""
    numbers: Mapping[str, str]
    """Names of the metric's numbers, with what to call them."""
    baselines: bool = False
    """Whether the metric's baselines stand beside them."""


@dataclass(frozen=True)
class DistributionFigure:
    """A distribution for each of a few SAEs, as shares: of a histogram of the result, or of a column of a table."""

    name: str
    title: str
    caption: str
    x_label: str
    y_label: str
    histogram: str = ""
    """Name of the result's histogram."""
    table: str = ""
    """Or of a table of it,"""
    column: str = ""
    """and the column whose values are counted."""
    edges: tuple[float, ...] = ()
    """Edges to count between; by default quarters of decades of the column's values, which are positive then."""


@dataclass(frozen=True)
class RowsFigure:
    """A value for each row of a table, such as a task, with the baselines that stand in the same row."""

    name: str
    title: str
    caption: str
    x_label: str
    """What the values are, with their unit."""
    table: str
    """Name of the table."""
    key: str
    """Column with the row's name."""
    value: str
    """Column with the value; ``…_stderr`` beside it holds its error, and baselines are in columns of their own names."""
    group: str = ""
    """Column with the group, by which rows are sorted and which is added to names that do not say it."""
    whiskers: bool = False
    """Whether values have errors."""
    paper: str = ""
    """The paper's figure, as a sentence."""


@dataclass(frozen=True)
class LadderFigure:
    """Numbers in one unit from the lowest to the highest, down the page."""

    name: str
    title: str
    caption: str
    x_label: str
    numbers: Mapping[str, str] = field(default_factory=dict)
    """Names of the metric's numbers, with what to call them; the metric's baselines stand with them."""
    paper: str = ""
    """The paper's figure, as a sentence."""


FigureSpec = NumbersFigure | DistributionFigure | RowsFigure | LadderFigure
