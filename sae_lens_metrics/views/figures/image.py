"""Figures as PNG images, for W&B and wherever nothing can be pointed at."""

import math
import textwrap
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

from sae_lens_metrics.views.figures.drawable import printable, shortened
from sae_lens_metrics.views.figures.figure import Figure, Series
from sae_lens_metrics.views.figures.layout import ROWS, bar_width, categories, log_range, log_ticks, positions
from sae_lens_metrics.views.figures.palette import COLOURS, colour_index, level_colours, symbol_index

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

__all__ = ["to_png"]

_DPI, _WIDTH, _HEIGHT, _ROW = 100, 900, 560, 17
_PAD = 0.12
"""Inches around everything."""
_INK, _GRID = "#222222", "#dddddd"
_SYMBOLS = ("o", "s", "D", "^", "P", "X", "v", "*")
_DASHES = ((0, (4, 2)), (0, (1, 2)), (0, (6, 2, 1, 2)), (0, (8, 3)), (0, (8, 3, 1, 3)))
_LEGEND = 12
"""Entries of a legend; it says how many more there are."""


def to_png(figure: Figure) -> bytes:
    """The figure as an image, 900 pixels wide and 560 high, or higher where many rows need it, on white.

    It neither changes the user's settings of matplotlib nor follows them, and knows nothing of pyplot, which a training run may use.

    Args:
        figure: The figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows = max(0, len(categories(figure)) - ROWS) if figure.sideways else 0
    layout = ConstrainedLayoutEngine(w_pad=_PAD, h_pad=_PAD)
    drawing = Drawing((_WIDTH / _DPI, (_HEIGHT + _ROW * rows) / _DPI), _DPI, facecolor="white", edgecolor="white", layout=layout)
    axes = drawing.add_subplot()
    axes.margins(0.05)
    drawn = [(_draw(axes, figure, place), series.name) for place, series in enumerate(figure.series)]
    drawn += [(_level(axes, figure, place), f"{level.name}: {level.value:.4g}") for place, level in enumerate(figure.levels)]
    _axes(axes, figure)
    _legend(drawing, drawn)
    file = BytesIO()
    FigureCanvasAgg(drawing).print_png(file)
    return file.getvalue()


# --- marks -------------------------------------------------------------------------------------------------------------------


def _draw(axes: "Axes", figure: Figure, place: int) -> Any:
    """Draws a series; returns what stands for it in the legend."""
    series = figure.series[place]
    index = colour_index(place, series.colour)
    if series.mark == "histogram":
        heights, edges = [_nan(y) for y in series.y], [x for x in series.x if not isinstance(x, str)]
        axes.stairs(heights, edges, fill=True, color=COLOURS[index], alpha=0.25, linewidth=0)
        return axes.stairs(heights, edges, color=COLOURS[index], linewidth=1.5)
    if series.mark == "bar":
        return _bars(axes, figure, series, COLOURS[index])
    return _dots(axes, figure, series, COLOURS[index], _SYMBOLS[symbol_index(place, series)])


def _bars(axes: "Axes", figure: Figure, series: Series, colour: str) -> Any:
    places, heights = positions(figure, series), [_nan(y) for y in series.y]
    style: dict[str, Any] = {
        "color": colour,
        "linewidth": 0,
        "ecolor": _INK,
        "capsize": 3,
        "error_kw": {"elinewidth": 1.2, "capthick": 1.2},
    }
    if figure.sideways:
        return axes.barh(places, heights, bar_width(figure), xerr=_errors(series), **style)
    return axes.bar(places, heights, bar_width(figure), yerr=_errors(series), **style)


def _dots(axes: "Axes", figure: Figure, series: Series, colour: str, symbol: str) -> Any:
    places, values = positions(figure, series), [_nan(y) for y in series.y]
    errors = _errors(series)
    x, y, x_errors, y_errors = (values, places, errors, None) if figure.sideways else (places, values, None, errors)
    return axes.errorbar(
        x,
        y,
        y_errors,
        x_errors,
        fmt=symbol,
        color=colour,
        linestyle="-" if series.mark == "line" else "none",
        linewidth=1.5,
        markersize=9 if symbol == "*" else 6,
        markeredgewidth=0,
        elinewidth=1.2,
        capsize=2,
        capthick=1.2,
        solid_capstyle="butt",
    )


def _level(axes: "Axes", figure: Figure, place: int) -> Any:
    across = axes.axvline if figure.sideways else axes.axhline
    colour, dash = level_colours(figure)[place], _DASHES[place % len(_DASHES)]
    return across(figure.levels[place].value, color=colour, linestyle=dash, linewidth=1.5, zorder=1.5)


def _errors(series: Series) -> list[float] | None:
    return None if series.error is None else [_nan(error) for error in series.error]


def _nan(value: float | None) -> float:
    """What matplotlib leaves out."""
    return math.nan if value is None else value


# --- axes and words ----------------------------------------------------------------------------------------------------------


def _axes(axes: "Axes", figure: Figure) -> None:
    """Every colour, font and tick is set here: the user's style may be dark, and set text with LaTeX."""
    axes.set_facecolor("white")
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=_INK, linewidth=0.8)
    axes.tick_params(
        which="both", color=_INK, direction="out", length=3.5, width=0.8, pad=4, top=False, right=False, bottom=True, left=True
    )
    along, across = ("y", "x") if figure.sideways else ("x", "y")
    axes.grid(visible=False)
    axes.grid(axis="both" if figure.sideways or not categories(figure) else across, color=_GRID, linewidth=0.8, linestyle="-", alpha=1.0)
    if figure.log_x:
        axes.set_xscale("log")
        axes.set_xlim(log_range(figure))
    axes.minorticks_off()
    _ticks(axes, across, [])
    _ticks(axes, along, categories(figure), wrapped=not figure.sideways)
    if figure.sideways:
        axes.invert_yaxis()
    x, y = (figure.y_label, figure.x_label) if figure.sideways else (figure.x_label, figure.y_label)
    axes.set_xlabel(_text(x, 100), labelpad=4, **_words(11))
    axes.set_ylabel(_text(y, 60), labelpad=4, **_words(11))
    axes.set_title(_text(figure.title, 90), loc="left", pad=8, **_words(13))


