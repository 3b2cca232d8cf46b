"""Reports on the terminal."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rich.bar import Bar
from rich.console import Console, RenderableType
from rich.table import Table

from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.metrics.spec import Number
from sae_lens_metrics.results import Estimate, Report
from sae_lens_metrics.results.in_words import with_error
from sae_lens_metrics.views.controls_table import print_controls
from sae_lens_metrics.views.plain_text import as_markup
from sae_lens_metrics.views.units import units_to_tell

__all__ = ["print_reports", "print_sweep"]

_EXPLAINING_WIDTH = 120
_SIDE_BY_SIDE, _LABEL_WIDTH, _VALUE_WIDTH, _BAR_WIDTH = 4, 39, 20, 8
"""SAEs whose numbers are printed beside each other, and the characters that the columns then need."""


def print_sweep(
    labels: Mapping[str, str], reports: Mapping[str, Report], errors: Mapping[str, str], console: Console | None = None
) -> None:
    """Prints what is known about several SAEs: side by side where they are few, otherwise the main numbers, a row for each.

    Args:
        labels: What each SAE is called, by name.
        reports: The reports of those that were evaluated.
        errors: Why an SAE, or some of its metrics, failed.
        console: Where to print; default the terminal.
    """
    console = console or Console()
    if len(reports) <= _SIDE_BY_SIDE and _width([labels[name] for name in reports]) <= console.width:
        print_reports({labels[name]: reports[name] for name in labels if name in reports}, console)
    elif reports:
        named = {labels[name]: reports[name] for name in labels if name in reports}
        _print_overview(named, console)
        for name, report in named.items() if len(named) <= _SIDE_BY_SIDE else ():
            print_controls(name, report, console)
    for name in (name for name in labels if name in errors):
        console.print(f"[red]failed[/], {as_markup(name)}: {as_markup(errors[name])}", highlight=False)


def _print_overview(reports: Mapping[str, Report], console: Console) -> None:
    """The main numbers of many reports, and how many warnings each has; the result files tell which."""
    estimates = {name: dict(report.estimates()) for name, report in reports.items()}
    shown = [key for key in _overview(reports.values()) if any(key in each for each in estimates.values())]
    units = {key: dict(zip(reports, units_to_tell(key, list(reports.values())), strict=True)) for key in shown}
    table = Table(caption=f"{_caption(each.values() for each in units.values())}; warnings are in the result files", caption_justify="left")
    table.add_column("", overflow="fold")
    for key in shown:
        metric, name = key.split("/")
        table.add_column(f"{as_markup(metric)}/\n{as_markup(name.replace('_', ' '))}", justify="right")
    table.add_column("warnings", justify="right")
    for name, report in reports.items():
        cells = [_cell(estimates[name].get(key), units[key][name]) for key in shown]
        table.add_row(as_markup(name), *cells, str(len(report.warnings)))
    console.print(table)


def _overview(reports: Iterable[Report]) -> list[str]:
    """The numbers that an overview of many SAEs shows: those that metrics mark for it, or their headlines."""
    there: dict[str, dict[str, None]] = {}
    for report in reports:
        for metric, result in report.results():
            there.setdefault(metric, {}).update(dict.fromkeys(result.estimates))
    return [spec.full(name) for spec in (spec_of_result(*each) for each in there.items()) for name in spec.overview()]


def _width(names: Iterable[str]) -> int:
    """Characters that a table with these SAEs beside each other takes."""
    return _LABEL_WIDTH + sum(3 + max(_VALUE_WIDTH, len(name)) for name in names)


def print_reports(reports: Mapping[str, Report], console: Console | None = None) -> None:
    """Prints one or several reports side by side, a row per number with its standard error; then their controls and warnings.

    Bars show shares of a whole, and how a metric's main number stands to its baselines.

    Args:
        reports: Reports by the name that heads their column.
        console: Where to print; default the terminal, without colours and bars where that is none. Bars, and the column that explains
            the numbers, are left out where it is too narrow.
    """
    console = console or Console()
    explain = console.width >= _EXPLAINING_WIDTH
    bars = console.is_terminal and _width(reports) + len(reports) * (3 + _BAR_WIDTH) <= console.width
    table = Table(caption_justify="left")
    table.add_column()
    for name in reports:
        table.add_column(as_markup(name), justify="right", no_wrap=True)
        if bars:
            table.add_column(width=_BAR_WIDTH)
    if explain:
        table.add_column("what it is", style="dim")
    shown: list[_Row] = []
    for metric in dict.fromkeys(metric for report in reports.values() for metric, _ in report.results()):
        table.add_section()
        for row in _rows(metric, list(reports.values())):
            table.add_row(*row.cells(bars=bars, explain=explain), style=row.style)
            shown.append(row)
    table.caption = _caption(row.units for row in shown)
    console.print(table)
    for name, report in reports.items():
        print_controls(name, report, console)
    for text in _below(reports, [] if explain else shown):
        console.print(text, highlight=False)


@dataclass(frozen=True)
class _Row:
    """One number of several reports."""

    name: str
    number: Number
    estimates: list[Estimate | None]
    units: list[int | None]
    """Over how many units each is, where that must be told."""
    full: float | None
    """What a whole bar stands for; ``None`` for no bars."""
    style: str

    def cells(self, *, bars: bool, explain: bool) -> Iterator[RenderableType]:
        """The cells of the table."""
        yield as_markup(self.name)
        for estimate, units in zip(self.estimates, self.units, strict=True):
            yield _cell(estimate, units)
            if bars:
                yield self._bar(None if estimate is None else estimate.value)
        if explain:
            yield as_markup(self.number.meaning or self.number.label)

    def _bar(self, value: float | None) -> RenderableType:
        if value is None or not self.full:
            return ""
        return Bar(self.full, 0, min(max(value, 0), self.full), width=_BAR_WIDTH, color="bright_black" if self.style == "dim" else "cyan")


def _rows(metric: str, reports: list[Report]) -> Iterator[_Row]:
    """The numbers of a metric that a reader wants to see: those that any of the reports has. Baselines stand back, the main one out."""
    columns = [result.estimates if result is not None else {} for result in (dict(report.results()).get(metric) for report in reports)]
    spec = spec_of_result(metric, _there(columns))
    baselines = spec.baselines()
    compared = {spec.headline, *baselines}
    largest = max((estimate.value or 0 for column in columns for name, estimate in column.items() if name in compared), default=0.0)
    for name, number in _shown(metric, columns).items():
        full = 1.0 if number.is_share else largest if name in compared and baselines else None
        style = "bold" if name == spec.headline else "dim" if name in baselines else ""
        units = units_to_tell(f"{metric}/{name}", reports)
        yield _Row(f"{metric}/{name}", number, [column.get(name) for column in columns], units, full, style)


def _below(reports: Mapping[str, Report], unexplained: Iterable[_Row]) -> Iterator[str]:
    """What follows the table: meanings where there is no column for them, what to cite, and remarks."""
    yield from (f"[dim]{text}[/]" for text in _meanings(unexplained))
    yield "[bold]for a paper:[/]"
    yield from (f"  {as_markup(name)}: {as_markup('; '.join(_for_a_paper(report)))}" for name, report in reports.items())
    for name, report in reports.items():
        yield from _remarks(as_markup(name), report)


def _meanings(rows: Iterable[_Row]) -> Iterator[str]:
    """What the numbers are, where there is no column for it."""
    for row in rows:
        if meaning := row.number.meaning or row.number.label:
            yield f"{as_markup(row.name)}: {as_markup(meaning)}"


def _for_a_paper(report: Report) -> Iterator[str]:
    """The main number of each metric as one cites it: value, error, and over how many of what."""
    d_sae = report.provenance.get("sae", {}).get("d_sae")
    for metric, result in report.results():
        spec = spec_of_result(metric, result.estimates)
        for name in spec.cited():
            estimate = result.estimates.get(name)
            if estimate is not None and estimate.value is not None:
                of_all = f" of {d_sae}" if estimate.of == "latents" and d_sae and estimate.n != d_sae else ""
                over = f", {spec.number(name).over}" if spec.number(name).over else ""
                yield f"{metric} {name} {with_error(estimate.value, estimate.stderr)} ({estimate.n}{of_all} {estimate.of}{over})"


def _remarks(name: str, report: Report) -> Iterator[str]:
    """What a reader must know besides the numbers: why some are absent, warnings, failures."""
    yield from (f"[dim]absent[/], {name}, {as_markup(text)}" for text in _absences(report))
    yield from (f"[yellow]warning[/], {name}: {as_markup(text)}" for text in report.warnings)
    yield from (f"[red]failed[/], {name}, {as_markup(metric)}: {as_markup(text)}" for metric, text in report.errors.items())


def _there(columns: list[dict[str, Estimate]]) -> dict[str, None]:
    return dict.fromkeys(name for column in columns for name in column)


def _shown(metric: str, columns: list[dict[str, Estimate]]) -> dict[str, Number]:
    """The numbers to show of a metric: those that any of the reports has."""
    there = _there(columns)
    return {name: number for name, number in spec_of_result(metric, there).shown().items() if name in there}


def _absences(report: Report) -> Iterator[str]:
    """Why numbers are absent, each reason once with the first of its numbers."""
    first: dict[tuple[str, str], str] = {}
    for metric, result in report.results():
        for name in _shown(metric, [result.estimates]):
            estimate = result.estimates[name]
            if estimate.value is None and estimate.reason:
                first.setdefault((metric, estimate.reason), name)
    return (f"{metric}/{name}: {reason}" for (metric, reason), name in first.items())


def _cell(estimate: Estimate | None, units: int | None) -> str:
    """A value with its error, and over how many units it is, if that must be told."""
    if estimate is None or estimate.value is None:
        return "-"
    return with_error(estimate.value, estimate.stderr) + ("" if units is None else f" n={units}")


def _caption(units: Iterable[Iterable[int | None]]) -> str:
    """What the cells hold."""
    told = any(each is not None for row in units for each in row)
    return "value ± standard error" + ("; n: over how many tasks or latents, where that is not all or not the same" if told else "")
