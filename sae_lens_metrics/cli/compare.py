"""The command ``sae-lens-metrics compare``: which numbers of several result files differ by more than noise."""

from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sae_lens_metrics.cli.mistakes import CommandParser
from sae_lens_metrics.results.in_words import printable, with_error

if TYPE_CHECKING:
    from sae_lens_metrics.comparison.comparison import Comparison, Difference

__all__ = ["print_comparison", "run_compare"]

_DESCRIPTION = """Compares result files of SAEs, number by number, with the first of them.

  sae-lens-metrics compare sae-metrics/A.json sae-metrics/B.json
  sae-lens-metrics compare old.json new1.json new2.json --output differences.csv
  sae-lens-metrics evaluate FOLDER_A FOLDER_B --model MODEL --dataset texts.jsonl --compare      evaluates them first

Results on the same text and seed (which "evaluate" with the same --dataset, --tokens and --seed gives) are compared document by
document: what the text has in common cancels, and smaller differences are seen. Others can be compared too, with larger errors.

"higher" and "lower" are differences of the second from the first that noise does not explain, by a t test that is corrected for the
number of tests (Holm-Bonferroni): the probability of any false "higher" or "lower" in the whole output is at most --alpha.
"no difference beyond noise" does not mean that there is none: the error tells how large one could have been missed.
All this is about these SAEs on text like this one's: to compare the methods that trained them takes several seeds of each method."""

_STYLES = {"higher": "green", "lower": "magenta", "no difference beyond noise": "", "not tested": "dim"}
_WIDE = 120
"""Columns of a terminal on which the errors of both values fit too."""


def run_compare(arguments: Sequence[str], console: Console | None = None) -> None:
    """Runs the command.

    Args:
        arguments: Those after the command's name.
        console: Where to print; default the terminal.

    Raises:
        MetricsError: A file is no result, or the results cannot be compared.
        OSError: The output cannot be written.
    """
    options = _parser().read(arguments)

    from sae_lens_metrics.comparison.comparison import compare_reports, read_reports, result_files, save_as  # not for --help: SciPy

    if options.output is not None:
        save_as(options.output)  # a mistake is found before anything is done
    files = result_files(options.results)
    comparison = compare_reports(read_reports(files), alpha=options.alpha)
    console = console or Console()
    print_comparison(comparison, console, everything=options.all)
    if options.output is not None:
        console.print(_plain(f"written to {comparison.save(options.output)}"), soft_wrap=True)
    if options.report is not None:
        from sae_lens_metrics.views.page import offer_page

        console.print(_plain(offer_page(files, Path(options.report), comparison=comparison, title="SAEs compared")), soft_wrap=True)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="sae-lens-metrics compare",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", metavar="RESULT", nargs="+", help="two or more result files, as evaluate writes them")
    parser.add_argument("--alpha", metavar="P", type=float, default=0.05, help="level of the tests (default: %(default)s)")
    parser.add_argument("--output", metavar="FILE", help="write all differences, errors and p-values to this .json or .csv file too")
    parser.add_argument("--report", metavar="FILE", default="comparison.html", help="the same as a page to read (default: %(default)s)")
    parser.add_argument("--no-report", dest="report", action="store_const", const=None, help="write no page")
    parser.add_argument("--all", action="store_true", help="show baselines, and numbers that say the same as others, too")
    return parser


def print_comparison(comparison: "Comparison", console: Console | None = None, *, everything: bool = False) -> None:
    """Prints a table for each report that is compared with the first, then what must be known about them.

    Args:
        comparison: The comparison.
        console: Where to print; default the terminal.
        everything: Whether to show baselines, and numbers that say the same as others, too.
    """
    console = console or Console()
    for name, differences in groupby(comparison.differences, key=lambda each: each.name):
        console.print(_plain(f"first: {comparison.names[0]}, second: {name}"), soft_wrap=True)
        console.print(_table(list(differences), everything=everything, wide=console.width >= _WIDE))
    for text in _remarks(comparison):
        console.print(_plain(text))


def _table(differences: "list[Difference]", *, everything: bool, wide: bool) -> Table:
    """One report against the first one."""
    caption = "value ± standard error" if wide else "difference ± standard error"
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption=f"{caption}; * not paired", caption_justify="left")
    table.add_column("", overflow="fold")
    for heading in ("first", "second", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("the second is", no_wrap=wide)
    for metric, rows in groupby(differences, key=lambda each: each.number.split("/")[0]):
        shown = [each for each in rows if everything or _is_shown(each)]
        if shown:
            table.add_section()
            table.add_row(Text(printable(metric), style="bold"))
        for each in shown:
            table.add_row(*_row(each, wide=wide))
    return table


def _is_shown(each: "Difference") -> bool:
    """Whether a number is tested, or exact; not baselines and numbers that say the same as others."""
    return each.p is not None or not (each.first_stderr and each.second_stderr)


def _row(each: "Difference", *, wide: bool) -> list[Text]:
    name = each.number.split("/", 1)[1] + ("" if each.paired or each.stderr is None else " *")
    difference = with_error(each.difference, each.stderr)
    verdict = each.verdict if each.untested is None or each.stderr is None else each.untested  # why numbers are exact is in their names
    return [
        _plain(f" {name}"),
        _plain(with_error(each.first, each.first_stderr, shown=wide)),
        _plain(with_error(each.second, each.second_stderr, shown=wide)),
        _plain(difference if each.difference <= 0 else f"+{difference}"),
        Text(printable(verdict), style=_STYLES[each.verdict]),
    ]


def _remarks(comparison: "Comparison") -> Iterator[str]:
    from sae_lens_metrics.comparison.comparison import CAVEAT

    many = f"{comparison.tested} numbers were tested" if comparison.tested != 1 else "one number was tested"
    yield (
        f'{many}, by t tests corrected for their number (Holm-Bonferroni): the probability of any false "higher" or "lower" is at most '
        f"{comparison.alpha:g}. Exact counts, baselines, and numbers that say the same as another one are not tested."
    )
    yield CAVEAT
    yield from (f"note: {note}" for note in comparison.notes)


def _plain(text: str) -> Text:
    """Text that the terminal shows as it is: no mark-up, no control characters."""
    return Text(printable(text))
