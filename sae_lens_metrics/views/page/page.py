"""Puts a page together: its shell, style and script, and the data in parts."""

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_lens_metrics.comparison.contenders import Contenders
from sae_lens_metrics.errors import ResultError
from sae_lens_metrics.results import Report, write_atomically
from sae_lens_metrics.results.history import History, histories_of
from sae_lens_metrics.views.page.data import SAEParts, guides, histories_value, sae_parts
from sae_lens_metrics.views.page.folder import PART, fresh_data
from sae_lens_metrics.views.page.leaderboard import LEAST, leaderboard_value
from sae_lens_metrics.views.page.parts import Part, encode

if TYPE_CHECKING:
    from sae_lens_metrics.comparison.audit import Audit
    from sae_lens_metrics.comparison.comparison import Comparison
    from sae_lens_metrics.views.figures import Figure
    from sae_lens_metrics.views.judged import Judged

__all__ = ["SCRIPTS", "STYLES", "write_report"]

TITLE = "SAE metrics"

STYLES = ("base.css", "parts.css", "latents.css", "leaderboard.css")
"""The style sheets, in the order in which they stand in a page."""
SCRIPTS = (
    "format",
    "dom",
    "store",
    "router",
    "theme",
    "sae",
    "statistics",
    "estimates",
    "marks",
    "tables",
    "tokens",
    "explained",
    "search",
    "latent_table",
    "download",
    "plots",
    "comparison_view",
    "audit_view",
    "judged_view",
    "leaderboard_ranks",
    "findings",
    "leaderboard_filters",
    "leaderboard_plot",
    "leaderboard_table",
    "leaderboard",
    "overview_view",
    "figures_view",
    "explore_view",
    "latents_view",
    "latent_view",
    "config_view",
    "main",
)
"""In this order they are put into one function: each may use those before it."""


def write_report(
    reports: Mapping[str, Report],
    path: str | Path,
    *,
    histories: Mapping[str, History] | None = None,
    comparison: "Comparison | None" = None,
    audit: "Audit | None" = None,
    figures: "Sequence[Figure]" = (),
    judged: "Judged | None" = None,
    title: str = TITLE,
    folder: bool = False,
) -> Path:
    """Writes reports as an HTML page that opens from disk, in any browser since 2023, and requests nothing from anywhere.

    Args:
        reports: Reports by the SAEs' names; each is asked for twice and not kept, so that ``SavedReports`` may be more than fit in memory.
        path: The page; with ``folder`` the folder for it.
        histories: Evaluations during training, by the names of runs; reports of checkpoints make some by themselves.
        comparison: What ``compare_reports`` said about the reports.
        audit: What evaluating the SAEs with several seeds has shown.
        figures: Figures to put before those of the reports.
        judged: What of a paper was judged by the reports.
        title: What the page is called.
        folder: Whether to write a folder with ``index.html`` and the data beside it, which are loaded when they are looked at: for SAEs
            of so many latents that one file gets too large to open, from some 100 MB on. Such a page opens from disk too.

    Returns:
        The page.

    Raises:
        ResultError: If there is neither a report nor a history, or one of ``SavedReports`` cannot be read.
        OSError: If the page cannot be written. A file that is there is replaced at once or not at all, and so is a folder's page.
    """
    histories = histories or {}
    if not reports and not histories:
        raise ResultError("a report takes at least one result or training history")
    data = _Data(reports, histories, comparison, audit, figures, judged, title)
    path = Path(path)
    if folder:
        with fresh_data(path / "index.html") as beside:
            for part in data.parts():
                # a script, as a page that is opened from disk may load nothing else from beside it
                script = f'{PART.decode()}"{part.name}","{part.text}")'
                write_atomically(beside / f"{part.name}.js", script)
            return write_atomically(path / "index.html", _page(data.contents(), [], title, beside=beside.name))
    parts = list(data.parts())
    return write_atomically(path, _page(data.contents(), parts, title))


