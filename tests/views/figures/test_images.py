"""Figures as images: whole, readable, and without a trace in the user's matplotlib."""

import subprocess
import sys
import warnings
from io import BytesIO

import matplotlib
import numpy as np
import pytest
from figure_reports import HOSTILE, history, report
from PIL import Image
from slow import slow_but

from sae_lens_metrics.views.figures import Figure, Series, paper_figures, to_png, training_figures
from sae_lens_metrics.views.figures.figure import Level


def pixels(figure):
    return np.asarray(Image.open(BytesIO(to_png(figure))).convert("RGB")).astype(int)


def settings():
    """Matplotlib's settings as they are stored: asked for the backend in any other way, it would choose one."""
    return dict(dict.items(matplotlib.rcParams))


def bars(values=(0.5, 1.0), name="a", **options):
    return Figure("a/b", "title", "", "", "y", [Series(name, [f"c{i}" for i in range(len(values))], list(values), mark="bar")], **options)


@pytest.mark.parametrize(
    "names", slow_but([["one"], [f"sae {i}" for i in range(8)], HOSTILE], ["one"].__eq__), ids=["one", "many", "hostile"]
)
def test_every_figure_is_an_image_of_the_expected_size(names):
    figures = paper_figures({name: report(i) for i, name in enumerate(names)})
    figures += training_figures({name: history(i) for i, name in enumerate(names)})[:3]
    for figure in figures:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            image = pixels(figure)
        assert image.shape[1] == 900
        assert image.shape[0] == 560 or (figure.name == "probe/by_task" and image.shape[0] > 560)
        edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert (edge == 255).all(), figure.name  # nothing is cut off
        assert 0.01 < (image.min(axis=2) < 250).mean() < 0.9


def test_bars_are_as_high_as_their_values():
    image = pixels(bars((0.5, 1.0)))
    blue = (image == [0x00, 0x72, 0xB2]).all(axis=2)
    blue[490:] = False  # the legend
    heights = np.unique(blue.sum(axis=0))
    low, high = sorted(height for height in heights if height > 10)
    assert high == pytest.approx(2 * low, abs=3)


def test_an_only_sae_needs_no_name():
    named, unnamed = pixels(bars(name="a")), pixels(bars(name=""))
    assert (named[500:] < 100).any()
    blue = (unnamed == [0x00, 0x72, 0xB2]).all(axis=2)
    assert blue.sum(axis=0).max() > 430  # the room of the legend is the bars'


def test_a_symbol_of_its_own_has_the_colour_of_its_series():
    star, disc = (pixels(Figure("a/b", "", "", "", "", [Series("", ["a"], [1.0], colour=0, symbol=i)])) for i in (7, None))
    areas = [(image == [0x00, 0x72, 0xB2]).all(axis=2).sum() for image in (star, disc)]
    assert 0 < areas[0] != areas[1] > 0


def test_61_rows_have_room():
    figure = bars([0.1] * 61, sideways=True)
    assert pixels(figure).shape[0] > 61 * 15


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_drawn_as_text(hostile):
    series = [Series(hostile, [hostile, "b"], [1.0, None], [0.1, None], mark) for mark in ("bar", "dot", "line")]
    figure = Figure(hostile, hostile, hostile, hostile, hostile, series, [Level(hostile, 1.0)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pixels(figure).shape == (560, 900, 3)


def test_mathematics_is_not_set():
    """Set as mathematics both names would be the same x, with and without a space."""
    one, other = (pixels(bars(name=name)) for name in ("$x$", "$x $"))
    assert (one != other).any()


def test_nothing_but_absent_values_is_no_error():
    figure = Figure("a/b", "", "", "", "", [Series("s", ["a"], [None], [None])])
    assert pixels(figure).shape == (560, 900, 3)


def test_the_users_matplotlib_is_neither_changed_nor_followed():
    figures = paper_figures({name: report(i) for i, name in enumerate("ab")})
    expected = [to_png(figure) for figure in figures]
    dark = {"text.usetex": True, "figure.facecolor": "black", "axes.facecolor": "black", "font.size": 30, "axes.grid": True}
    dark |= {"xtick.labelsize": 30, "text.color": "white", "axes.spines.left": False, "xtick.minor.visible": True, "savefig.dpi": 300}
    dark |= {"lines.linewidth": 9, "legend.fontsize": 30, "axes.linewidth": 5, "grid.linestyle": ":", "xtick.direction": "in"}
    with matplotlib.rc_context(dark):
        before = settings()
        again = [to_png(figure) for figure in figures]
        assert settings() == before
    assert again == expected


def test_neither_pyplot_nor_torch_is_needed():
    code = """
import sys
from sae_lens_metrics.views.figures import Figure, Series, to_plotly, to_png
figure = Figure("a/b", "", "", "", "", [Series("s", ["a"], [1.0])])
to_plotly(figure)
assert "matplotlib" not in sys.modules and "plotly" not in sys.modules
to_png(figure)
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