def _ticks(axes: "Axes", axis: str, names: list[str], *, wrapped: bool = False) -> None:
    """Categories, or round numbers: with ticks of its own choice matplotlib would set them as the user's settings say."""
    limits: Callable[..., Any] = getattr(axes, f"set_{axis}lim")
    if names:
        texts = [_text(name, 40) for name in names]
        places, low, high = [float(i) for i in range(len(names))], -0.6, len(names) - 0.4
        texts = [textwrap.fill(text, 20) for text in texts] if wrapped else texts
    else:
        low, high = getattr(axes, f"get_{axis}lim")()
        places = log_ticks(low, high) if getattr(axes, f"get_{axis}scale")() == "log" else _round_numbers(low, high)
        texts = [f"{place:,.6g}" for place in places]
    getattr(axes, f"set_{axis}ticks")(places, labels=texts, **_words(9 if len(names) > ROWS else 10))
    limits(low, high)


def _round_numbers(low: float, high: float) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    places = MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [round(float(place), 12) for place in places if low <= place <= high]


def _legend(drawing: "Drawing", drawn: list[tuple[Any, str]]) -> None:
    """Below everything, where it covers nothing; an only SAE may have no name."""
    named = [(handle, _text(name, 60)) for handle, name in drawn if name]
    handles, texts = [handle for handle, _ in named[:_LEGEND]], [text for _, text in named[:_LEGEND]]
    if not texts:
        return
    if len(named) > _LEGEND:
        texts[-1] += f"   … and {len(named) - _LEGEND} more"
    columns = max(1, min(len(texts), 110 // (6 + max(map(len, texts)))))
    # names that begin with an underscore would be left out, so the entries get theirs afterwards
    style: dict[str, Any] = {"numpoints": 1, "fontsize": 10, "frameon": False}
    legend = drawing.legend(handles, ["name"] * len(texts), loc="outside lower left", ncols=columns, **style)
    for entry, text in zip(legend.get_texts(), texts, strict=True):
        entry.set(text=text, **_words(10))


def _words(size: float) -> dict[str, Any]:
    """Properties of every text: nothing of it is mathematics."""
    return {"font": _font(), "fontsize": size, "color": _INK, "parse_math": False, "usetex": False}


@cache
def _font() -> Any:
    """The font that comes with matplotlib."""
    from pathlib import Path

    import matplotlib
    from matplotlib.font_manager import FontProperties

    return FontProperties(fname=Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@cache
def _letters() -> frozenset[int]:
    """What the font has; of anything else matplotlib would warn, every time."""
    from matplotlib.font_manager import get_font

    return frozenset(get_font(_font().get_file()).get_charmap())


def _text(text: str, length: int) -> str:
    return "".join(letter if ord(letter) in _letters() else "\ufffd" for letter in shortened(printable(text), length))
