"""Something judged line by line, such as figures of a paper: on the terminal, as Markdown to put somewhere, and on a page."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sae_lens_metrics.views.plain_text import plain

__all__ = ["Judged", "Line", "judged_markdown", "print_judged", "table"]

Tone = Literal["good", "bad", "open"]
_WHOLE = {"band": None, "here": None, "verdict": len("not checkable")}
"""Columns that are not folded, with how wide they are at least."""
_STYLES = {"good": "green", "bad": "red", "open": "yellow"}


@dataclass(frozen=True)
class Line:
    """One thing that was judged."""

    what: str
    cells: tuple[str, ...]
    """What it was judged by."""
    verdict: str
    tone: Tone
    """Whether the verdict is as one hopes."""
    group: str = ""
    """What it is of; lines of one group stand together."""
    more: str = ""
    """What there is no room for on a terminal."""


@dataclass(frozen=True)
class Judged:
    """What was judged."""

    title: str
    source: str
    """Of what is expected, as a sentence."""
    sentence: str
    """What came of it."""
    what: str
    """What is judged, a heading."""
    headings: tuple[str, ...]
    """Of the lines' cells."""
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    groups: str = ""
    """What groups are, a heading; empty for none."""
    more: str = ""
    """Heading of what there is no room for on a terminal."""


def print_judged(judged: Judged, console: Console | None = None) -> None:
    """Prints each line with its verdict, then notes, and last what came of it.

    Args:
        judged: What was judged.
        console: Where to print; default the terminal.
    """
    console = console or Console()
    shown = table(judged.what, *judged.headings, "verdict")
    for group, lines in groupby(judged.lines, key=lambda line: line.group):
        if group:
            shown.add_row(plain(group, style="bold"))
        for line in lines:
            indent = "  " if group else ""
            shown.add_row(*map(plain, (f"{indent}{line.what}", *line.cells)), plain(line.verdict, style=_STYLES[line.tone]))
    console.print(shown)
    for text in judged.notes:
        console.print(plain(text))
    console.print(plain(judged.sentence), style="bold")


def judged_markdown(judged: Judged) -> str:
    """The same as a Markdown document.

    Args:
        judged: What was judged.
    """
    more = (judged.more,) if judged.more else ()
    groups = (judged.groups,) if judged.groups else ()
    headings = (*groups, judged.what, *judged.headings, "verdict", *more)
    rows = [
        ((line.group,) if judged.groups else ()) + (line.what, *line.cells, line.verdict) + ((line.more,) if judged.more else ())
        for line in judged.lines
    ]
    parts = [
        f"# {judged.title}",
        f"{judged.source} {judged.sentence}",
        "\n".join([_row(headings), _row("---" for _ in headings), *(_row(map(_cell, row)) for row in rows)]),
        *(f"- {text}" for text in judged.notes),
    ]
    return "\n\n".join(parts) + "\n"


def table(first: str, *others: str) -> Table:
    """An empty table, whose first column is as wide as words need; verdicts stand whole on a terminal of 80 columns.

    Args:
        first: Its heading.
        *others: Those of the other columns; numbers of a column called "here", "paper" or "published" stand to the right.
    """
    found = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    found.add_column(first, overflow="fold", min_width=20)
    for heading in others:
        justify = "right" if heading in ("published", "here", "paper") else "left"
        found.add_column(heading, justify=justify, overflow="fold", no_wrap=heading in _WHOLE, min_width=_WHOLE.get(heading))
    return found


def _row(cells: Iterator[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Text of others that stays within a cell."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
