"""Which of the paper's findings a grid of SAEs shows: on the terminal, and as Markdown to put somewhere."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sae_lens_metrics.comparison.trends.claims import Claim
from sae_lens_metrics.comparison.trends.findings import ALPHA, Finding, Findings
from sae_lens_metrics.results.in_words import with_error
from sae_lens_metrics.views.plain_text import plain

__all__ = ["findings_markdown", "print_claims", "print_findings"]

_STYLES = {"shown": "green", "the opposite": "red", "not shown": "yellow", "not checkable": "yellow"}
_OWN = "*"
_OWN_IN_WORDS = f"{_OWN} not in the paper: the same question, asked of a number that says more"


def print_findings(findings: Findings, console: Console | None = None) -> None:
    """Prints each finding with its size here and in the paper, and whether it is there.

    Args:
        findings: The findings, judged.
        console: Where to print; default the terminal.
    """
    console = console or Console()
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("figure", "finding", "size here", "paper", "verdict"):
        table.add_column(heading, justify="right" if heading in ("size here", "paper") else "left", overflow="fold")
    for each in findings.findings:
        cells = (each.figure, _statement(each), _size(each), _paper(each))
        table.add_row(*map(plain, cells), plain(each.verdict, style=_STYLES[each.verdict]))
    console.print(table)
    for text in _remarks(findings):
        console.print(plain(text))
    console.print(plain(in_words(findings)), style="bold")


def print_claims(claims: Iterable[Claim], console: Console | None = None) -> None:
    """Prints what would be looked for.

    Args:
        claims: The paper's findings.
        console: Where to print; default the terminal.
    """
    console = console or Console()
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("figure", "finding", "size", "above", "paper"):
        table.add_column(heading, justify="right" if heading in ("above", "paper") else "left", overflow="fold")
    for each in claims:
        said = "-" if each.paper is None else f"{each.paper:.2g}"
        table.add_row(*map(plain, (each.figure, each.statement + (_OWN if each.own else ""), each.size, f"{each.above:g}", said)))
    console.print(table)
    console.print(plain(_OWN_IN_WORDS))


def findings_markdown(findings: Findings) -> str:
    """The same as ``print_findings`` as a Markdown document.

    Args:
        findings: The findings, judged.
    """
    rows = [f"| {each.figure} | {_statement(each)} | {_size(each)} | {_paper(each)} | {each.verdict} |" for each in findings.findings]
    parts = [
        "# Findings of Gao et al. 2024, on a grid of SAEs",
        in_words(findings),
        "\n".join(["| figure | finding | size here | paper | verdict |", "|---|---|---|---|---|", *rows]),
        *(f"- {text}" for text in _remarks(findings)),
    ]
    return "\n\n".join(parts) + "\n"


def in_words(findings: Findings) -> str:
    """How many findings are there, in a sentence."""
    counts = [f"{findings.count(each)} {each}" for each in ("shown", "not shown", "the opposite", "not checkable") if findings.count(each)]
    return f"{findings.saes} SAEs of {findings.model} at {findings.hook}: of {len(findings.findings)} findings {', '.join(counts)}."


def _statement(each: Finding) -> str:
    return f"{each.statement}{_OWN if each.own else ''} ({each.of})"


def _size(each: Finding) -> str:
    return "-" if each.size is None else with_error(each.size, each.stderr)


def _paper(each: Finding) -> str:
    said = "-" if each.paper is None else f"{each.paper:.2g}"
    return said if not each.above else f"{said} (above {each.above:g})"


def _remarks(findings: Findings) -> Iterable[str]:
    yield _OWN_IN_WORDS
    yield (
        f"shown: above 0, or what is said, by more than chance makes it in {ALPHA:.0%} of cases, each finding by itself. "
        "± holds texts and latents, and other training seeds."
    )
    if all(each.training is None for each in findings.findings):
        yield "no kind of SAE was trained with two seeds: ± does not hold what another training seed would do"
    for each in findings.findings:
        if each.verdict == "not checkable":
            yield f"not checkable: {each.statement}: {each.reason}"
    yield from findings.notes
