"""The controls of a report on the terminal."""

from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sae_lens_metrics.comparison.controls import ControlFinding, control_findings
from sae_lens_metrics.results import Report
from sae_lens_metrics.results.in_words import printable, with_error
from sae_lens_metrics.views.plain_text import as_markup

__all__ = ["print_controls"]

_STYLES = {"as expected": "green", "not as expected": "bold red", "not tested": "dim"}


def print_controls(name: str, report: Report, console: Console) -> None:
    """Prints the main number of each metric beside those of the controls, and whether these are as they must be; nothing without any.

    Args:
        name: What the SAE is called.
        report: Its report.
        console: Where to print.
    """
    findings = control_findings(report)
    if not findings:
        return
    titles = {each.control: each.title for each in findings}
    table = Table(title=f"controls of {as_markup(name)}: SAEs that are bad on purpose", title_justify="left")
    table.add_column("")
    table.add_column("the SAE", justify="right")
    for title in titles.values():
        table.add_column(as_markup(title), overflow="fold")
    for (metric, number), group in groupby(findings, key=lambda each: (each.metric, each.verdict.number)):
        of_metric = {each.control: each for each in group}
        own = next(iter(of_metric.values())).own
        table.add_row(
            as_markup(f"{metric}/{number}"), _value(own.value, own.stderr), *(_cell(of_metric.get(control)) for control in titles)
        )
    console.print(table)


def _cell(finding: ControlFinding | None) -> Text:
    if finding is None:
        return Text("-", style="dim")
    value = _value(finding.other.value, finding.other.stderr)
    return Text.assemble(value, "\n", (printable(finding.in_words), _STYLES[finding.verdict.outcome]))


def _value(value: float | None, stderr: float | None) -> str:
    return "-" if value is None else with_error(value, stderr)
