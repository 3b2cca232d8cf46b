"""The command ``sae-lens-metrics explain``: what a metric or a number means, and how far to trust it."""

import re
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sae_lens_metrics.cli.mistakes import CommandParser, did_you_mean
from sae_lens_metrics.metrics.documentation import documented_metrics, numbers_table, readme_of
from sae_lens_metrics.metrics.registry import SANITY, metric_names, metric_spec, readable_specs
from sae_lens_metrics.metrics.spec import MetricSpec, Number
from sae_lens_metrics.results.in_words import printable
from sae_lens_metrics.views.plain_text import plain

__all__ = ["run_explain"]

_DESCRIPTION = """Says what a metric or one of its numbers means, in which unit, which way is better, and how far to trust it.

  sae-lens-metrics explain {metric}            the definition, our choices where the paper is silent, every number
  sae-lens-metrics explain {number}       one number

metrics:
{metrics}"""
_BETTER = {"lower": "lower is better", "higher": "higher is better", "one": "best near 1", None: "neither more nor less is better"}


def run_explain(arguments: Sequence[str], console: Console | None = None) -> None:
    """Runs the command.

    Args:
        arguments: Those after the command's name.
        console: Where to print; default the terminal.

    Raises:
        SystemExit: After ``--help``, or if there is no such metric or number; said in two lines.
        ConfigError: The package of a metric cannot be imported.
    """
    parser = _parser()
    name: str = parser.read(arguments).name
    metric, _, number = name.partition("/")
    if metric not in (SANITY, *metric_names()):
        parser.error(_no_name("metric or number", name))
    spec = metric_spec(metric)
    if number and number not in spec.numbers:
        parser.error(_no_name("number", name))
    console = console or Console()
    for part in _about_number(spec, number) if number else _about_metric(spec):
        console.print(part, soft_wrap=isinstance(part, Text) and len(part) < console.width)


def _parser() -> CommandParser:
    specs = [metric_spec(SANITY), *readable_specs()[0]]
    width = max(len(spec.name) for spec in specs)
    example = next(spec for spec in specs if spec.name != SANITY)
    parser = CommandParser(
        prog="sae-lens-metrics explain",
        description=_DESCRIPTION.format(
            metric=example.name,
            number=example.full(example.headline),
            metrics="\n".join(f"  {spec.name:<{width}}  {spec.summary or spec.title}" for spec in specs),
        ),
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.listed = "all metrics"
    parser.add_argument("name", metavar="NAME", help="a metric, or a number as results name it: METRIC/NUMBER")
    return parser


def _no_name(what: str, name: str) -> str:
    specs = [metric_spec(SANITY), *readable_specs()[0]]
    known = [each for spec in specs for each in (spec.name, *map(spec.full, spec.numbers))]
    return f"there is no {what} {name}{did_you_mean(name, known)}"


def _about_metric(spec: MetricSpec) -> Iterator[Text | Table]:
    """The metric's README; of another package's metric, what it says about itself."""
    if spec.name in documented_metrics():
        yield from _shown(readme_of(spec.name).read_text(encoding="utf-8"))
        return
    yield plain(spec.title, "bold")
    yield from (plain(text) for text in (spec.summary, spec.meaning, spec.trust) if text)
    if spec.numbers:
        yield from _shown(numbers_table(spec))


def _about_number(spec: MetricSpec, name: str) -> Iterator[Text]:
    number = spec.numbers[name]
    yield Text.assemble((printable(spec.full(name)), "bold"), f": {printable(number.label)}")
    yield plain(f"{_unit(number)}; {_BETTER[number.better]}")
    if number.meaning and not number.meaning.startswith("…"):
        yield plain(number.meaning)
    if number.difference_of is not None:
        yield plain("{} minus {}, paired: what both have in common cancels in its error".format(*map(spec.full, number.difference_of)))
    if number.baseline_of is not None:
        yield plain(f"a baseline, to judge {spec.full(number.baseline_of)} by")
    if beside := [spec.full(each) for each, other in spec.numbers.items() if other.baseline_of == name]:
        yield plain(f"baselines to judge it by: {', '.join(beside)}")
    for title, text in ((spec.title, spec.meaning), ("How far to trust it", spec.trust)):
        if text:
            yield plain(f"\n{title}: {text}")
    yield plain(f"\nsae-lens-metrics explain {spec.name} has the definition and all of its numbers")


def _unit(number: Number) -> str:
    return {"": "a ratio", "share": "a share, 0 to 1"}.get(number.unit, f"in {number.unit}")


def _shown(markdown: str) -> Iterator[Text | Table]:
    """Text as it is, headings in bold, and tables as tables."""
    lines = (line for line in markdown.splitlines() if not line.startswith("<!--"))
    for is_table, group in groupby(lines, key=lambda line: line.startswith("|")):
        if is_table:
            yield _table([_cells(line) for line in group])
        else:
            yield from (plain(line.lstrip("# "), "bold") if line.startswith("#") else plain(line) for line in group)


def _table(rows: list[list[str]]) -> Table:
    heading, _, *rest = rows
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for cell in heading:
        table.add_column(plain(cell))
    for row in rest:
        table.add_row(*map(plain, row))
    return table


def _cells(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
    return [cell.strip().replace("\\|", "|").replace("`", "").replace("**", "") for cell in cells]
