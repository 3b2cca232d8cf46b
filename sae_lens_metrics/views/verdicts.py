"""Published numbers beside those computed anew."""

from collections.abc import Sequence

from rich.console import Console

from sae_lens_metrics.comparison.reference import Reference
from sae_lens_metrics.comparison.verdicts import Verdict, Verdicts
from sae_lens_metrics.results.in_words import with_error
from sae_lens_metrics.views.judged import Judged, Line, Tone, table
from sae_lens_metrics.views.plain_text import plain

__all__ = ["judged_verdicts", "print_reference"]

_TONES: dict[str, Tone] = {"within": "good", "outside": "bad", "not checkable": "open"}


def judged_verdicts(verdicts: Verdicts) -> Judged:
    """Each figure with its band, what was found and the verdict; and what is not checked, and why.

    Args:
        verdicts: The figures, judged.
    """
    reference = verdicts.reference
    missing = [f"{each.sae}, {each.number}: {each.reason}" for each in verdicts.verdicts if each.verdict == "not checkable"]
    return Judged(
        title=reference.title,
        source=f"{reference.source}. Bands set on {reference.set_on}.",
        sentence=_in_words(verdicts),
        what="figure",
        headings=("published", "band", "here"),
        lines=tuple(map(_line, verdicts.verdicts)),
        notes=(*missing, *_unchecked(reference), *reference.notes, *_changed(verdicts)),
        groups="SAE",
        more="where, or why not",
    )


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
        shown = table("number", "published", "band", "where; what the spread is taken from")
        for each in (each for each in reference.figures if each.sae == sae.name):
            where = f"{each.where}; {each.why_spread}" if each.why_spread else each.where
            shown.add_row(*map(plain, (each.number, _short(each.expected), _band(*each.band), where)))
        console.print(shown)
    for text in [*_unchecked(reference), *reference.notes]:
        console.print(plain(text))


def _line(each: Verdict) -> Line:
    here = "-" if each.value is None else with_error(each.value, each.stderr)
    cells = (_short(each.expected), _band(each.low, each.high), here)
    return Line(each.number, cells, each.verdict, _TONES[each.verdict], each.sae, each.reason)


def _in_words(verdicts: Verdicts) -> str:
    counts = [f"{verdicts.count(each)} {each}" for each in ("within", "outside", "not checkable") if verdicts.count(each)]
    return f"Of {len(verdicts.verdicts)} figures {', '.join(counts)}."


def _changed(verdicts: Verdicts) -> list[str]:
    return [f"not the reference's settings, for which its bands are: {text}" for text in verdicts.changes]


def _unchecked(reference: Reference) -> Sequence[str]:
    return [f"not checked: {each.what}: {each.why}" for each in reference.unchecked]


def _short(value: float) -> str:
    return f"{value:.4g}"


def _band(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}"
