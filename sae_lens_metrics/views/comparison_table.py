"""A comparison on the terminal."""

from collections.abc import Iterator
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sae_lens_metrics.comparison.comparison import CAVEAT, Comparison, Difference
from sae_lens_metrics.results.in_words import with_error
from sae_lens_metrics.views.plain_text import plain

__all__ = ["print_comparison"]

_STYLES = {"higher": "", "lower": "", "no difference beyond noise": "", "not tested": "dim"}
_JUDGED = {"better": "green", "worse": "red"}
_VERDICT = max(map(len, _STYLES))
"""Characters of the longest verdict; only why a number is not tested may be longer, and is folded."""
_WIDE = 120
"""Columns of a terminal on which the errors of both values fit too."""


def print_comparison(comparison: Comparison, console: Console | None = None, *, everything: bool = False, brief: bool = False) -> None:
    """Prints a table for each report that is compared with the first, then what must be known about them.

    Args:
        comparison: The comparison.
        console: Where to print; default the terminal.
        everything: Whether to show baselines, and numbers that say the same as others, too.
        brief: Whether to show main numbers only, and those to look at instead of one that is not tested.
    """
    console = console or Console()
    for words, name in zip(comparison.in_words(), comparison.names[1:], strict=True):
        console.print(plain(f"first: {comparison.names[0]}, second: {name}"), soft_wrap=True)
        console.print(plain(f"{words}."), style="bold")
        console.print(_table(comparison.of(name, main=brief), everything=everything, wide=console.width >= _WIDE))
    for text in _remarks(comparison):
        console.print(plain(text))


def _table(differences: list[Difference], *, everything: bool, wide: bool) -> Table:
    """One report against the first one."""
    caption = f"{'value' if wide else 'difference'} ± standard error; * not paired"
    caption += ", † on the same tasks" if any(each.wider_over is not None for each in differences) else ""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption=caption, caption_justify="left")
    table.add_column("", overflow="fold")
    for heading in ("first", "second", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("the second is", min_width=_VERDICT if wide else None)
    if wide:
        table.add_column("so it is", no_wrap=True)
    for metric, rows in groupby(differences, key=lambda each: each.number.split("/")[0]):
        shown = [each for each in rows if everything or _is_shown(each)]
        if shown:
            table.add_section()
            table.add_row(plain(metric, "bold"))
        for each in shown:
            table.add_row(*_row(each, wide=wide))
    return table


def _is_shown(each: Difference) -> bool:
    """Whether a number is tested, is not for a reason to know, or is exact; not baselines and numbers that say the same as others."""
    return each.p is not None or each.by_size or not (each.first_stderr and each.second_stderr)


def _row(each: Difference, *, wide: bool) -> list[Text]:
    mark = " †" if each.wider_over is not None else "" if each.paired or each.stderr is None else " *"
    difference = with_error(each.difference, each.stderr)
    # on the same tasks values are told apart that their errors, which are about other tasks, would round to the same
    first, second = (each.first_stderr, each.second_stderr) if wide or each.wider_over is None else (each.stderr, each.stderr)
    verdict = each.verdict if each.untested is None or each.stderr is None else each.untested  # why numbers are exact is in their names
    judged = Text(each.judgement or "", style=_JUDGED.get(each.judgement or "", ""))
    said = plain(verdict, _STYLES[each.verdict])
    if not wide and each.judgement in _JUDGED:
        said = Text.assemble(said, ", ", judged)
    return [
        plain(f" {each.number.split('/', 1)[1]}{mark}"),
        plain(with_error(each.first, first, shown=wide)),
        plain(with_error(each.second, second, shown=wide)),
        plain(difference if each.difference <= 0 else f"+{difference}"),
        said,
        *([judged] if wide else []),
    ]


def _remarks(comparison: Comparison) -> Iterator[str]:
    many = f"{comparison.tested} numbers were tested" if comparison.tested != 1 else "one number was tested"
    yield (
        f'{many}, by t tests corrected for their number (Holm-Bonferroni): the probability of any false "higher" or "lower" is at most '
        f"{comparison.alpha:g}. Exact counts, baselines, and numbers that say the same as another one are not tested."
    )
    yield from comparison.wider_in_words()
    yield CAVEAT
    yield from (f"note: {note}" for note in comparison.notes)
