"""An audit on the terminal."""

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sae_lens_metrics.comparison.audit import CAVEAT, Audit
from sae_lens_metrics.comparison.noise import NOT_REDRAWN, REPEATED, ErrorRatio, Noise
from sae_lens_metrics.comparison.resolution import Need
from sae_lens_metrics.comparison.separation import Pair, Separation
from sae_lens_metrics.metrics.registry import spec_of_result
from sae_lens_metrics.results.in_words import with_error
from sae_lens_metrics.views.plain_text import plain

__all__ = ["print_audit"]

_WIDE = 110
"""Columns of a terminal on which everything fits."""
_FEW = 4
"""SAEs whose noise is printed one by one; of more there are only the main numbers."""
_FEW_PAIRS = 3
"""Pairs of SAEs that are printed one by one."""
_NEGLIGIBLE = 0.01
"""Share of documents in common that changes nothing; data sets hold some documents twice."""
_STYLES = {"fits": "", "too small": "red", "too large": "yellow", "not redrawn": "dim"}


def print_audit(audit: Audit, console: Console | None = None, *, everything: bool = False) -> None:
    """Prints what seeds move, what the numbers tell apart, what it would take, and what must be known about all that.

    Args:
        audit: The audit.
        console: Where to print; default the terminal.
        everything: Whether to show baselines and numbers that tables leave out, too.
    """
    console = console or Console()
    shown = set(_shown(audit, everything=everything))
    wide = console.width >= _WIDE
    console.print(_noise_table([each for each in audit.numbers if each.number in shown], wide=wide, several=len(audit.names) > 1))
    if audit.separations:
        console.print(_separation_table(audit, [each for each in audit.separations if each.number in shown], wide=wide))
    for first, second in _few_pairs(audit):
        pairs = [each for each in audit.pairs if (each.first, each.second) == (first, second) and each.number in shown]
        console.print(_pair_table(first, second, pairs, wide=wide))
    for text in [*_needs([each for each in audit.needs if each.headline or each.source == "given"]), *_remarks(audit)]:
        console.print(plain(text))


def _shown(audit: Audit, *, everything: bool) -> Iterator[str]:
    """The numbers to show: those that tables show and that are the SAE's own, or of many SAEs the main ones."""
    for each in dict.fromkeys(noise.number for noise in audit.numbers):
        metric, name = each.split("/", 1)
        spec = spec_of_result(metric, [name])
        of_few = spec.number(name).shown and spec.number(name).baseline_of is None
        if everything or (name in spec.overview() if len(audit.names) > _FEW else of_few):
            yield each


