"""Which of the paper's findings a grid of SAEs shows."""

from collections.abc import Iterable, Iterator

from rich.console import Console

from sae_lens_metrics.comparison.trends.claims import Claim
from sae_lens_metrics.comparison.trends.findings import ALPHA, Finding, Findings
from sae_lens_metrics.results.in_words import with_error
from sae_lens_metrics.views.judged import Judged, Line, Tone, table
from sae_lens_metrics.views.plain_text import plain

__all__ = ["judged_findings", "print_claims"]

_TONES: dict[str, Tone] = {"shown": "good", "the opposite": "bad", "not shown": "open", "not checkable": "open"}
_OWN = "*"
_OWN_IN_WORDS = f"{_OWN} not in the paper: the same question, asked of a number that says more"


def judged_findings(findings: Findings) -> Judged:
    """Each finding with its size here and in the paper, and whether it is there.

    Args:
        findings: The findings, judged.
    """
    return Judged(
        title=f"Findings of Gao et al. 2024 on {findings.model}",
        source=f"{_count(findings)} SAEs at {findings.hook}, trained for it.",
        sentence=_in_words(findings),
        what="finding",
        headings=("size", "paper", "here"),
        lines=tuple(map(_line, findings.findings)),
        notes=tuple(_notes(findings)),
    )


def print_claims(claims: Iterable[Claim], console: Console | None = None) -> None:
    """Prints what would be looked for.

    Args:
        claims: The paper's findings.
        console: Where to print; default the terminal.
    """
    console = console or Console()
    shown = table("finding", "size", "paper")
    for each in claims:
        shown.add_row(*map(plain, (_statement(each), each.size, _paper(each))))
    console.print(shown)
    console.print(plain(_OWN_IN_WORDS))


def _line(each: Finding) -> Line:
    here = "-" if each.size is None else with_error(each.size, each.stderr)
    return Line(_statement(each), (each.of, _paper(each), here), each.verdict, _TONES[each.verdict])


def _count(findings: Findings) -> str:
    return str(findings.saes) if findings.saes == findings.wanted else f"{findings.saes} of {findings.wanted}"


def _in_words(findings: Findings) -> str:
    names = ("shown", "not shown", "the opposite", "not checkable")
    return f"Of {len(findings.findings)} findings {', '.join(f'{findings.count(each)} {each}' for each in names if findings.count(each))}."


def _statement(each: Finding | Claim) -> str:
    return f"{each.figure}: {each.statement}{_OWN if each.own else ''}"


def _paper(each: Finding | Claim) -> str:
    said = "-" if each.paper is None else f"{each.paper:.2g}"
    return f"{said} (above {each.above:g})" if each.above else said


def _notes(findings: Findings) -> Iterator[str]:
    yield _OWN_IN_WORDS
    yield (
        f"shown: above 0, or above what is said, by more than chance makes it in {ALPHA:.0%} of cases, each finding by itself; "
        "± holds texts and latents, and other training seeds"
    )
    once = [each.statement for each in findings.findings if each.training is None and each.size is not None]
    if once:
        said = "no finding" if len(once) == len(findings.findings) else f"not that of {'; '.join(once)}"
        yield f"± holds what other training seeds would do where kinds of SAEs were trained with two: {said}"
    for each in findings.findings:
        if each.verdict == "not checkable":
            yield f"not checkable: {each.statement}: {each.reason}"
    yield from findings.notes
