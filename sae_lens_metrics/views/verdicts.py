"""Published numbers beside those computed anew: on the terminal, and as Markdown to put somewhere."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sae_lens_metrics.comparison.reference import Reference
from sae_lens_metrics.comparison.verdicts import Verdict, Verdicts
from sae_lens_metrics.results.in_words import with_error
from sae_lens_metrics.views.plain_text import plain

__all__ = ["print_reference", "print_verdicts", "verdicts_markdown"]

_STYLES = {"within": "green", "outside": "red", "not checkable": "yellow"}


def print_verdicts(verdicts: Verdicts, console: Console | None = None) -> None:
    """Prints each figure with its band, what was found and the verdict; then what is not checked, and why.

    Args:
        verdicts: The figures, judged.
        console: Where to print; default the terminal.
    """
    console = console or Console()
    table = _table("figure", "published", "band", "here", "verdict")
    for sae in dict.fromkeys(each.sae for each in verdicts.verdicts):
        table.add_row(plain(sae, style="bold"))
        for each in (each for each in verdicts.verdicts if each.sae == sae):
            cells = (f"  {each.number}", _short(each.expected), _band(each.low, each.high), _value(each))
            table.add_row(*map(plain, cells), plain(each.verdict, style=_STYLES[each.verdict]))
    console.print(table)
    for each in verdicts.verdicts:
        if each.verdict == "not checkable":
            console.print(plain(f"{each.sae}, {each.number}: {each.reason}"))
    for text in [*_unchecked(verdicts.reference), *verdicts.reference.notes, *_changed(verdicts)]:
        console.print(plain(text))
    console.print(plain(in_words(verdicts)), style="bold")


def print_reference(name: str, reference: Reference, console: Console | None = None) -> None:
    """Prints what would be checked: every figure, its band, and where both come from.

    Args:
        name: What the reference is called.
        reference: The figures.
        console: Where to print; default the terminal.
    """
    console = console or Console()
    console.print(plain(f"{name}: {reference.title} ({reference.source})", style="bold"))
    state = "confirmed" if reference.confirmed else "not yet run on these SAEs: what is expected is not confirmed"
    console.print(plain(f"bands set on {reference.set_on}; {state}"))
    for sae in reference.saes:
        console.print(plain(f"\n{sae.name}: {sae.target}", style="bold"), soft_wrap=True)
        table = _table("number", "published", "band", "where; what the spread is taken from")
        for each in (each for each in reference.figures if each.sae == sae.name):
            where = f"{each.where}; {each.why_spread}" if each.why_spread else each.where
            table.add_row(*map(plain, (each.number, _short(each.expected), _band(*each.band), where)))
        console.print(table)
    for text in [*_unchecked(reference), *reference.notes]:
        console.print(plain(text))


def verdicts_markdown(verdicts: Verdicts) -> str:
    """The same as a Markdown document.

    Args:
        verdicts: The figures, judged.
    """
    rows = [
        f"| {_cell(each.sae)} | `{each.number}` | {_short(each.expected)} | {_band(each.low, each.high)} | {_value(each)} | {each.verdict} "
        f"| {_cell(each.reason)} |"
        for each in verdicts.verdicts
    ]
    parts = [
        f"# {verdicts.reference.title}",
        f"{verdicts.reference.source}. Bands set on {verdicts.reference.set_on}. {in_words(verdicts)}",
        "\n".join(["| SAE | number | published | band | here | verdict | where, or why not |", "|---|---|---|---|---|---|---|", *rows]),
        *(f"- {text}" for text in [*_unchecked(verdicts.reference), *verdicts.reference.notes, *_changed(verdicts)]),
    ]
    return "\n\n".join(parts) + "\n"


def in_words(verdicts: Verdicts) -> str:
    """How many figures are within their bands, in a sentence."""
    counts = [f"{verdicts.count(each)} {each}" for each in ("within", "outside", "not checkable") if verdicts.count(each)]
    return f"Of {len(verdicts.verdicts)} figures {', '.join(counts)}."


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, overflow="fold", min_width=24)
    for heading in others:
        table.add_column(
            heading, justify="right" if heading in ("published", "here") else "left", overflow="fold", no_wrap=heading == "band"
        )
    return table


def _changed(verdicts: Verdicts) -> list[str]:
    return [f"not the reference's settings, for which its bands are: {text}" for text in verdicts.changes]


def _unchecked(reference: Reference) -> Sequence[str]:
    return [f"not checked: {each.what}: {each.why}" for each in reference.unchecked]


def _value(each: Verdict) -> str:
    return "-" if each.value is None else with_error(each.value, each.stderr)


def _short(value: float) -> str:
    return f"{value:.4g}"


def _band(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}"


def _cell(text: str) -> str:
    """Text of others that stays within a cell."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
