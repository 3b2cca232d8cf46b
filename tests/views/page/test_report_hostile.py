"""Text that tries to be more than text, wherever a page can show it or hand it on: views, addresses, the title, files."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from report_data import HOSTILE, hostile_report, make_history, make_report
from slow import slow_but

from sae_lens_metrics.comparison.audit import audit_reports
from sae_lens_metrics.comparison.comparison import compare_reports
from sae_lens_metrics.results import Control, ControlVerdict, Report
from sae_lens_metrics.results.history import History
from sae_lens_metrics.views.page import write_report

NAMES = {**HOSTILE, "prototype": "__proto__", "slashes": "a/b/../%2e%2e?c=d&e#f", "link": "javascript:window.hacked=3//"}
_STATE = """() => ({
  hacked: window.hacked ?? null,
  heading: document.querySelector("h1").textContent,
  elements: document.querySelectorAll("main :is(img, script, iframe, i)").length,
  scripts: [...document.querySelectorAll("*")].some((each) => [...each.attributes].some((own) => /^on/i.test(own.name))),
  links: [...document.querySelectorAll("a[href]")].map((each) => each.protocol),
})"""


def everything(text: str, folder: Path, *, form: str = "file") -> Path:
    """A page with all that a page can have, and a text wherever text can stand in it."""
    hostile, plain = hostile_report(text), make_report(4)
    n2g = hostile.metrics["n2g"]
    control = Control(
        {"sanity": hostile.sanity, "n2g": n2g}, {text: text}, {"n2g": ControlVerdict("f1", "beaten", "not tested")}, {"a": text}
    )
    odd = replace(plain.metrics["probe"], tables={}, notes=[text])
    hostile = replace(hostile, metrics={**hostile.metrics, f"{text} more": odd}, controls={text: control})
    reports: dict[str, Report] = {text: hostile, "other": plain}
    audit = audit_reports({seed: {text: hostile, "other": make_report(4, seed=seed)} for seed in (1, 2)}, notes=[text], failed=[text])
    history = History([replace(point, values={**point.values, f"{text}/{text}": 1.0}) for point in make_history().points])
    parts = {"histories": {text: history}, "comparison": compare_reports(reports), "audit": audit, "title": text}
    return write_report(reports, folder / ("page" if form == "folder" else "page.html"), folder=form == "folder", **parts)


def look(opened, view: str) -> None:
    """Opens a view, in which nothing must have come of the text but text."""
    state = opened.open(view).evaluate(_STATE)
    assert state["heading"] != "This view cannot be shown", view
    assert (state["hacked"], state["elements"], state["scripts"]) == (None, 0, False), view
    assert {*state["links"]} <= {"file:", "https:"}, view
    assert not {"\x00", "\u202e", "\x1b"} & {*opened.tab.title(), *opened.text()}, view


FORMS = [*((name, "file") for name in NAMES), *((name, "folder") for name in ("closing", "slashes", "surrogate"))]


@pytest.mark.parametrize(("name", "form"), slow_but(FORMS, ().__contains__))
def test_every_view_and_every_address(reader, tmp_path, name, form):
    text = NAMES[name]
    opened = reader(everything(text, tmp_path, form=form))
    said = quote(text.encode("utf-8", "replace").decode("utf-8"), safe="")
    views = ["#/figures", "#/explore", f"#/explore?from=training&x={said}&y={said}&by={said}", "#/audit"]
    views += [
        f"#/config?sae={said}",
        f"#/latents?sae={said}",
        f"#/latents?q={said}&sort={said}&only={said}",
        f"#/latent/{said}/0",
        f"#/{said}",
    ]
    for view in views:
        look(opened, view)
    opened.open("#/figures").wait_for_selector(".plot.drawn svg.main-svg")
    opened.open("#/explore").wait_for_selector(".plot")
    opened.open("#/")
    shown = opened.tab.title()
    assert shown.isprintable() or name == "emoji"
    if name == "closing":
        assert shown.endswith(text)


@pytest.mark.parametrize("name", slow_but(NAMES, ("formula",).__contains__))
def test_every_file_that_it_hands_on(reader, tmp_path, name):
    """No cell of a table is a formula, no file has a name that leads elsewhere, and the result is the result."""
    opened = reader(everything(NAMES[name], tmp_path))
    for view, buttons in (("#/config", "[data-download]"), ("#/latents", "button:has-text('Download')")):
        for button in opened.open(view).locator(buttons).all():
            with opened.tab.expect_download(timeout=10_000) as download:
                button.click()
            assert not {*'<>/\\:"|?*\n'} & {*download.value.suggested_filename}
            content = Path(download.value.path()).read_text(encoding="utf-8", errors="strict")
            if download.value.suggested_filename.endswith(".csv"):
                cells = [cell for row in csv.reader(io.StringIO(content)) for cell in row]
                assert len(cells) > 5
                assert not [cell for cell in cells if cell[:1] in ("=", "+", "@", "-", "\t") and not _is_number(cell)]


@pytest.mark.parametrize("name", slow_but(["template", "closing", "quotes"], "template".__eq__))
def test_every_figure_that_it_hands_on(reader, tmp_path, name):
    """As an image, which plotly draws from markup of its own."""
    opened = reader(everything(NAMES[name], tmp_path))
    for view in ("#/figures", "#/explore"):
        look(opened, view)
        opened.tab.wait_for_selector(".plot.drawn svg.main-svg")
        opened.tab.hover(".plot.drawn >> nth=0")
        with opened.tab.expect_download(timeout=10_000) as download:
            opened.tab.click(".plot.drawn >> nth=0 >> .modebar-btn[data-title*='png' i]")
        assert download.value.suggested_filename == "plot-image.png"
        assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
        assert opened.tab.evaluate("window.hacked ?? null") is None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
