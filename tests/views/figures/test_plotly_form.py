"""Figures for plotly.js: valid, whole, and free of markup."""

import json
import re

import pytest
from figure_reports import HOSTILE, history, report
from plotly import graph_objects

from sae_lens_metrics.views.figures import Figure, Series, paper_figures, to_plotly, training_figures
from sae_lens_metrics.views.figures.figure import Level
from sae_lens_metrics.views.figures.palette import COLOURS


def every_figure(names):
    reports = {name: report(i, architecture=name or "topk") for i, name in enumerate(names)}
    return paper_figures(reports) + training_figures({name: history(i, evaluations=2) for i, name in enumerate(names)})


def strings(value):
    if isinstance(value, dict | list):
        return [text for each in (value.values() if isinstance(value, dict) else value) for text in strings(each)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("names", [["one"], ["one", "two"], [f"sae {i}" for i in range(8)], HOSTILE, HOSTILE * 2], ids=len)
def test_plotly_takes_every_figure(names):
    for figure in every_figure(names):
        form = to_plotly(figure)
        text = json.dumps(form, allow_nan=False)
        assert json.loads(text) == form
        text.encode()
        graph_objects.Figure(form)


def test_values_and_errors_are_the_figures():
    for figure in every_figure(["one", "two"]):
        form = to_plotly(figure)
        across = "x" if figure.sideways else "y"
        for series, trace in zip(figure.series, form["data"], strict=True):
            values = series.y if series.mark != "histogram" else [*series.y, series.y[-1]]
            assert trace[across] == values
            assert len(trace["x"]) == len(trace["y"]) == len(trace["hovertext"])
            assert (trace.get(f"error_{across}") or {}).get("array") == series.error
        assert [shape[f"{across}0"] for shape in form["layout"]["shapes"]] == [level.value for level in figure.levels]


def test_pointing_at_a_mark_says_name_value_and_error():
    series = Series("my SAE", ["latents", "channels", "none"], [0.51234567, 0.6, None], [0.012345, None, None], "bar")
    (trace,) = to_plotly(Figure("a/b", "", "", "", "", [series]))["data"]
    assert trace["hovertext"] == ["my SAE<br>latents: 0.5123 ± 0.012", "my SAE<br>channels: 0.6", "my SAE<br>none: absent"]
    assert trace["hoverinfo"] == "text"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_names_are_neither_markup_nor_templates_nor_mathematics(hostile):
    series = [Series(hostile, [hostile, "b"], [1.0, 2.0], None, mark, [hostile, "c"]) for mark in ("bar", "dot")]
    histogram = Series(hostile, [0.0, 1.0, 2.0], [0.5, 0.5], mark="histogram")
    for figure in (
        Figure("a/b", hostile, hostile, hostile, hostile, series, [Level(hostile, 1.0)], sideways=True),
        Figure("a/b", hostile, hostile, hostile, hostile, [histogram], [Level(hostile, 1.0)]),
    ):
        form = to_plotly(figure)
        assert "template" not in json.dumps(form)
        for text in strings(form):
            assert "<" not in text.replace("<br>", "", 1)
            assert "$" not in text
            assert not re.search(r"&(?!amp;|lt;|gt;|#36;)", text)
            assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)


def test_an_only_sae_needs_no_name():
    form = to_plotly(Figure("a/b", "", "", "", "", [Series("", [1.0], [2.0]), Series("named", [1.0], [2.0])]))
    assert [trace["showlegend"] for trace in form["data"]] == [False, True]


@pytest.mark.parametrize("l0", [[0.001], [15.9, 16.1], [20.0, 500.0], [1.0, 1e6]])
def test_a_logarithmic_axis_has_round_numbers_about_its_marks(l0):
    axis = to_plotly(Figure("a/b", "", "", "", "", [Series("s", l0, [1.0] * len(l0))], log_x=True))["layout"]["xaxis"]
    low, high = (10**end for end in axis["range"])
    assert low < min(l0) <= max(l0) < high
    assert 2 <= len(axis["tickvals"]) <= 14
    assert all(low <= tick <= high for tick in axis["tickvals"])
    assert [float(text) for text in axis["ticktext"]] == axis["tickvals"]


def test_many_rows_make_a_figure_higher():
    def rows(n):
        return Figure("a/b", "", "", "", "", [Series("s", [f"{i}" for i in range(n)], [0.0] * n)], sideways=True)

    assert "height" not in to_plotly(rows(12))["layout"]
    assert to_plotly(rows(61))["layout"]["height"] > 61 * 15
    axis = to_plotly(rows(3))["layout"]["yaxis"]
    assert (axis["ticktext"], axis["range"]) == (["0", "1", "2"], [2.5, -0.5])


def test_categories_of_any_name_are_kept_apart():
    long = "x" * 100
    names = ["2024", "2024-01-01", "nan", "", f"{long}a{long}", f"{long}b{long}"]
    (trace,) = to_plotly(Figure("a/b", "", "", "", "", [Series("s", names, [float(i) for i in range(6)], mark="bar")]))["data"]
    assert trace["x"] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("background", ["#ffffff", "#1a1a1a", "#0d1117"])
def test_colours_stand_out(background):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in COLOURS:
        low, high = sorted([luminance(colour), luminance(background)])
        assert (high + 0.05) / (low + 0.05) >= 3, colour


def test_the_page_gives_backgrounds_and_text_their_colour():
    for figure in every_figure(["one", "two"]):
        layout = to_plotly(figure)["layout"]
        assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0, 0, 0, 0)"
        assert "font" not in layout


def test_a_symbol_of_its_own_has_the_colour_of_its_series():
    usual, own = to_plotly(Figure("a/b", "", "", "", "", [Series("s", ["a"], [1.0], colour=2, symbol=i) for i in (None, 7)]))["data"]
    assert own["marker"]["color"] == usual["marker"]["color"]
    assert (usual["marker"]["symbol"], own["marker"]["symbol"]) == ("diamond", "star")