@dataclass
class _Data:
    """All the data of a page, made one part after another."""

    reports: Mapping[str, Report]
    histories: Mapping[str, History]
    comparison: "Comparison | None"
    audit: "Audit | None"
    figures: "Sequence[Figure]"
    judged: "Judged | None"
    title: str

    def __post_init__(self) -> None:
        from sae_lens_metrics.views.figures import slim

        self._saes = [SAEParts(name, f"sae-{i}") for i, name in enumerate(self.reports)]
        self._contenders = Contenders() if len(self.reports) >= LEAST else None
        # figures are about all reports at once, so these leave out what they do not draw
        self._drawn: dict[str, Report] = {}
        for name, report in self.reports.items():
            self._drawn[name] = slim(report, len(self.reports))
            if self._contenders is not None:
                self._contenders.add(report)
        self.histories = {**histories_of(self._drawn), **self.histories}

    def parts(self) -> Iterator[Part]:
        """The parts; afterwards ``contents`` knows all of them."""
        yield Part.of("figures", _figures(self._drawn, self.histories, self.figures))
        yield Part.of("histories", histories_value(self.histories))
        if self._contenders is not None:
            yield Part.of("leaderboard", leaderboard_value(self._contenders, self._drawn))
        yield Part.of("comparison", None if self.comparison is None else self.comparison.to_dict())
        yield Part.of("audit", None if self.audit is None else self.audit.to_dict())
        yield Part.of("judged", None if self.judged is None else asdict(self.judged))
        for sae in self._saes:
            yield from sae_parts(sae, self.reports[sae.name])
        yield Part("plotly", encode(_plotly()))

    def contents(self) -> dict[str, Any]:
        """The table of contents."""
        from sae_lens_metrics.views.figures.palette import COLOURS

        return {
            "title": self.title,
            "colours": list(COLOURS),
            "saes": [sae.contents() for sae in self._saes],
            "histories": list(self.histories),
            "ranked": self._contenders is not None,
            "compared": self.comparison is not None,
            "audited": self.audit is not None,
            "judged": self.judged is not None,
            "guides": guides(self._drawn.values()),
        }


def _figures(reports: Mapping[str, Report], histories: Mapping[str, History], first: "Sequence[Figure]") -> list[dict[str, Any]]:
    from sae_lens_metrics.views.figures import paper_figures, to_plotly, training_figures

    figures = [*first, *(paper_figures(reports) if reports else []), *(training_figures(histories) if histories else [])]
    return [
        {"name": figure.name, "title": figure.title, "caption": figure.caption, "plotly": _finite(to_plotly(figure))} for figure in figures
    ]


def _finite(value: Any) -> Any:
    """JSON has no infinities; plotly draws nothing for either."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def _page(contents: dict[str, Any], parts: list[Part], title: str, *, beside: str = "") -> str:
    """The page; its parts are in it, or in a folder beside it of that name."""
    import jinja2

    script = _script()
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(_static("page.html"))
    return template.render(
        title=_encodable(title),
        policy=_policy(script, folder=bool(beside)),
        beside=beside,
        style="\n".join(_static(name) for name in STYLES),
        script=script,
        contents=encode(json.dumps(contents)),
        parts=parts,
    )


def _policy(script: str, *, folder: bool) -> str:
    """What a browser lets the page do: run these very scripts, and request nothing.

    The folder's data are scripts too, and a page that was opened from disk cannot give their hashes: those beside it are let in.
    """
    allowed = [f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in (script, _plotly())]
    sources = " ".join([*allowed, *(["'self'", "file:"] if folder else [])])
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'; object-src 'none'"
    )


def _script() -> str:
    """All scripts in one function, so that nothing of theirs is visible outside of it."""
    scripts = "\n".join(_static(f"js/{name}.js") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{scripts}\n}})();\n'


def _static(name: str) -> str:
    return (files("sae_lens_metrics.views.page") / "static" / name).read_text(encoding="utf-8")


def _encodable(text: str) -> str:
    """Text that a file can hold: half a surrogate pair cannot be written."""
    return text.encode("utf-8", "replace").decode("utf-8")
