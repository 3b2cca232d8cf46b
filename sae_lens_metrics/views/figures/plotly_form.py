"""Figures as plotly.js takes them."""

import math
from typing import Any

from sae_lens_metrics.views.figures.drawable import printable, shortened
from sae_lens_metrics.views.figures.figure import Figure, Level, Series
from sae_lens_metrics.views.figures.layout import ROWS, bar_width, categories, log_range, log_ticks, positions
from sae_lens_metrics.views.figures.palette import COLOURS, colour_index, level_colours, symbol_index

__all__ = ["to_plotly"]

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star")
_DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")
_GRID = "rgba(128, 128, 128, 0.3)"
_HEIGHT, _ROW = 420, 18
_CLEAR = "rgba(0, 0, 0, 0)"
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;"})
"""What plotly.js reads as its markup or, where a page has MathJax, as mathematics."""


def to_plotly(figure: Figure) -> dict[str, Any]:
    """The figure as JSON types, ``{"data": [...], "layout": {...}}``, without title and caption, which a page writes as text.

    Backgrounds are transparent and the text has no colour of its own, for pages on light and on dark; there is a height only where
    many rows need one.

    Args:
        figure: The figure.
    """
    return {"data": [_trace(figure, place) for place in range(len(figure.series))], "layout": _layout(figure)}


def _trace(figure: Figure, place: int) -> dict[str, Any]:
    series = figure.series[place]
    index = colour_index(place, series.colour)
    common = {"name": _text(series.name, 60), "hoverinfo": "text", "showlegend": bool(series.name)}
    if series.mark == "histogram":
        return common | _histogram(series, COLOURS[index])
    along, across = ("y", "x") if figure.sideways else ("x", "y")
    trace = common | {along: positions(figure, series), across: list(series.y), "hovertext": _hover(series)}
    if series.error is not None:
        error = {"type": "data", "array": list(series.error), "color": COLOURS[index], "thickness": 1.5, "width": 3}
        trace[f"error_{across}"] = error
    if series.mark == "bar":
        # an error of the bar's own colour can be seen on it, too, if the bar is paler
        marker = {"color": _pale(COLOURS[index], 0.6), "line": {"color": COLOURS[index], "width": 1}}
        return trace | {"type": "bar", "width": bar_width(figure), "orientation": "h" if figure.sideways else "v", "marker": marker}
    marker = {"color": COLOURS[index], "symbol": _SYMBOLS[symbol_index(place, series)], "size": 8}
    mode = "lines+markers" if series.mark == "line" else "markers"
    return trace | {"type": "scatter", "mode": mode, "marker": marker, "line": {"color": COLOURS[index]}}


def _histogram(series: Series, colour: str) -> dict[str, Any]:
    """Steps, which can be seen through where several lie on each other; the last one ends at the last edge."""
    edges = [x for x in series.x if not isinstance(x, str)]
    bins = [f"{low:.4g} to {high:.4g}: {_number(y)}" for low, high, y in zip(edges, edges[1:], series.y, strict=False)]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": edges,
        "y": [*series.y, *series.y[-1:]],
        "hovertext": [f"{_text(series.name, 120)}<br>{text}" for text in [*bins, *bins[-1:]]],
        "line": {"shape": "hv", "color": colour, "width": 1.5},
        "fill": "tozeroy",
        "fillcolor": _pale(colour, 0.25),
    }


def _pale(colour: str, opacity: float) -> str:
    return f"rgba({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))}, {opacity})"


def _hover(series: Series) -> list[str]:
    errors = series.error or [None] * len(series.y)
    what = series.labels or [x if isinstance(x, str) else f"{x:.6g}" for x in series.x]
    return [
        f"{_text(series.name, 120)}<br>{_text(name, 160)}: {_number(y)}{'' if error is None else f' ± {error:.2g}'}"
        for name, y, error in zip(what, series.y, errors, strict=True)
    ]


def _layout(figure: Figure) -> dict[str, Any]:
    grid = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": _GRID, "automargin": True}
    names = categories(figure)
    along: dict[str, Any] = grid | {"title": {"text": _text(figure.x_label, 120)}}
    across = grid | {"title": {"text": _text(figure.y_label, 120)}}
    if figure.log_x:
        low, high = log_range(figure)
        ticks = log_ticks(low, high)
        along |= {
            "type": "log",
            "range": [math.log10(low), math.log10(high)],
            "tickvals": ticks,
            "ticktext": [f"{tick:g}" for tick in ticks],
        }
    if names:
        along |= {"tickvals": list(range(len(names))), "ticktext": [_text(name, 40) for name in names], "showgrid": figure.sideways}
        along["range"] = [len(names) - 0.5, -0.5] if figure.sideways else [-0.5, len(names) - 0.5]  # the first one on top
    if any(series.mark == "histogram" for series in figure.series):
        across["rangemode"] = "tozero"
    layout: dict[str, Any] = {
        "xaxis": across if figure.sideways else along,
        "yaxis": along if figure.sideways else across,
        "shapes": [_line(figure, level, i) for i, level in enumerate(figure.levels)],
        "paper_bgcolor": _CLEAR,
        "plot_bgcolor": _CLEAR,
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 60, "r": 20, "t": 20, "b": 50},
    }
    if figure.sideways and len(names) > ROWS:
        layout["height"] = _HEIGHT + _ROW * (len(names) - ROWS)
    return layout


def _line(figure: Figure, level: Level, i: int) -> dict[str, Any]:
    ends = ("y", "x") if figure.sideways else ("x", "y")
    line = {"color": level_colours(figure)[i], "width": 1.5, "dash": _DASHES[i % len(_DASHES)]}
    place = {f"{ends[0]}ref": "paper", f"{ends[0]}0": 0, f"{ends[0]}1": 1, f"{ends[1]}0": level.value, f"{ends[1]}1": level.value}
    return {"type": "line", "name": f"{_text(level.name, 60)}: {_number(level.value)}", "showlegend": True, "line": line, **place}


def _number(value: float | None) -> str:
    return "absent" if value is None else f"{value:.4g}"


def _text(text: str, length: int) -> str:
    return shortened(printable(text), length).translate(_ESCAPES)
