"""Reports in W&B: what goes into a log call, and runs for evaluations."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_lens_metrics.integrations.interrupts import interrupts
from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.results import Histogram, MetricResult, Report, Row
from sae_lens_metrics.results.in_words import printable
from sae_lens_metrics.results.readable_tables import readable_tables
from sae_lens_metrics.results.remarks import absent_share, remarks
from sae_lens_metrics.views.wandb.example_html import examples_html

if TYPE_CHECKING:
    from wandb.sdk.wandb_run import Run

__all__ = ["REMARKS", "figure_key", "log_report", "log_result_file", "loggable", "wandb_run"]

logger = logging.getLogger("sae_lens_metrics")

REMARKS = "report/remarks"
"""Key of the table of what must be known besides the numbers."""
_BRIEF_ROWS = 1_000


def loggable(
    report: Report,
    prefix: str = "",
    *,
    brief: bool = False,
    all_numbers: bool = False,
    on_error: Callable[[str, Exception], None] | None = None,
) -> dict[str, Any]:
    """A report as one flat dictionary for ``wandb.log``.

    Scalars with their standard errors and numbers of units (``Report.flat``), main numbers of controls
    (``metric/control_random_name``), tables, histograms, highlighted examples (``metric/examples``) and the figures
    (``metric/figure_name``). Keys are ``metric/name``, so that W&B makes a section of panels for each metric. What must be known besides
    the numbers is in the section ``report``: ``report/warnings`` is how many warnings there are,
    ``report/absent`` the share of numbers that are absent, ``report/warning_texts`` the warnings for a column of a table of runs, and
    ``report/remarks`` a table of them, of reasons why numbers are absent, and of the metrics' notes.

    Args:
        report: The report.
        prefix: Goes in front of every key, as SAELens does with the names of several SAEs.
        brief: For what is logged again and again during a training run: of the numbers those that metrics mark to be followed, no
            figures, which take about a second, and of a long table 1,000 rows, evenly spread.
        all_numbers: Whether all numbers are logged even if ``brief``.
        on_error: Told of a table or a picture that could not be made; all else is there. By default the error is raised.
    """

    def attempt(what: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except Exception as error:
            if on_error is None or isinstance(error, interrupts()):
                raise
            on_error(f"drawing {what} for W&B", error)
            return None

    entries: dict[str, Any] = dict(report.flat()) if all_numbers or not brief else _followed(report)
    for metric, result in report.results():
        drawn = {f"{metric}/{name}": attempt(f"{metric}/{name}", draw) for name, draw in _views(result, brief)}
        entries |= {key: value for key, value in drawn.items() if value is not None}
    entries |= _remarks(report)
    if not brief:
        entries |= attempt("figures", partial(_figures, report)) or {}
    return {f"{prefix}{key}": value for key, value in entries.items()}


def _followed(report: Report) -> dict[str, float]:
    """The numbers that metrics mark to be followed, with what belongs to them: some twenty, so that none is lost among the others."""
    specs = [spec_of_result(metric, result.estimates) for metric, result in report.results()]
    wanted = {key for spec in specs for name in spec.followed() for key in _with_what_belongs_to(spec.full(name))}
    return {key: value for key, value in report.flat().items() if key in wanted}


def _with_what_belongs_to(number: str) -> tuple[str, ...]:
    return number, f"{number}_stderr", f"{number}_n"


def _remarks(report: Report) -> dict[str, Any]:
    """What must be known besides the numbers; every key is there each time, as a summary keeps the last value of one that is not."""
    import wandb

    columns = ("kind", "about", "text")
    return {
        "report/warnings": len(report.warnings),
        "report/absent": absent_share(report),
        "report/warning_texts": " | ".join(report.warnings),
        REMARKS: wandb.Table(columns=list(columns), data=[[getattr(each, name) for name in columns] for each in remarks(report)]),
    }


def figure_key(name: str) -> str:
    """Where a figure is logged: beside its metric's numbers and tables, under a name that none of them has.

    Args:
        name: The figure's name, such as ``"overlap/by_layer"``, which is ``"overlap/figure_by_layer"`` in W&B.
    """
    section, name = name.split("/", 1)
    return f"{section}/figure_{name}"


def _views(result: MetricResult, brief: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What there is to see of a metric besides its numbers, by name, and what makes it."""
    yield from ((name, partial(_table, rows, brief)) for name, rows in readable_tables(result).items() if rows)
    yield from ((name, partial(_histogram, histogram)) for name, histogram in result.histograms.items())
    if result.examples:
        yield "examples", partial(_examples, result)


def _table(rows: list[Row], brief: bool) -> Any:
    import wandb

    if brief and len(rows) > _BRIEF_ROWS:
        rows = [rows[i * len(rows) // _BRIEF_ROWS] for i in range(_BRIEF_ROWS)]
    # a Table keeps its first content, so each evaluation gets a new one
    return wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])


def _histogram(histogram: Histogram) -> Any:
    import numpy as np
    import wandb

    return wandb.Histogram(np_histogram=(np.array(histogram.counts), np.array(histogram.edges)))


def _examples(result: MetricResult) -> Any:
    import wandb

    return wandb.Html(StringIO(examples_html(result)), inject=False)  # a string could be taken for a path


def _figures(report: Report) -> dict[str, Any]:
    """The figures as images."""
    import wandb
    from PIL import Image

    from sae_lens_metrics.views.figures import paper_figures, to_png

    entries: dict[str, Any] = {}
    for figure in paper_figures({"": report}):
        with Image.open(BytesIO(to_png(figure))) as image:
            entries[figure_key(figure.name)] = wandb.Image(image, caption=f"{figure.title}. {figure.caption}")
    return entries


@contextmanager
def wandb_run(project: str | None, *, name: str, config: dict[str, Any], run: "Run | None" = None) -> Iterator["Run | None"]:
    """The run to log an evaluation to: the user's, the one that is active, or a new one, which is finished afterwards.

    Args:
        project: W&B project of a new run; ``None`` for none.
        name: Name of a new run.
        config: Configuration of a new run: a report's provenance, by whose ``sae.architecture``, ``sae.d_sae`` and the like runs can be
            grouped. A run of the user's keeps its own.
        run: A run of the user's.
    """
    if run is None and project is None:
        yield None
        return
    import wandb

    if run is not None or wandb.run is not None:
        yield run or wandb.run
        return
    own = wandb.init(project=project, name=printable(name), config=config, job_type="eval", reinit="create_new")
    try:
        yield own
    finally:
        own.finish()


def log_report(run: "Run", report: Report, path: Path | None = None) -> None:
    """Logs a report, with the result file as an artifact if there is one; a picture that cannot be drawn is a warning.

    Args:
        run: The run; its summary, which run tables and scatter plots read, gets every number.
        report: The report.
        path: Its result file.
    """
    run.log(loggable(report, on_error=lambda what, error: logger.warning("%s failed: %s: %s", what, type(error).__name__, error)))
    if path is not None:
        log_result_file(run, report, path)


def log_result_file(run: "Run", report: Report, path: Path) -> None:
    """Adds a result file to a run, as an artifact of type ``sae-metrics`` that is named by the SAE's weights.

    Args:
        run: The run.
        report: What the file holds.
        path: The file.
    """
    import wandb

    artifact = wandb.Artifact(f"sae-metrics-{report.provenance['sae']['weights_sha256'][:12]}", type="sae-metrics")
    artifact.add_file(str(path))
    run.log_artifact(artifact)