def _noise_table(noises: Sequence[Noise], *, wide: bool, several: bool) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title="how noisy: s is over seeds", title_justify="left")
    table.add_column("", overflow="fold")
    for heading in ("mean", "s", *(("CV", "error") if wide else ()), "s / error", "one seed", *(("three seeds",) if wide else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("the error", no_wrap=True)
    grouped: dict[str, list[Noise]] = {}
    for each in noises:
        grouped.setdefault(each.number, []).append(each)
    for number, of_saes in grouped.items():
        if several:
            table.add_row(plain(number, style="bold" if of_saes[0].headline else ""))
        for each in of_saes:
            table.add_row(plain(f"  {each.name}" if several else number), *_noise_cells(each, wide=wide))
    return table


def _noise_cells(each: Noise, *, wide: bool) -> Iterator[Text]:
    yield plain("-" if each.mean is None else with_error(each.mean, each.s, shown=False))
    yield plain(_short(each.s))
    if wide:
        yield plain("-" if each.cv is None else f"{each.cv:.1%}")
        yield plain(_short(None if each.errors is None else each.errors.reported))
    yield _ratio(each.errors)
    yield plain(_short(each.one_seed))
    if wide:
        yield plain(_short(each.three_seeds))
    yield _verdict(each.errors)


def _ratio(errors: ErrorRatio | None) -> Text:
    return plain("-" if errors is None else f"{errors.ratio:.2f} [{errors.low:.2f}, {errors.high:.2f}]")


def _verdict(errors: ErrorRatio | None) -> Text:
    return plain("none", style="dim") if errors is None else plain(errors.verdict, style=_STYLES[errors.verdict])


def _separation_table(audit: Audit, separations: Sequence[Separation], *, wide: bool) -> Table:
    title = f"what they tell apart, of {len(audit.names)} SAEs"
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=title, title_justify="left")
    table.add_column("", overflow="fold")
    for heading in ("s", "SNR", "tau", "same best", *(("nearest two",) if wide else ()), "pairs told apart"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in separations:
        table.add_row(plain(each.number, style="bold" if each.headline else ""), *_separation_cells(audit, each, wide=wide))
    return table


def _separation_cells(audit: Audit, each: Separation, *, wide: bool) -> Iterator[Text]:
    yield plain(_short(each.pooled_s))
    yield plain("-" if each.snr is None else f"{each.snr:.1f}")
    yield plain("-" if each.tau is None else f"{each.tau:+.2f}")
    yield plain("-" if each.same_top is None else f"{each.same_top:.0%}")
    if wide:
        yield plain(_short(each.nearest))
    pairs = [pair for pair in audit.pairs if pair.number == each.number]
    yield plain(f"{sum(pair.told_apart for pair in pairs)} of {len(pairs)}" if pairs else "-")


def _few_pairs(audit: Audit) -> list[tuple[str, str]]:
    """The pairs of SAEs, if they are few enough to print them one by one."""
    pairs = list(dict.fromkeys((each.first, each.second) for each in audit.pairs))
    return pairs if len(pairs) <= _FEW_PAIRS else []


def _pair_table(first: str, second: str, pairs: Sequence[Pair], *, wide: bool) -> Table:
    title = f"compare, seed by seed: {second} minus {first}"
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title=plain(title), title_justify="left")
    table.add_column("", overflow="fold")
    for heading in (
        "difference",
        "s",
        *(("error",) if wide else ()),
        "s / error",
        "higher",
        "lower",
        "undecided",
        *(("takes times",) if wide else ()),
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("the error", no_wrap=True)
    for each in pairs:
        table.add_row(plain(each.number, style="bold" if each.headline else ""), *_pair_cells(each, wide=wide))
    return table


def _pair_cells(each: Pair, *, wide: bool) -> Iterator[Text]:
    yield plain(("+" if each.difference > 0 else "") + with_error(each.difference, each.s, shown=False))
    yield plain(_short(each.s))
    if wide:
        yield plain(_short(None if each.errors is None else each.errors.reported))
    yield _ratio(each.errors)
    yield from (plain(str(seeds or "")) for seeds in (each.higher, each.lower, each.undecided))
    if wide:
        yield plain("-" if each.times is None else _times(each.times))
    yield _verdict(each.errors)


def _needs(needs: Sequence[Need]) -> Iterator[str]:
    """What numbers would take, each in a sentence."""
    for each in needs:
        why = "wanted" if each.source == "given" else "which lets one seed of each tell the two nearest SAEs apart, unpaired"
        sampled = ", ".join(f"{name} = {value}" for name, value in each.settings.items())
        yield (
            f"{each.number}: s is {_short(each.s)}, more than {_short(each.wanted_s)}, {why}. "
            f"That takes {_times(each.times)} times as many sampled units ({sampled})."
            if each.times > 1
            else f"{each.number}: s is {_short(each.s)}, no more than {_short(each.wanted_s)}, {why}."
        )


def _times(times: float) -> str:
    return f"{times:,.0f}" if times >= 10 else f"{times:.1f}" if times >= 0.05 else "0"


def _remarks(audit: Audit) -> Iterator[str]:
    yield f"seeds {', '.join(map(str, audit.seeds))}. {_overlap(audit)}"
    if audit.separations:
        yield (
            "SNR: spread of the SAEs' means over s; above 2 is comfortable, 1 is a coin flip. tau: agreement of the seeds' rankings. "
            "same best: share of pairs of seeds with the same best SAE. pairs told apart: by compare, with each seed by itself."
        )
    if audit.pairs:
        yield "takes times: so many times as many sampled units let one paired comparison show this difference; up to 1 is enough."
    yield (
        "one seed, three seeds: smallest difference of two SAEs that so many seeds of each show, unpaired. "
        "Sampled units: s is taken to fall as one over the root of their number."
    )
    if any(each.errors is not None and each.errors.verdict == "not redrawn" for each in audit.numbers):
        yield f"{NOT_REDRAWN}."
    if any(each.errors is not None and each.errors.repeated for each in audit.numbers):
        yield f"{REPEATED}."
    yield CAVEAT
    yield from (f"note: {note}" for note in audit.notes)
    yield from (f"failed: {text}" for text in audit.failed)


def _overlap(audit: Audit) -> str:
    if audit.overlap is None:
        return "It is not known how much the texts of two seeds have in common."
    if audit.overlap < _NEGLIGIBLE:
        return "The texts of two seeds have hardly a document in common, so that s is that of other text each time."
    shared = f"The texts of two seeds have {audit.overlap:.0%} of their documents in common"
    how = "" if audit.disjoint else " (--disjoint keeps them apart)"
    return f"{shared}{how}: with other text each time s would be larger, and an error that seems too large here may fit."


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"
